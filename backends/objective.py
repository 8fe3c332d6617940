"""The objective that every solver minimises, its gradient in float64, and the parameters.

    r_ui ~ m + b_u + c_i + p_u . q_i
    J = (1/N) [ sum w_ui (r_ui - rhat_ui)^2
                + sum over factor rows reg unit (n_row + damping) |row|^2
                + sum over users (bias_reg n_u + user_bias_damping) b_u^2
                + sum over items (bias_reg n_i + item_bias_damping) c_i^2 ]

m is the mean of the training ratings and stays fixed; m, b and c are zero when ``bias=False``. A
factor row is a row of p or q. n_row is the sum of the weights w of its training ratings (their
number if all weigh 1), and N the sum of all weights. So `reg` shrinks all rows to the same degree
(ALS-WR, Zhou et al. 2008, and what SGD minimises), and the dampings, which are numbers of ratings,
shrink rows with few ratings the most. With ``reg_scaling="per_entity"`` N takes the place of n_row,
and there is no damping.

`reg` and `bias_reg` have no unit: |factors|^2 is measured in units of the root mean square of
r - m, so nothing depends on the rating scale. With ``reg_unit="rating"`` the unit is 1.

Rows without training ratings have no penalty, and are zero in a fitted model. Solvers live in their
own modules, and tests compare them with this one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._arrays import Float, chunks
from ._validation import check_choice, check_count, check_number
from .biases import damped_biases
from .ratings import Ratings

RegScaling = Literal["per_rating", "per_entity"]
RegUnit = Literal["rms", "rating"]

# Largest relative rounding error of a mean. It is float64's even for float32 ratings: ratings that
# are equal in float32 are equal in float64.
_ROUNDING = 64 * float(np.finfo(np.float64).eps)


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
        names = "user_bias", "item_bias", "user_factors", "item_factors"
        return {name: getattr(self, name) for name in names}

    def astype(self, dtype: np.typing.DTypeLike) -> Parameters:
        """Return a copy of the given precision, in C order."""
        copies = {name: np.array(a, dtype=dtype, order="C") for name, a in self.arrays().items()}
        return Parameters(self.mean, **copies)

    def in_units(self, unit: float) -> Parameters:
        """Return biases in units of ``unit`` and factors in units of its root.

        The mean stays as it is. Solvers compute in units so that nothing overflows, whatever the
        rating scale is; `from_units` is the inverse.
        """
        number = self.user_factors.dtype.type
        bias_unit, factor_unit = number(unit), number(math.sqrt(unit))
        return Parameters(
            self.mean,
            self.user_bias / bias_unit,
            self.item_bias / bias_unit,
            self.user_factors / factor_unit,
            self.item_factors / factor_unit,
        )

    def from_units(self, unit: float) -> Parameters:
        """Return in rating units what is in units: the inverse of `in_units`."""
        number = self.user_factors.dtype.type
        bias_unit, factor_unit = number(unit), number(math.sqrt(unit))
        return Parameters(
            self.mean,
            self.user_bias * bias_unit,
            self.item_bias * bias_unit,
            self.user_factors * factor_unit,
            self.item_factors * factor_unit,
        )

    def is_finite(self) -> bool:
        """Whether every number is finite."""
        if not np.isfinite(self.mean):
            return False
        return all(bool(np.isfinite(array).all()) for array in self.arrays().values())

    def predict(
        self,
        users: NDArray[np.integer[Any]],
        items: NDArray[np.integer[Any]],
    ) -> NDArray[np.float64]:
        """Return m + b_u + c_i + p_u . q_i of pairs of rows, shapes (n,), in float64."""
        out = np.empty(len(users))
        for part in chunks(len(users)):
            u, i = users[part], items[part]
            # einsum in float64: the products of float32 factors are exact, the sum loses nothing
            # that matters
            dots = np.einsum(
                "nk,nk->n",
                self.user_factors[u],
                self.item_factors[i],
                dtype=np.float64,
            )
            out[part] = self.mean + dots + self.user_bias[u] + self.item_bias[i]
        return out

    def predict_of_user(self, user: int, items: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Return what `predict` does for some items of one user, in less time."""
        dots = np.einsum(
            "nk,k->n", self.item_factors[items], self.user_factors[user], dtype=np.float64
        )
        out: NDArray[np.float64] = self.mean + dots + self.user_bias[user] + self.item_bias[items]
        return out


