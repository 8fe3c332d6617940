"""What ends a fit before its last epoch: the stopping rules, and the detection of divergence."""

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

# A fit has diverged when its training MSE is this many times the mean squared rating, which is the
# error of predicting zero.
_EXPLODED = 1e4

Patience = int | Literal["auto"] | None
Keep = Literal["best", "last"]


class EpochRecord(NamedTuple):
    """One row of ``history_``."""

    epoch: int  # number of epochs trained; for 0 see `Factorizer.fit`
    seconds: float  # spent in `prepare` and `step` so far; evaluation does not count
    objective: float  # J on the training ratings; this and the next two are NaN if not evaluated
    train_mse: float
    validation_mse: float


@dataclass
class Progress:
    """The argument of a callback."""

    record: EpochRecord
    _model: Callable[[], FactorModel] | None

    @cached_property
    def model(self) -> FactorModel:
        """The model at this epoch.

        It is copied to the host when it is first accessed, which must be in the callback.

        Raises
        ------
        RuntimeError
            If it is first accessed after the callback has returned.
        """
        if self._model is None:
            advice = "read progress.model inside the callback to keep it"
            raise RuntimeError(f"the model of epoch {self.record.epoch} is gone: {advice}")
        return self._model()


@dataclass
class Stopping:
    """The conditions under which a fit ends before its last epoch; see `Factorizer.fit`."""

    callback: Callable[[Progress], object] | None
    target_mse: float | None
    patience: int | None
    max_seconds: float | None
    best: float = math.inf
    best_epoch: int = 0
    started: float = field(default_factory=lambda: time.perf_counter())

    @property
    def scores(self) -> bool:
        """Whether a condition needs the validation MSE of every epoch."""
        return self.target_mse is not None or self.patience is not None

    @property
    def watches(self) -> bool:
        """Whether a condition must be checked after every epoch."""
        conditions = self.callback, self.target_mse, self.patience, self.max_seconds
        return any(condition is not None for condition in conditions)

    def check(self, validation: Ratings | None) -> None:
        """Raise TypeError or ValueError if a condition is wrong."""
        if self.patience is not None:
            check_count("patience", self.patience, or_else='"auto", None')
        for name in ("target_mse", "max_seconds"):
            if getattr(self, name) not in (None, math.inf):
                check_number(name, getattr(self, name))
        if self.callback is not None and not callable(self.callback):
            raise TypeError(
                f"callback must be callable or None, got {type(self.callback).__name__}",
            )
        if self.scores and not validation:
            raise ValueError("target_mse and patience need validation ratings, got none")

    def reason(self, progress: Progress) -> Status | None:
        """Return why to stop after this epoch, or None to go on."""
        record = progress.record
        if record.validation_mse < self.best:
            self.best, self.best_epoch = record.validation_mse, record.epoch
        stop = self.callback is not None and self.callback(progress)
        # From here on the solver's parameters are those of a later epoch.
        progress._model = None
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
    """The epoch with the lowest validation MSE so far, and its parameters."""

    mse: float = math.inf
    epoch: int = 0
    parameters: Parameters | None = None

    def offer(self, record: EpochRecord, parameters: Parameters) -> bool:
        """Keep the parameters if the epoch is the best so far; return whether it is."""
        better = record.validation_mse < self.mse
        if better:
            self.mse, self.epoch, self.parameters = record.validation_mse, record.epoch, parameters
        return better


def explosion_limit(train: Ratings, start: Parameters) -> float:
    """Return the training MSE above which a fit has diverged; finite, so infinity is above it."""
    ratings = train.summary
    mean_square = ratings.variance + ratings.mean * ratings.mean
    return min(_EXPLODED * (mean_square + _size(start)), sys.float_info.max)


def exploded(x: Parameters, train: Ratings, limit: float) -> float:
    """Return 0 for a usable model, and the training MSE (or NaN) for one that has diverged.

    The training MSE takes a pass over the ratings, which is only made if the parameters are
    suspiciously large.
    """
    # False if the size is NaN, so parameters that pass are finite.
    if _size(x) <= limit:
        return 0.0
    if not x.is_finite():
        return math.nan
    mse = mean_squared_error(x, train)
    return 0.0 if mse <= limit else mse


def _size(x: Parameters) -> float:
    """Return a rough mean square of the predictions, from the parameters alone.

    It is cheap, and never far too small: (p . q)^2 is at most |p|^2 |q|^2.
    """
    # Summed in the arrays' own precision, which is several times as fast as in float64. An overflow
    # gives infinity, which counts as large.
    p_norm, q_norm = (
        float(np.einsum("nk,nk->", factors, factors)) / max(len(factors), 1)
        for factors in (x.user_factors, x.item_factors)
    )
    biases = sum(float(np.mean(np.square(b, dtype=np.float64))) for b in (x.user_bias, x.item_bias))
    # Products instead of ** 2, which raises OverflowError for Python's floats.
    return x.mean * x.mean + biases + p_norm * q_norm
