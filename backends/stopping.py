"""What ends a fit before its last epoch: the stopping rules with what they look at, and a loss that exploded."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from ._validation import check_count, check_number
from .model import FactorModel
from .objective import Parameters, mean_squared_error
from .ratings import Ratings

Status = Literal["epochs", "target", "patience", "time", "callback", "interrupted", "diverged"]

# A fit whose training MSE is this many times the mean squared rating has exploded: predicting zero is far better.
_EXPLODED = 1e4


Patience = int | Literal["auto"] | None
Keep = Literal["best", "last"]


class EpochRecord(NamedTuple):
    """One row of ``history_``."""

    epoch: int  # epochs done; 0 is what a fit that keeps its best model begins with, see `Factorizer.fit`
    seconds: float  # of training since the start of prepare, evaluation excluded
    objective: float  # J on the training ratings; NaN where not evaluated, as the next two
    train_mse: float
    validation_mse: float


@dataclass
class Progress:
    """What a callback gets after an epoch."""

    record: EpochRecord
    _model: Callable[[], FactorModel] | None

    @cached_property
    def model(self) -> FactorModel:
        """The model at this epoch, copied to the host when first asked for, which must be in the callback.

        Raises
        ------
        RuntimeError
            When training has gone on since.
        """
        if self._model is None:
            raise RuntimeError(
                f"the model of epoch {self.record.epoch} is gone: read progress.model inside the callback to keep it"
            )
        return self._model()


@dataclass
class Stopping:
    """What can end a fit before its last epoch."""

    callback: Callable[[Progress], object] | None
    target_mse: float | None
    patience: int | None
    max_seconds: float | None
    best: float = math.inf
    best_epoch: int = 0
    started: float = field(default_factory=lambda: time.perf_counter())

    @property
    def scores(self) -> bool:
        """Whether every epoch must be scored on the validation set."""
        return self.target_mse is not None or self.patience is not None

    @property
    def watches(self) -> bool:
        """Whether every epoch must be looked at."""
        return any(w is not None for w in (self.callback, self.target_mse, self.patience, self.max_seconds))

    def check(self, validation: Ratings | None) -> None:
        """Raise ValueError naming what is wrong."""
        if self.patience is not None:
            check_count("patience", self.patience, or_else='"auto", None')
        for name in ("target_mse", "max_seconds"):
            if getattr(self, name) not in (None, math.inf):
                check_number(name, getattr(self, name))
        if self.callback is not None and not callable(self.callback):
            raise TypeError(f"callback must be callable or None, got {type(self.callback).__name__}")
        if self.scores and not validation:
            raise ValueError("target_mse and patience need validation ratings, got none")

    def reason(self, progress: Progress) -> Status | None:
        """Return why to stop after this epoch, None to go on."""
        record = progress.record
        if record.validation_mse < self.best:
            self.best, self.best_epoch = record.validation_mse, record.epoch
        stop = self.callback is not None and self.callback(progress)
        progress._model = None  # from here on the solver's parameters are another epoch's
        if stop:
            return "callback"
        if self.target_mse is not None and record.validation_mse <= self.target_mse:
            return "target"
        if self.patience is not None and record.epoch - self.best_epoch >= self.patience:
            return "patience"
        if self.max_seconds is not None and time.perf_counter() - self.started >= self.max_seconds:
            return "time"
        return None


@dataclass
class Best:
    """The epoch with the lowest validation MSE, and what its model consists of."""

    mse: float = math.inf
    epoch: int = 0
    parameters: Parameters | None = None

    def offer(self, record: EpochRecord, parameters: Parameters) -> bool:
        """Keep an epoch's parameters if it is the best so far, and return whether it is."""
        better = record.validation_mse < self.mse
        if better:
            self.mse, self.epoch, self.parameters = record.validation_mse, record.epoch, parameters
        return better


def explosion_limit(train: Ratings, start: Parameters) -> float:
    """Return the training MSE over which a fit counts as diverged; an infinite one is over any."""
    ratings = train.summary
    return min(_EXPLODED * (ratings.variance + ratings.mean * ratings.mean + _size(start)), sys.float_info.max)


def exploded(x: Parameters, train: Ratings, limit: float) -> float:
    """Return the training MSE of a model that is worthless (NaN: not finite), 0 for any other.

    The last epoch's loss is only known to a further pass over the ratings, which is made only where the size of the
    parameters gives reason to.
    """
    if _size(x) <= limit:  # and so finite
        return 0.0
    if not x.is_finite():
        return math.nan
    mse = mean_squared_error(x, train)
    return 0.0 if mse <= limit else mse


def _size(x: Parameters) -> float:
    """Return a rough mean square of the predictions, from the rows alone: cheap, and never far too small."""
    # In the arrays' own precision, which is several times as fast; an overflow counts as large, which it is.
    factors = [float(np.einsum("nk,nk->", f, f)) / max(len(f), 1) for f in (x.user_factors, x.item_factors)]
    biases = sum(float(np.mean(np.square(b, dtype=np.float64))) for b in (x.user_bias, x.item_bias))
    return x.mean * x.mean + biases + factors[0] * factors[1]  # "**" would raise where a float overflows