class Penalties(NamedTuple):
    """Factors of |row|^2 and of the squared bias in N J, for each row of one side."""

    factors: NDArray[np.float64]  # shape (n_rows,); 0 for rows without ratings, as the next
    biases: NDArray[np.float64]

    def limited(self, weights: NDArray[np.float64], unit: float, dtype: DTypeLike) -> Penalties:
        """Return penalties with which nothing overflows, about 1e15 per rating in float32.

        A row is zero, to that precision, under a weaker penalty already. ``weights`` are the sums
        of the weights of each row's ratings.
        """
        largest = float(np.finfo(dtype).max ** 0.4)
        return Penalties(
            np.minimum(self.factors, largest * unit * weights),
            np.minimum(self.biases, largest * weights),
        )

    def in_units(self, unit: float, weight_unit: float, dtype: DTypeLike) -> tuple[Float, Float]:
        """Return the penalties of factors and biases, each of shape (n_rows,), in units.

        Ratings and biases are in units of ``unit``, factors in units of its square root, and
        weights in units of ``weight_unit``.
        """
        # Limited to what the precision can represent; a row is zero under a weaker penalty already.
        largest = 1e-4 * float(np.finfo(dtype).max)
        factors = np.minimum(self.factors / unit / weight_unit, largest).astype(dtype)
        biases = np.minimum(self.biases / weight_unit, largest).astype(dtype)
        return factors, biases


