"""Cornac's ``MF``: SGD over the ratings in their order, Hogwild in parallel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from backends._arrays import Float
from backends.objective import Parameters
from backends.ratings import Ratings

from .peer import GOES_ON, N_JOBS, OUR_START, OWN_BIASES, Peer, PeerFacts


class _Session(NamedTuple):
    data: Any  # a cornac.data.Dataset
    mean: float
    # Cornac's names: factors of users and items, and their biases. It trains them in place.
    arrays: dict[str, Float]


@dataclass(kw_only=True, eq=False)
class Cornac(Peer):
    """``cornac.models.MF`` (Salah et al. 2020, JMLR 21).

    Several threads change the same rows at the same time, so no two fits are equal.

    Parameters
    ----------
    learning_rate
        Step size of the SGD, the same throughout.
    """

    facts: ClassVar[PeerFacts] = PeerFacts(
        library="cornac",
        licence="Apache 2.0",
        minimises="squared error + reg for each rating on factors and biases",
        biases=OWN_BIASES,
        start=OUR_START,
        seed="the start",
        stepping=GOES_ON,
        threads=N_JOBS,
        precision="float32",
    )
    modules: ClassVar[tuple[str, ...]] = ("cornac.data", "cornac.models.mf")
    search_space: ClassVar[dict[str, tuple[float, float]]] = {
        "reg": (0.005, 0.2),
        "learning_rate": (0.002, 0.05),
    }

    reg: float = 0.02
    learning_rate: float = 0.01

    def begin(self, train: Ratings, targets: Float, initial: Parameters, seed: int) -> _Session:
        """Return cornac's data set and the arrays that it trains."""
        from cornac.data import Dataset

        users, items = train.users.astype(np.int64), train.items.astype(np.int64)
        # From ids to rows; ids are rows here.
        maps = (dict(enumerate(range(n))) for n in (train.n_users, train.n_items))
        data = Dataset(train.n_users, train.n_items, *maps, (users, items, targets))
        arrays = {
            "U": initial.user_factors.astype(np.float32),
            "V": initial.item_factors.astype(np.float32),
            "Bu": initial.user_bias.astype(np.float32),
            "Bi": initial.item_bias.astype(np.float32),
        }
        return _Session(data, float(np.mean(targets, dtype=np.float64)), arrays)

    def fit_epochs(self, session: _Session, n_epochs: int) -> None:
        """Train on: a model that starts from arrays trains these, and keeps nothing else."""
        from cornac.models import MF

        # Its own seed would force one thread.
        MF(
            k=self.rank,
            max_iter=n_epochs,
            learning_rate=self.learning_rate,
            lambda_reg=self.reg,
            use_bias=self.bias,
            num_threads=self.n_threads,
            init_params=session.arrays,
        ).fit(session.data)

    def read(self, session: _Session) -> Parameters:
        """Return the arrays, and the mean that cornac keeps fixed."""
        arrays = session.arrays
        mean = session.mean if self.bias else 0.0
        return Parameters(mean, arrays["Bu"], arrays["Bi"], arrays["U"], arrays["V"])
