"""The one objective that every solver minimises, its gradient in float64, and the one initial model.

    r_ui ~ m + b_u + c_i + p_u . q_i
    J = (1/N) [ sum (r_ui - rhat_ui)^2 + reg * sum over rows w_row |row|^2 ]

m is the mean of the training ratings and stays fixed; m, b and c are zero when ``bias=False``. A row is a row of p,
q, b or c. Its weight w is its number of training ratings (``"per_rating"``: ALS-WR, Zhou et al. 2008, and what SGD
minimises) or N (``"per_entity"``: reg times the Frobenius norms); a row without ratings weighs nothing. Solvers live in
their own modules; this one is their oracle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ._checks import check_choice, check_count, check_number
from .ratings import Ratings

RegScaling = Literal["per_rating", "per_entity"]
Init = Literal["normal", "uniform"]
Float = NDArray[np.floating[Any]]

_CHUNK = 1 << 12  # ratings at a time: the gathered rows stay in cache, and memory is bounded


@dataclass
class Parameters:
    """The numbers a model consists of, on the host; a gradient has the same form.

    Attributes
    ----------
    mean
        m, the rating that all predictions start from.
    user_bias, item_bias
        b and c, shapes (n_users,) and (n_items,); zeros in a model without biases.
    user_factors, item_factors
        p and q, shapes (n_users, rank) and (n_items, rank).
    """

    mean: float
    user_bias: Float
    item_bias: Float
    user_factors: Float
    item_factors: Float

    @property
    def rank(self) -> int:
        """Number of factors of a row."""
        return int(self.user_factors.shape[1])

    def arrays(self) -> dict[str, Float]:
        """Return the four arrays by name (the same objects, no copies)."""
        return {name: getattr(self, name) for name in ("user_bias", "item_bias", "user_factors", "item_factors")}

    def astype(self, dtype: np.typing.DTypeLike) -> Parameters:
        """Return a copy of the given precision, in C order."""
        copies = {name: np.array(a, dtype=dtype, order="C") for name, a in self.arrays().items()}
        return Parameters(self.mean, **copies)

    def is_finite(self) -> bool:
        """Whether every number is finite."""
        return bool(np.isfinite(self.mean) and all(np.isfinite(a).all() for a in self.arrays().values()))

    def predict(self, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Return m + b_u + c_i + p_u . q_i in float64 for rows ``users`` and ``items``, both shape (n,)."""
        out = np.empty(len(users))
        for part in chunks(len(users)):
            u, i = users[part], items[part]
            # einsum in float64: the products of float32 factors are exact, the sum loses nothing that matters
            dots = np.einsum("nk,nk->n", self.user_factors[u], self.item_factors[i], dtype=np.float64)
            out[part] = self.mean + dots + self.user_bias[u] + self.item_bias[i]
        return out


