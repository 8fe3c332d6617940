"""KernelMF of the package matrix-factorization: SGD in numba, in a new order in each epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from backends._arrays import Float
from backends.objective import Parameters
from backends.ratings import Ratings

from .peer import GOES_ON, ONE_THREAD, OUR_START, OWN_BIASES, Peer, PeerFacts


class _Session(NamedTuple):
    triples: NDArray[np.float64]  # user, item and target of each rating; shuffled in place
    mean: float
    arrays: dict[str, Float]  # by the names that the library's training function has for them


@dataclass(kw_only=True, eq=False)
class KernelMF(Peer):
    """``matrix_factorization.KernelMF`` with its linear kernel.

    Its public ``fit`` draws the start and trains in one call. Here its training function is called,
    which does the same from given arrays.

    Parameters
    ----------
    learning_rate
        Step size of the SGD, the same throughout.
    """

    facts: ClassVar[PeerFacts] = PeerFacts(
        library="matrix-factorization",
        licence="MIT",
        minimises="squared error + reg for each rating on factors and biases",
        biases=OWN_BIASES,
        start=OUR_START,
        seed="the start and the order of the ratings",
        stepping=GOES_ON,
        threads=ONE_THREAD,
        precision="float64",
    )
    modules: ClassVar[tuple[str, ...]] = ("matrix_factorization.kernel_matrix_factorization",)
    unused: ClassVar[tuple[str, ...]] = ("bias",)
    search_space: ClassVar[dict[str, tuple[float, float]]] = {
        "reg": (0.005, 1.0),
        "learning_rate": (0.002, 0.05),
    }

    reg: float = 1.0
    learning_rate: float = 0.01

    def begin(self, train: Ratings, targets: Float, initial: Parameters, seed: int) -> _Session:
        """Return the ratings as one array, and the arrays that are trained."""
        _seeding()(seed)
        arrays: dict[str, Float] = {
            "user_biases": initial.user_bias.astype(np.float64),
            "item_biases": initial.item_bias.astype(np.float64),
            "user_features": initial.user_factors.astype(np.float64),
            "item_features": initial.item_factors.astype(np.float64),
        }
        triples = np.column_stack((train.users, train.items, targets)).astype(np.float64)
        return _Session(triples, float(triples[:, 2].mean()), arrays)

    def fit_epochs(self, session: _Session, n_epochs: int) -> None:
        """Train on."""
        from matrix_factorization.kernel_matrix_factorization import _sgd

        _sgd(
            X=session.triples,
            global_mean=session.mean,
            n_epochs=n_epochs,
            kernel="linear",
            gamma=1.0,  # of another kernel, as the bounds of ratings are
            lr=self.learning_rate,
            reg=self.reg,
            min_rating=0,
            max_rating=5,
            verbose=0,
            **session.arrays,
        )

    def read(self, session: _Session) -> Parameters:
        """Return the arrays, and the mean that the library keeps fixed."""
        arrays = session.arrays
        return Parameters(
            session.mean,
            arrays["user_biases"],
            arrays["item_biases"],
            arrays["user_features"],
            arrays["item_features"],
        )


@cache
def _seeding() -> Callable[[int], None]:
    """Return a function, compiled once, that seeds what the library shuffles by."""
    import numba

    def seed_numba(number: int) -> None:
        np.random.seed(number)  # noqa: NPY002

    compiled: Any = numba.njit(seed_numba)
    return cast("Callable[[int], None]", compiled)
