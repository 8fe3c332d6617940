"""`Peer`: a solver that another library fits, and the facts that each adapter declares of it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends._arrays import Float
from backends._validation import check_choice, check_number
from backends.factorizer import Factorizer, State
from backends.model import FactorModel
from backends.objective import Objective, Parameters, RegUnit
from backends.ratings import Ratings

FitTo = Literal["ratings", "centred", "residuals"]


class PeerFacts(NamedTuple):
    """What an adapter declares of its library, in words that reports show.

    Attributes
    ----------
    library
        The distribution's name on PyPI.
    licence
        Its licence.
    minimises
        What it minimises or samples, with the hyper-parameters of the adapter.
    biases
        Where the model's biases come from.
    start
        Which factors a fit starts from.
    seed
        What the seed of ``fit`` decides.
    stepping
        How more epochs follow: a fit goes on, or starts again with more of them.
    threads
        How many it uses.
    precision
        Of its own arithmetic; the model has the solver's ``dtype``.
    """

    library: str
    licence: str
    minimises: str
    biases: str
    start: str
    seed: str
    stepping: str
    threads: str
    precision: str


GOES_ON = "goes on from epoch to epoch"
RESTARTS = "starts again from the beginning for every number of epochs"
OUR_START = "the same as our solvers'"
OWN_BIASES = "its own, fitted together with the factors"
N_JOBS = "n_jobs"
ONE_THREAD = "one, whatever n_jobs is"

_MOST_SEEDS = 2**32
# Hyper-parameters of the damped biases that are subtracted from residuals.
_OF_BIASES = {"bias_reg", "user_bias_damping", "item_bias_damping"}


class Offset(NamedTuple):
    """What is subtracted from ratings: their mean, and the biases of users and items if any."""

    mean: float
    biases: tuple[NDArray[np.float64], NDArray[np.float64]] | None

    def of(
        self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
    ) -> NDArray[np.float64] | float:
        """Return what is subtracted from ratings of pairs of rows, shapes (n,)."""
        if self.biases is None:
            return self.mean
        b, c = self.biases
        total: NDArray[np.float64] = self.mean + b[users] + c[items]
        return total


@dataclass(kw_only=True)
class PeerState(State):
    """The library's session, and what was subtracted from the ratings before it saw them."""

    session: Any
    offset: Offset | None