@dataclass(frozen=True)
class Objective:
    """J of the module's docstring.

    Parameters
    ----------
    rank
        Number of factors, at least 1.
    reg
        Regularisation strength, at least 0, in squared rating units per squared factor.
    reg_scaling
        Weight of a row's penalty: its number of ratings, or N.
    bias
        Whether the model has the mean and the biases.

    Raises
    ------
    ValueError
        Naming the argument, what was given and what is expected.
    """

    rank: int = 16
    reg: float = 0.1
    reg_scaling: RegScaling = "per_rating"
    bias: bool = True

    def __post_init__(self) -> None:
        check_count("rank", self.rank)
        check_number("reg", self.reg)
        check_choice("reg_scaling", self.reg_scaling, get_args(RegScaling))
        if not isinstance(self.bias, bool):
            raise ValueError(f"bias must be True or False, got {self.bias!r}")

    def mean(self, ratings: Ratings) -> float:
        """Return m: the mean rating, or 0 for a model without biases."""
        return ratings.summary.mean if self.bias else 0.0

    def row_weights(self, ratings: Ratings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the weights w of the user rows, shape (n_users,), and of the item rows, shape (n_items,).

        Rows without a rating weigh nothing: no solver has a reason to move them.
        """
        return self.weights(ratings.user_counts()), self.weights(ratings.item_counts())

    def weights(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the weights w of the rows of one side, given their numbers of ratings; both shape (n_rows,)."""
        if self.reg_scaling == "per_rating":
            return counts.astype(np.float64)
        return np.where(counts > 0, float(counts.sum()), 0.0)

    def value(self, parameters: Parameters, ratings: Ratings) -> float:
        """Return J in float64."""
        return self.value_and_mse(parameters, ratings)[0]

    def value_and_mse(self, parameters: Parameters, ratings: Ratings) -> tuple[float, float]:
        """Return J and its first term, the mean squared error on ``ratings``, in float64."""
        mse = mean_squared_error(parameters, ratings)
        user_weight, item_weight = self.row_weights(ratings)
        penalty = 0.0
        for weight, factors, bias in (
            (user_weight, parameters.user_factors, parameters.user_bias),
            (item_weight, parameters.item_factors, parameters.item_bias),
        ):
            squares = np.einsum("nk,nk->n", factors, factors, dtype=np.float64)
            penalty += float(weight @ (squares + np.square(bias, dtype=np.float64)))
        return mse + self.reg * penalty / len(ratings), mse

    def gradient(self, parameters: Parameters, ratings: Ratings) -> Parameters:
        """Return the gradient of J in float64, with zero for the fixed mean (and for biases that are absent).

        dJ/dp_u = (2/N) (sum_i -(r_ui - rhat_ui) q_i + reg w_u p_u), and likewise for q; the biases are rows whose
        counterpart is 1.
        """
        from scipy.sparse import csr_array

        at = parameters.astype(np.float64)
        errors = at.predict(ratings.users, ratings.items) - ratings.ratings
        matrix = csr_array((errors, (ratings.users, ratings.items)), shape=(ratings.n_users, ratings.n_items))
        user_weight, item_weight = self.row_weights(ratings)
        scale = 2.0 / len(ratings)

        def bias_gradient(rows: NDArray[np.int32], weight: Float, bias: Float) -> Float:
            if not self.bias:
                return np.zeros_like(bias)
            return scale * (np.bincount(rows, errors, len(bias)) + self.reg * weight * bias)

        return Parameters(
            mean=0.0,
            user_bias=bias_gradient(ratings.users, user_weight, at.user_bias),
            item_bias=bias_gradient(ratings.items, item_weight, at.item_bias),
            user_factors=scale * (matrix @ at.item_factors + self.reg * user_weight[:, None] * at.user_factors),
            item_factors=scale * (matrix.T @ at.user_factors + self.reg * item_weight[:, None] * at.item_factors),
        )


def initial_model(
    objective: Objective,
    ratings: Ratings,
    seed: int,
    init: Init = "normal",
    init_scale: float = 0.1,
    dtype: np.typing.DTypeLike = "float64",
    n_threads: int = 1,
) -> Parameters:
    """Return the start that every solver shares.

    Parameters
    ----------
    init
        "normal": factors are ``init_scale`` times the root of the ratings' unit times standard normal draws, so that a
        fit starts alike on any scale. The unit is `rating_unit` around the mean rating, with biases or without: 1 for
        ratings from 1 to 5 or to 10. A draw is one of 65,536 values, each as likely as any other: exact ones take four
        times as long. "uniform": factors are ``init_scale`` times uniform draws from [0, 1), whatever the ratings, as
        starts are published. Biases start at zero.
    dtype, n_threads
        Draws are in single precision and from one stream per so many rows, whatever precision and threads: one start
        for all, in a fraction of the time.

    Raises
    ------
    ValueError
        For an unknown ``init`` or an ``init_scale`` that is not a positive number.
    """
    check_choice("init", init, get_args(Init))
    check_number("init_scale", init_scale, positive=True)
    from ._threads import Threads

    tables = [np.empty((n_rows, objective.rank), np.float32) for n_rows in (ratings.n_users, ratings.n_items)]
    parts = [table[rows] for table in tables for rows in chunks(len(table))]

    scale = np.float32(init_scale)
    normal = scale * _normal_quantiles() if init == "normal" else None

    def fill(part: Float, stream: np.random.SeedSequence) -> None:
        bits = np.random.PCG64(stream)
        if normal is None:
            np.random.Generator(bits).random(dtype=np.float32, out=part)
            part *= scale
            return
        flat = part.reshape(-1)
        for some in chunks(len(flat), 16 * _CHUNK):  # long enough for threads not to wait for each other
            draws = flat[some]
            ranks = bits.random_raw(-(-len(draws) // 4)).view(np.uint16)[: len(draws)]  # 16 bits make a draw
            np.take(normal, ranks, out=draws, mode="clip")

    streams = np.random.SeedSequence(seed).spawn(len(parts))
    Threads(n_threads).run(fill, list(zip(parts, streams, strict=True)))
    mean = ratings.summary.mean
    root = math.sqrt(rating_unit(ratings, mean)) if init == "normal" else 1.0  # a power of 2: no draw is rounded by it
    user_factors, item_factors = (table.astype(dtype, copy=False) for table in tables)
    if root != 1:
        for factors in (user_factors, item_factors):
            np.multiply(factors, root, out=factors)
    return Parameters(
        mean if objective.bias else 0.0,
        np.zeros(ratings.n_users, dtype),
        np.zeros(ratings.n_items, dtype),
        user_factors,
        item_factors,
    )


@cache
def _normal_quantiles() -> NDArray[np.float32]:
    """Return the standard normal distribution's quantiles in the middle of 65,536 equal parts of probability."""
    points = np.linspace(-5, 5, 8193)
    below = [0.5 * math.erfc(-x / math.sqrt(2)) for x in points]
    quantiles = np.interp((np.arange(65536) + 0.5) / 65536, below, points).astype(np.float32)
    quantiles.flags.writeable = False  # the one array of the process
    return quantiles


def mean_squared_error(parameters: Parameters, ratings: Ratings) -> float:
    """Return the mean squared error on ``ratings``, unclipped, in float64; NaN when there are none."""
    if not len(ratings):
        return float("nan")
    errors = parameters.predict(ratings.users, ratings.items) - ratings.ratings
    return float(np.mean(np.square(errors)))


def chunks(n: int, size: int = _CHUNK) -> Iterator[slice]:
    """Yield slices that cover ``range(n)`` in pieces of ``size``."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def rating_unit(ratings: Ratings, mean: float) -> float:
    """Return the power of 4 nearest to the root mean square of r - m, 1 where that is 0 or rounding.

    It gives step lengths a scale: in this unit ratings are about 1, and so are the squares of factors. Its root is a
    power of 2, so changing to it and back is exact. For ratings from 1 to 5 or to 10 around their mean it is 1.
    """
    off = ratings.summary.mean - mean
    size, rounding = math.sqrt(ratings.summary.variance + off * off), 1e-6 * abs(mean)
    return 4.0 ** round(math.log(size, 4)) if rounding < size < math.inf else 1.0
