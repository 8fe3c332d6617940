"""Surprise's ``SVD``: SGD in Cython over Python lists, in their order."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from backends._arrays import Float
from backends.objective import Parameters
from backends.ratings import Ratings

from .peer import ONE_THREAD, OWN_BIASES, RESTARTS, Peer, PeerFacts


class _Session(NamedTuple):
    trainset: Any  # a surprise.Trainset
    shape: tuple[int, int]
    seed: int
    fitted: dict[str, Any]  # the library's model, once there is one


@dataclass(kw_only=True, eq=False)
class SurpriseSVD(Peer):
    """``surprise.SVD`` (Hug 2020, JOSS 5).

    Parameters
    ----------
    learning_rate
        Step size of the SGD, the same throughout.
    """

    facts: ClassVar[PeerFacts] = PeerFacts(
        library="scikit-surprise",
        licence="BSD-3-Clause",
        minimises="squared error + reg for each rating on factors and biases",
        biases=OWN_BIASES,
        start="its own: normal, standard deviation 0.1",
        seed="the start",
        stepping=RESTARTS,
        threads=ONE_THREAD,
        precision="float64",
    )
    modules: ClassVar[tuple[str, ...]] = ("surprise",)
    steppable: ClassVar[bool] = False
    search_space: ClassVar[dict[str, tuple[float, float]]] = {
        "reg": (0.005, 0.2),
        "learning_rate": (0.002, 0.05),
    }

    reg: float = 0.02
    learning_rate: float = 0.005

    def begin(self, train: Ratings, targets: Float, initial: Parameters, seed: int) -> _Session:
        """Return a trainset: for each user a list of items and ratings. SVD reads nothing else."""
        from surprise import Trainset

        of_users: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
        columns = train.users.tolist(), train.items.tolist(), targets.tolist()
        for user, item, rating in zip(*columns, strict=True):
            of_users[user].append((item, rating))
        scale = float(targets.min()), float(targets.max())
        shape = train.n_users, train.n_items
        trainset = Trainset(of_users, {}, *shape, len(train), scale, {}, {})
        return _Session(trainset, shape, seed, {})

    def fit_epochs(self, session: _Session, n_epochs: int) -> None:
        """Fit from the beginning."""
        from surprise import SVD

        session.fitted["model"] = SVD(
            n_factors=self.rank,
            n_epochs=n_epochs,
            biased=self.bias,
            lr_all=self.learning_rate,
            reg_all=self.reg,
            random_state=session.seed,
        ).fit(session.trainset)

    def read(self, session: _Session) -> Parameters:
        """Return the factors and biases, and the mean that the library keeps fixed."""
        if "model" not in session.fitted:
            p, q = (np.zeros((n, self.rank)) for n in session.shape)
            return Parameters(0.0, p[:, 0], q[:, 0], p, q)
        found = session.fitted["model"]
        mean = float(session.trainset.global_mean) if self.bias else 0.0
        return Parameters(mean, found.bu, found.bi, found.pu, found.qi)