@dataclass(frozen=True)
class Objective:
    """J of the module's docstring.

    Parameters
    ----------
    rank
        Number of factors, at least 1.
    reg
        Regularisation of the factors, at least 0; without a unit, or in rating units if
        ``reg_unit="rating"``.
    reg_scaling
        "per_rating": a row's penalty is proportional to its number of ratings (plus the damping).
        "per_entity": all rows have the same penalty, as if each had all ratings.
    bias
        Whether the model has a mean and biases.
    reg_unit
        The unit in the penalty of the factors: the root mean square of r - m ("rms"), or 1
        ("rating").
    damping
        Number of ratings, at least 0, that is added to each row's own in the penalty of its
        factors.
    bias_reg
        Regularisation of the biases, at least 0; without a unit.
    user_bias_damping, item_bias_damping
        At least 0. It shrinks the bias of each user, and of each item, as this many further ratings
        equal to the mean would.

    Raises
    ------
    ValueError
        If an argument is wrong.
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
                    f'{name} must be 0 with reg_scaling="per_entity", where all rows are penalised '
                    f"alike, got {getattr(self, name)!r}; "
                    "give damping=0, user_bias_damping=0, item_bias_damping=0"
                )

    def mean(self, ratings: Ratings) -> float:
        """Return m: the mean rating, or 0 for a model without biases."""
        return ratings.summary.mean if self.bias else 0.0

    def unit(self, ratings: Ratings) -> float:
        """Return the unit of |factors|^2: the root mean square of r - m, or 1; see ``reg_unit``."""
        return rating_unit(ratings, self.mean(ratings)) if self.reg_unit == "rms" else 1.0

    def penalties(self, ratings: Ratings) -> tuple[Penalties, Penalties]:
        """Return the penalties of the users, and those of the items."""
        return self.penalties_of(ratings, ratings.user_weights(), ratings.item_weights())

    def penalties_of(
        self, ratings: Ratings, user_weights: NDArray[np.float64], item_weights: NDArray[np.float64]
    ) -> tuple[Penalties, Penalties]:
        """Return `penalties` from the sums of each user's and item's weights, shapes (n_rows,)."""
        total, unit = ratings.summary.weight, self.unit(ratings)
        return (
            self.row_penalties("user", user_weights, total, unit),
            self.row_penalties("item", item_weights, total, unit),
        )

    def row_penalties(
        self, side: str, weights: NDArray[np.float64], total: float, unit: float
    ) -> Penalties:
        """Return the penalties of some rows of a side, "user" or "item".

        Parameters
        ----------
        weights
            Sum of the weights of each row's ratings, shape (n_rows,).
        total
            Sum of the weights of all ratings.
        unit
            Of |factors|^2; see `unit`.
        """
        bias_damping = self.user_bias_damping if side == "user" else self.item_bias_damping
        n = weights if self.reg_scaling == "per_rating" else np.full(len(weights), total)
        penalties = self.reg * unit * (n + self.damping), self.bias_reg * n + bias_damping
        factors, biases = (np.where(weights > 0, penalty, 0.0) for penalty in penalties)
        return Penalties(factors, biases)

    def biases_alone(self, ratings: Ratings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the biases that minimise J without factors; see `damped_biases`."""
        if self.reg_scaling == "per_entity":
            damping = self.bias_reg * ratings.summary.weight
            return damped_biases(ratings, user_damping=damping, item_damping=damping)
        return damped_biases(
            ratings,
            user_damping=self.user_bias_damping,
            item_damping=self.item_bias_damping,
            reg=self.bias_reg,
        )

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
            norms = np.einsum("nk,nk->n", factors, factors, dtype=np.float64)
            penalty += float(side.factors @ norms)
            penalty += float(side.biases @ np.square(bias, dtype=np.float64))
        return mse + penalty / ratings.summary.weight, mse

    def gradient(self, parameters: Parameters, ratings: Ratings) -> Parameters:
        """Return the gradient of J in float64: zero for the fixed mean and for absent biases.

        dJ/dp_u = (2/N) (sum_i w_ui (rhat_ui - r_ui) q_i + reg unit (n_u + damping) p_u), and
        likewise for q; the biases are rows whose counterpart is 1.
        """
        from scipy.sparse import csr_array

        at = parameters.astype(np.float64)
        errors = at.predict(ratings.users, ratings.items) - ratings.ratings
        if ratings.weights is not None:
            errors *= ratings.weights
        matrix = csr_array(
            (errors, (ratings.users, ratings.items)),
            shape=(ratings.n_users, ratings.n_items),
        )
        users, items = self.penalties(ratings)
        scale = 2.0 / ratings.summary.weight

        def bias_gradient(rows: NDArray[np.int32], penalty: Float, bias: Float) -> Float:
            if not self.bias:
                return np.zeros_like(bias)
            return scale * (np.bincount(rows, errors, len(bias)) + penalty * bias)

        user_penalty = users.factors[:, None] * at.user_factors
        item_penalty = items.factors[:, None] * at.item_factors
        return Parameters(
            mean=0.0,
            user_bias=bias_gradient(ratings.users, users.biases, at.user_bias),
            item_bias=bias_gradient(ratings.items, items.biases, at.item_bias),
            user_factors=scale * (matrix @ at.item_factors + user_penalty),
            item_factors=scale * (matrix.T @ at.user_factors + item_penalty),
        )


def mean_squared_error(parameters: Parameters, ratings: Ratings) -> float:
    """Return the weighted mean squared error in float64, unclipped; NaN without ratings."""
    if not len(ratings):
        return float("nan")
    squares = np.square(parameters.predict(ratings.users, ratings.items) - ratings.ratings)
    return float(np.average(squares, weights=ratings.weights))


def root_mean_square(ratings: Ratings, mean: float) -> float:
    """Return the weighted root mean square of r - mean; 0 if it is rounding error or infinite."""
    off = ratings.summary.mean - mean
    size, rounding = math.hypot(math.sqrt(ratings.summary.variance), off), _ROUNDING * abs(mean)
    return size if rounding < size < math.inf else 0.0


def rating_unit(ratings: Ratings, mean: float) -> float:
    """Return the unit in which ratings, and squares of factors, are about 1.

    Solvers scale their steps by it. It is the root mean square of r - mean, or 1 if that is 0 or
    rounding error.
    """
    return root_mean_square(ratings, mean) or 1.0