@dataclass(kw_only=True, eq=False)
class Peer(Factorizer):
    """Base class of the adapters: a library's fit behind the interface of all solvers.

    An adapter implements ``begin`` (convert the ratings), ``fit_epochs`` and ``read`` (the
    library's factors as `Parameters`). The time of all three is part of a fit, because whoever uses
    the library spends it too. A Ctrl-C during ``fit_epochs`` takes effect when that is over.

    Parameters
    ----------
    reg
        The library's own regularisation, in its own unit; by default what the library has. No
        library has dampings, so ``damping`` has to stay 0.
    fit_to
        What the library gets: the "ratings" as they are, "centred" ones, from which their mean is
        subtracted, or the "residuals" of the damped biases (see `Objective.biases_alone`), which a
        library without biases of its own may need. What was subtracted is added to the model.
    """

    facts: ClassVar[PeerFacts]
    # What of the library a fit imports.
    modules: ClassVar[tuple[str, ...]]
    # Further hyper-parameters of `Factorizer` that the library has no use for.
    unused: ClassVar[tuple[str, ...]] = ()
    # Whether a benchmark compiles by fits of all ratings, not of a few.
    warms_with_all: ClassVar[bool] = False

    reg_unit: RegUnit = "rating"
    damping: float = 0.0
    fit_to: FitTo = "ratings"

    # ---- what an adapter implements -------------------------------------------------------------

    @abstractmethod
    def begin(self, train: Ratings, targets: Float, initial: Parameters, seed: int) -> Any:
        """Return a session of the library, with everything that its training needs.

        Parameters
        ----------
        train
            Users and items of the ratings, as row numbers. Neither it nor ``targets`` may be
            changed: they may share memory.
        targets
            What is fitted, shape (n,), in float32; see ``fit_to``.
        initial
            The factors that our solvers start from, for libraries that accept a start; and the mean
            of ``targets``, or 0 without biases.
        seed
            The seed of ``fit``.
        """

    @abstractmethod
    def fit_epochs(self, session: Any, n_epochs: int) -> None:
        """Train ``n_epochs`` more epochs, or if not ``steppable``, so many from the beginning."""

    @abstractmethod
    def read(self, session: Any) -> Parameters:
        """Return the library's model of the targets; mean and biases are 0 where it has none."""

    def minimised(self, train: Ratings) -> Objective | None:
        """Return what the library minimises, as an `Objective`; None if it minimises nothing.

        With residuals it holds for the factors alone: biases have no penalty in it.
        """
        bias_reg = 0.0 if self.fit_to == "residuals" else self.reg
        return Objective(
            rank=self.rank,
            reg=self.reg,
            bias=self.bias,
            reg_unit="rating",
            damping=0.0,
            bias_reg=bias_reg,
            user_bias_damping=0.0,
            item_bias_damping=0.0,
        )

    # ---- what the interface asks for ------------------------------------------------------------

    def threads(self) -> AbstractContextManager[Any]:
        """Return a context that limits threads; see the base class.

        The library is imported first. Otherwise the BLAS and the OpenMP that come with it would
        come too late to be limited, and its import would count as part of the first fit.
        """
        with quiet():
            for module in self.modules:
                importlib.import_module(module)
        return super().threads()

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> PeerState:
        """Subtract what the library is not to see, and convert the rest.

        Raises
        ------
        ValueError
            For what no library takes: weights, and seeds of more than 32 bits.
        """
        if train.weights is not None:
            raise ValueError(f"{self.facts.library} takes no weights; every rating counts once")
        self.check_seed(seed)
        offset, targets = self._offset(train), train.ratings
        if offset is not None:
            initial = dataclasses.replace(initial, mean=0.0)
            targets = targets - offset.of(train.users, train.items)
        with quiet():
            session = self.begin(train, targets.astype(np.float32, copy=False), initial, seed)
        return PeerState(session=session, offset=offset)

    def step(self, state: PeerState, n_epochs: int) -> float:
        """Train ``n_epochs`` more epochs; return 0, as libraries do not tell the training MSE.

        So divergence shows only in the model at the end, which `fit` looks at in any case.
        """
        with quiet():
            self.fit_epochs(state.session, n_epochs + (0 if self.steppable else state.epochs))
        state.epochs += n_epochs
        return 0.0

    def parameters(self, state: PeerState) -> Parameters:
        """Return the library's model, with what was subtracted from the ratings added to it."""
        found, offset = self.read(state.session).astype(self.dtype), state.offset
        if offset is not None:
            found.mean += offset.mean
            if offset.biases is not None:
                found.user_bias += offset.biases[0].astype(self.dtype)
                found.item_bias += offset.biases[1].astype(self.dtype)
        return found

    def _minimised(self, train: Ratings, mean: float) -> dict[str, float]:
        return {}  # the library minimises something else than our objective

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class.

        Raises
        ------
        ValueError
            Also for one that the library has no use for, unless it has its default.
        """
        super().check_params()
        check_choice("fit_to", self.fit_to, ("ratings", "centred", "residuals"))
        if not self.bias and self.fit_to != "ratings":
            raise ValueError(
                "fit_to has to be 'ratings' with bias=False, since what else is subtracted from "
                f"them becomes part of the model; got {self.fit_to!r}"
            )
        if hasattr(self, "learning_rate"):
            check_number("learning_rate", self.learning_rate, positive=True)
        defaults = {field.name: field.default for field in fields(self)}
        fixed = {"damping", "reg_scaling", "reg_unit", *self.unused}
        if self.fit_to != "residuals":
            fixed |= _OF_BIASES
        if not self.takes_start:
            fixed |= {"init", "init_scale"}
        for name in sorted(fixed):
            if getattr(self, name) != defaults[name]:
                raise ValueError(
                    f"{name} has to stay {defaults[name]!r} with {self.facts.library}, which knows "
                    f"no other; got {getattr(self, name)!r}"
                )

    def check_seed(self, seed: int) -> None:
        """Raise ValueError for a seed of more than 32 bits."""
        if seed >= _MOST_SEEDS:
            raise ValueError(f"{self.facts.library} takes seeds below 2**32 only, got {seed}")

    @property
    def takes_start(self) -> bool:
        """Whether a fit can start from given parameters."""
        return self.facts.start == OUR_START

    def _start(
        self, train: Ratings, seed: int, initial: Parameters | FactorModel | None
    ) -> Parameters:
        """Return what a fit starts from; refuse what the library would not look at."""
        if initial is not None and not self.takes_start:
            raise ValueError(
                f"initial has to be None with {self.facts.library}, whose fits have a start of "
                "their own"
            )
        return super()._start(train, seed, initial)

    def _offset(self, train: Ratings) -> Offset | None:
        """Return what is subtracted before the library sees the ratings; None for nothing."""
        if self.fit_to == "ratings":
            return None
        biases = self.objective.biases_alone(train) if self.fit_to == "residuals" else None
        return Offset(train.summary.mean, biases)


def posterior_mean(samples: Sequence[Parameters]) -> Parameters:
    """Return one model that predicts the mean of what all samples predict.

    Factors of different samples cannot be averaged, since each may be rotated in its own way. So
    they are placed side by side, each divided by the square root of their number: the model's rank
    is the sum of theirs.
    """
    scale = 1.0 / math.sqrt(len(samples))
    mean = float(np.mean([sample.mean for sample in samples]))
    b, c = (
        np.mean([getattr(sample, name) for sample in samples], axis=0)
        for name in ("user_bias", "item_bias")
    )
    p, q = (
        np.hstack([getattr(sample, name) for sample in samples])
        for name in ("user_factors", "item_factors")
    )
    p *= scale
    q *= scale
    return Parameters(mean, b, c, p, q)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Discard what a library prints by Python's means, progress bars and warnings among it.

    Other threads' output is discarded meanwhile, too.
    """
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
