"""Per-rating SGD with row-wise AdaGrad steps: what all engines share, but for the step itself.

The step is `kernels.sgd.plain_step`. Ratings and biases are in units of the root mean square of
r - m, and factors in units of its square root, so that learning rate and accumulators do not depend
on the rating scale. Weights are in units of their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ._arrays import Float
from ._validation import check_fits, check_number
from .factorizer import Factorizer
from .objective import Penalties

# Share of a row's squared gradient that its accumulator adds up. With a larger share the learning
# rate falls sooner. With this one, rates from 0.1 to 0.2 serve ranks 1 to 512 on all data sets
# tried.
ACCUMULATED_SHARE = 1 / 16

# Initial value of the accumulators: the first step on a row has learning_rate / sqrt of it. A
# larger value slows the first epochs, a smaller one lets rows with few ratings diverge. Between 0.1
# and 1 it makes no difference by the twentieth epoch.
INITIAL_ACCUMULATOR = 0.1

# Larger errors are clipped to this many root mean squares of the ratings. No rating on a scale of
# stars comes near it, and one that is wrong by orders of magnitude makes no fit diverge.
MAX_ERROR = 10.0

# On a device, programs visit ratings at the same time, each its own in order. Rows of the smaller
# side for each program: two that visit ratings of one row at a time lose a step.
# `tests/simulate_lost_steps.py`: with 8 rows for each, ratings like those of 13,771 users and 4,333
# items take 10 epochs to the matching target, with 32 they take 9, and with 2 more than 60.
_ROWS_PER_PROGRAM = 8
# A program has at least so many ratings. With fewer, starting it takes longer than its work.
_LEAST_PER_PROGRAM = 128


@dataclass(kw_only=True, eq=False)
class PerRatingSGD(Factorizer):
    """Stochastic gradient descent, one rating at a time, with row-wise AdaGrad steps.

    Parameters
    ----------
    learning_rate
        A step on a row has learning_rate / sqrt(accumulator), and the accumulator adds up the
        squares of the row's gradients.
    """

    patience: ClassVar[int] = 3
    search_space: ClassVar[dict[str, tuple[float, float]]] = {
        **Factorizer.search_space,
        "learning_rate": (0.04, 0.3),
    }

    learning_rate: float = 0.11

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_number("learning_rate", self.learning_rate, positive=True)
        check_fits("learning_rate", self.learning_rate, self.dtype)

    @property
    def rule(self) -> tuple[float, float, float, float]:
        """The first four numbers of the rule of `kernels.sgd.plain_step`."""
        bias_rate = self.learning_rate if self.bias else 0.0
        return self.learning_rate, bias_rate, ACCUMULATED_SHARE, MAX_ERROR


def fill_columns(table: Float, bias: Float) -> None:
    """Write bias, both accumulators and 0 to the columns of a table, shape (n_rows, 4)."""
    table[:, 0], table[:, 1:3], table[:, 3] = bias, INITIAL_ACCUMULATOR, 0


def fill_shares(table: Float, penalties: Penalties, weights: NDArray[Any], unit: float) -> None:
    """Write what a rating of weight 1 bears of its row's penalties, in units; shape (n_rows, 2).

    A share is limited to about 1e15 in float32, so that its product with a learning rate or a
    weight does not overflow. A penalty that strong leaves nothing of the row that would change a
    prediction, so a stronger one would not make a difference.
    """
    largest: Any = float(np.finfo(table.dtype).max ** 0.4)
    for column, penalty in enumerate((penalties.factors / unit, penalties.biases)):
        # Rows without ratings have a weight of 0, and no rating reads their share.
        table[:, column] = np.minimum(penalty / np.where(weights > 0, weights, 1.0), largest)


def ratings_per_program(n: int, n_users: int, n_items: int) -> int:
    """Return how many of ``n`` ratings a program on a device visits, one after the other.

    With few rows on one side there are few programs, so that an epoch takes long.
    """
    programs = min(n // _LEAST_PER_PROGRAM, min(n_users, n_items) // _ROWS_PER_PROGRAM)
    return -(-n // max(programs, 1))
