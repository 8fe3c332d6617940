"""LIBMF: parallel SGD with one AdaGrad rate per row, without biases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends._arrays import Float
from backends.objective import Parameters
from backends.ratings import Ratings

from .peer import N_JOBS, RESTARTS, FitTo, Peer, PeerFacts

# Ids travel as float32, which has all integers up to this one only.
_MOST_ROWS = 2**24


class _Session(NamedTuple):
    triples: NDArray[np.float32]  # user, item and target of each rating
    shape: tuple[int, int]
    fitted: dict[str, Any]  # the library's model, once there is one


@dataclass(kw_only=True, eq=False)
class Libmf(Peer):
    """LIBMF (Chin et al. 2015, ACM TIST 6) through the PyPI package libmf.

    Its ``predict`` reads pairs column by column, so the factors are used instead. On tiny data a
    fit of release 0.9.2 hangs now and then, with one thread as with two, and no signal ends it. One
    thread does not give one model either.

    Parameters
    ----------
    learning_rate
        LIBMF's eta, the start of its AdaGrad rates.
    """

    facts: ClassVar[PeerFacts] = PeerFacts(
        library="libmf",
        licence="BSD-3-Clause (LIBMF), MIT (the Python package)",
        minimises="squared error + reg for each rating on factors",
        biases="none; those of the damped biases with fit_to='residuals'",
        start="its own: random numbers of at least 0",
        seed="nothing: its random numbers are always the same",
        stepping=RESTARTS,
        threads=N_JOBS,
        precision="float32",
    )
    modules: ClassVar[tuple[str, ...]] = ("libmf.mf",)
    steppable: ClassVar[bool] = False
    # Fits of few ratings of many rows hang now and then.
    warms_with_all: ClassVar[bool] = True
    search_space: ClassVar[dict[str, tuple[float, float]]] = {
        "reg": (0.01, 0.2),
        "learning_rate": (0.02, 0.3),
    }

    reg: float = 0.04
    learning_rate: float = 0.1
    fit_to: FitTo = "residuals"

    def begin(self, train: Ratings, targets: Float, initial: Parameters, seed: int) -> _Session:
        """Return the ratings as LIBMF's Python package takes them."""
        shape = train.n_users, train.n_items
        if max(shape) > _MOST_ROWS:
            raise ValueError(
                f"libmf keeps ids as float32, so that at most {_MOST_ROWS:,} users and as many "
                f"items are possible; got {shape[0]:,} and {shape[1]:,}"
            )
        columns = train.users, train.items, targets
        return _Session(np.column_stack(columns).astype(np.float32), shape, {})

    def fit_epochs(self, session: _Session, n_epochs: int) -> None:
        """Fit from the beginning."""
        from libmf import mf

        model = mf.MF(
            k=self.rank,
            nr_threads=self.n_threads,
            nr_iters=n_epochs,
            lambda_p1=0.0,
            lambda_q1=0.0,
            lambda_p2=self.reg,
            lambda_q2=self.reg,
            eta=self.learning_rate,
            quiet=True,
        )
        model.fit(session.triples)
        session.fitted["model"] = model

    def read(self, session: _Session) -> Parameters:
        """Return the factors; LIBMF has none for rows after the last one with ratings."""
        n_users, n_items = session.shape
        p, q = np.zeros((n_users, self.rank)), np.zeros((n_items, self.rank))
        if "model" in session.fitted:
            found = session.fitted["model"]
            for table, factors in ((p, found.p_factors()), (q, found.q_factors())):
                table[: len(factors)] = factors
        return Parameters(0.0, np.zeros(n_users), np.zeros(n_items), p, q)


@dataclass(kw_only=True, eq=False)
class LibmfRaw(Libmf):
    """LIBMF on the ratings as they are, without mean and biases."""

    fit_to: FitTo = "ratings"
