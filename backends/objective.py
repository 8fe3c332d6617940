"""The one objective that every solver minimises, its gradient in float64, and the one initial model.

    r_ui ~ m + b_u + c_i + p_u . q_i
    J = (1/N) [ sum w_ui (r_ui - rhat_ui)^2
                + sum over factor rows reg unit (n_row + damping) |row|^2
                + sum over users (bias_reg n_u + user_bias_damping) b_u^2
                + sum over items (bias_reg n_i + item_bias_damping) c_i^2 ]

m is the mean of the training ratings and stays fixed; m, b and c are zero when ``bias=False``. A factor row is a row of
p or q. n_row is the sum of the weights w of its training ratings (their number, where all weigh 1), N that of all. So
`reg` shrinks every row alike (ALS-WR, Zhou et al. 2008, and what SGD minimises) and the dampings, which are numbers of
ratings, shrink rare rows the most. Under ``reg_scaling="per_entity"`` N stands for n_row, and there is no damping.

`reg` and `bias_reg` are pure numbers: the unit is the root mean square of r - m, which is what |factors|^2 is measured
in, so nothing depends on the rating scale. With ``reg_unit="rating"`` it is 1.

Rows without training ratings weigh nothing, and are zero in a fitted model. Solvers live in their own modules; this one
is their oracle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ._checks import check_choice, check_count, check_number
from .biases import damped_biases
from .ratings import Ratings

RegScaling = Literal["per_rating", "per_entity"]
RegUnit = Literal["rms", "rating"]
Init = Literal["normal", "uniform"]
Float = NDArray[np.floating[Any]]

_ROUNDING = 64 * float(np.finfo(np.float64).eps)  # of a mean; float32 ratings that are equal are so in float64 too
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


class Penalties(NamedTuple):
    """What multiplies |row|^2 of the factors, and the square of the bias, of each row of one side in N J."""

    factors: NDArray[np.float64]  # shape (n_rows,); 0 for rows without ratings, as the next
    biases: NDArray[np.float64]


@dataclass(frozen=True)
class Objective:
    """J of the module's docstring.

    Parameters
    ----------
    rank
        Number of factors, at least 1.
    reg
        Regularisation of the factors, at least 0: a pure number, or in ratings under ``reg_unit="rating"``.
    reg_scaling
        What a row's penalty grows with: "per_rating", its number of ratings, or "per_entity", all ratings.
    bias
        Whether the model has the mean and the biases.
    reg_unit
        "rms": factors are penalised in the root mean square of r - m; "rating": in the ratings' own numbers.
    damping
        Number of ratings, at least 0, by which the penalty of each factor row counts more than it has.
    bias_reg
        Regularisation of the biases, at least 0, a pure number.
    user_bias_damping, item_bias_damping
        How many ratings at the mean each user, and each item, is given beside its own, as far as its bias goes.

    Raises
    ------
    ValueError
        Naming the argument, what was given and what is expected.
    """

    rank: int = 16
    reg: float = 0.03
    reg_scaling: RegScaling = "per_rating"
    bias: bool = True
    reg_unit: RegUnit = "rms"
    damping: float = 280.0
    bias_reg: float = 0.02
    user_bias_damping: float = 4.0
    item_bias_damping: float = 2.0

    def __post_init__(self) -> None:
        check_count("rank", self.rank)
        check_choice("reg_scaling", self.reg_scaling, get_args(RegScaling))
        check_choice("reg_unit", self.reg_unit, get_args(RegUnit))
        if not isinstance(self.bias, bool):
            raise ValueError(f"bias must be True or False, got {self.bias!r}")
        for name in ("reg", "damping", "bias_reg", "user_bias_damping", "item_bias_damping"):
            check_number(name, getattr(self, name))
            if "damping" in name and getattr(self, name) and self.reg_scaling == "per_entity":
                raise ValueError(
                    f'{name} must be 0 with reg_scaling="per_entity", where all rows are penalised alike, got '
                    f"{getattr(self, name)!r}; give damping=0, user_bias_damping=0, item_bias_damping=0"
                )

    def mean(self, ratings: Ratings) -> float:
        """Return m: the mean rating, or 0 for a model without biases."""
        return ratings.summary.mean if self.bias else 0.0

    def unit(self, ratings: Ratings) -> float:
        """Return what |factors|^2 is measured in: the root mean square of r - m, or 1; see ``reg_unit``."""
        return rating_unit(ratings, self.mean(ratings)) if self.reg_unit == "rms" else 1.0

    def penalties(self, ratings: Ratings) -> tuple[Penalties, Penalties]:
        """Return the penalties of the users, and those of the items."""
        return self.penalties_of(ratings, ratings.user_weights(), ratings.item_weights())

    def penalties_of(
        self, ratings: Ratings, user_weights: NDArray[np.float64], item_weights: NDArray[np.float64]
    ) -> tuple[Penalties, Penalties]:
        """Return `penalties` where the sums of the rows' weights are known already, shapes (n_rows,)."""
        total, unit = ratings.summary.weight, self.unit(ratings)

        def side(weights: NDArray[np.float64], bias_damping: float) -> Penalties:
            n = weights if self.reg_scaling == "per_rating" else np.full(len(weights), total)
            penalties = self.reg * unit * (n + self.damping), self.bias_reg * n + bias_damping
            return Penalties(*(np.where(weights > 0, penalty, 0.0) for penalty in penalties))

        return side(user_weights, self.user_bias_damping), side(item_weights, self.item_bias_damping)

    def biases_alone(self, ratings: Ratings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the biases of users and of items that minimise J without factors, see `damped_biases`."""
        reg, dampings = self.bias_reg, (self.user_bias_damping, self.item_bias_damping)
        if self.reg_scaling == "per_entity":
            reg, dampings = 0.0, (self.bias_reg * ratings.summary.weight,) * 2
        return damped_biases(ratings, user_damping=dampings[0], item_damping=dampings[1], reg=reg)

    def value(self, parameters: Parameters, ratings: Ratings) -> float:
        """Return J in float64."""
        return self.value_and_mse(parameters, ratings)[0]

    def value_and_mse(self, parameters: Parameters, ratings: Ratings) -> tuple[float, float]:
        """Return J and its first term, the mean squared error on ``ratings``, in float64."""
        mse = mean_squared_error(parameters, ratings)
        users, items = self.penalties(ratings)
        penalty = 0.0
        for side, factors, bias in (
            (users, parameters.user_factors, parameters.user_bias),
            (items, parameters.item_factors, parameters.item_bias),
        ):
            penalty += float(side.factors @ np.einsum("nk,nk->n", factors, factors, dtype=np.float64))
            penalty += float(side.biases @ np.square(bias, dtype=np.float64))
        return mse + penalty / ratings.summary.weight, mse

    def gradient(self, parameters: Parameters, ratings: Ratings) -> Parameters:
        """Return the gradient of J in float64, with zero for the fixed mean (and for biases that are absent).

        dJ/dp_u = (2/N) (sum_i w_ui (rhat_ui - r_ui) q_i + reg unit (n_u + damping) p_u), and likewise for q; the
        biases are rows whose counterpart is 1.
        """
        from scipy.sparse import csr_array

        at = parameters.astype(np.float64)
        errors = at.predict(ratings.users, ratings.items) - ratings.ratings
        if ratings.weights is not None:
            errors *= ratings.weights
        matrix = csr_array((errors, (ratings.users, ratings.items)), shape=(ratings.n_users, ratings.n_items))
        users, items = self.penalties(ratings)
        scale = 2.0 / ratings.summary.weight

        def bias_gradient(rows: NDArray[np.int32], penalty: Float, bias: Float) -> Float:
            if not self.bias:
                return np.zeros_like(bias)
            return scale * (np.bincount(rows, errors, len(bias)) + penalty * bias)

        return Parameters(
            mean=0.0,
            user_bias=bias_gradient(ratings.users, users.biases, at.user_bias),
            item_bias=bias_gradient(ratings.items, items.biases, at.item_bias),
            user_factors=scale * (matrix @ at.item_factors + users.factors[:, None] * at.user_factors),
            item_factors=scale * (matrix.T @ at.user_factors + items.factors[:, None] * at.item_factors),
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
        fit starts alike on any scale. The unit is the root mean square of r - m: where ratings are all equal there is
        nothing to explain, and factors are zero. A draw is one of 65,536 values, each as likely as any other: exact
        ones take four times as long. "uniform": factors are ``init_scale`` times uniform draws from [0, 1), whatever
        the ratings, as starts are published. Biases start at zero.
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

    mean, scale = objective.mean(ratings), np.float32(init_scale)
    normal = None
    if init == "normal":
        normal = np.float32(init_scale * math.sqrt(root_mean_square(ratings, mean))) * _normal_quantiles()

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
    user_factors, item_factors = (table.astype(dtype, copy=False) for table in tables)
    return Parameters(
        mean,
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
    """Return the mean squared error on ``ratings``, weighted, unclipped, in float64; NaN when there are none."""
    if not len(ratings):
        return float("nan")
    squares = np.square(parameters.predict(ratings.users, ratings.items) - ratings.ratings)
    return float(np.average(squares, weights=ratings.weights))


def chunks(n: int, size: int = _CHUNK) -> Iterator[slice]:
    """Yield slices that cover ``range(n)`` in pieces of ``size``."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def root_mean_square(ratings: Ratings, mean: float) -> float:
    """Return the root mean square of r - mean, weighted; 0 where it is no more than rounding, or is not finite."""
    off = ratings.summary.mean - mean
    size, rounding = math.hypot(math.sqrt(ratings.summary.variance), off), _ROUNDING * abs(mean)
    return size if rounding < size < math.inf else 0.0


def rating_unit(ratings: Ratings, mean: float) -> float:
    """Return the unit in which ratings are about 1, and so are the squares of factors: steps are scaled by it.

    It is the root mean square of r - mean; 1 where that is 0 or rounding.
    """
    return root_mean_square(ratings, mean) or 1.0
