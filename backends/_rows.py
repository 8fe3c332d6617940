"""Solving for some rows of a model while its other side stays what it is: exactly, without a fit.

With the items fixed, J is a sum over the users, and each user's bias and factors are the solution
of a small ridge regression on the items that she rated (see `alternating`). It is what a
half-epoch of alternating least squares does for all rows, whatever solver fitted the model.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backends._engine.least_squares import Equations
from backends._engine.threads import Threads, one_blas_thread

from ._arrays import Float
from .objective import Objective, Parameters, Penalties
from .ratings import Ratings

# With fewer rows, importing numba and loading its kernels would take longer than NumPy does.
_FEW = 2000


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The objective of a fitted model, for rows of either side.

    Attributes
    ----------
    objective
        What was minimised.
    bias
        Whether a row's bias is solved for with its factors; "fixed" if it is the damped bias alone,
        and False if there are none.
    mean
        m.
    rms
        Root mean square of r - m in training.
    weight
        Sum of the weights of the training ratings.
    """

    objective: Objective
    bias: bool | Literal["fixed"]
    mean: float
    rms: float
    weight: float

    @classmethod
    def of_model(
        cls,
        parameters: Parameters,
        fit: dict[str, Any],
        objective: Objective | None,
        rms: float,
        weight: float,
    ) -> Problem:
        """Return what the fit of a model minimised, or another objective.

        Parameters
        ----------
        parameters, fit
            Those of the model.
        objective
            None for that of the fit.
        rms, weight
            Of the training ratings, where the objective is given.

        Raises
        ------
        TypeError, ValueError
            If the objective is not one, does not suit the model, or must be given.
        """
        mean = parameters.mean
        if objective is not None:
            if not isinstance(objective, Objective):
                raise TypeError(f"objective must be an Objective, got {type(objective).__name__}")
            has = parameters.rank, bool(mean or parameters.item_bias.any())
            if (objective.rank, objective.bias) != has:
                raise ValueError(
                    "objective must have the rank and the bias of the model: "
                    f"rank={has[0]} and bias={has[1]}"
                )
            return cls(objective=objective, bias=objective.bias, mean=mean, rms=rms, weight=weight)
        if "rms" not in fit:
            raise ValueError(
                "objective must be given, since the model does not say what its fit minimised: "
                "another library fitted it, or an earlier release; give "
                f"objective=Objective(rank={parameters.rank}, reg=...)"
            )
        names = [each.name for each in dataclasses.fields(Objective)]
        settings = {name: fit[name] for name in names} | {"bias": bool(fit["bias"])}
        return cls(
            objective=Objective(**settings),
            bias=fit["bias"],
            mean=mean,
            rms=float(fit["rms"]),
            weight=float(fit["weight"]),
        )

    def solve(
        self,
        side: Literal["user", "item"],
        ratings: Ratings,
        opposites: tuple[Float, Float],
        n_threads: int,
    ) -> tuple[Float, Float]:
        """Return factors and biases of all rows of a side.

        Parameters
        ----------
        side
            Whose rows are solved for.
        ratings
            All ratings of those rows.
        opposites
            Factors and biases of the other side, shapes (n_opposite, rank) and (n_opposite,).
        n_threads
            Number of threads for many rows.

        Returns
        -------
        factors, bias
            Shapes (n_rows, rank) and (n_rows,), in the precision of ``opposites``; zeros for rows
            without ratings.
        """
        unit = self.rms if self.objective.reg_unit == "rms" else 1.0
        weights = ratings.user_weights() if side == "user" else ratings.item_weights()
        penalties = self.objective.row_penalties(side, weights, self.weight, unit)
        dtype = opposites[0].dtype
        number = dtype.type
        in_units = opposites[0] / number(math.sqrt(self.rms)), opposites[1] / number(self.rms)
        own = np.zeros(len(weights), dtype)
        if self.bias == "fixed":
            own = self._biases(side, ratings, opposites[1], weights + penalties.biases)
            own = (own / self.rms).astype(dtype)
        many = len(weights) > _FEW and importlib.util.find_spec("numba") is not None
        solve = self._by_kernels if many else self._by_batches
        factors, bias = solve(side, ratings, in_units, penalties, own, n_threads)
        return factors * number(math.sqrt(self.rms)), bias * number(self.rms)

    def _biases(
        self, side: str, ratings: Ratings, of_opposites: Float, sizes: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the damped biases of all rows."""
        rows, opposites = _of(side, ratings)
        residuals = ratings.ratings - np.float64(self.mean) - of_opposites[opposites]
        if ratings.weights is not None:
            residuals *= ratings.weights
        sums = np.bincount(rows, residuals, len(sizes))
        return np.divide(sums, sizes, out=np.zeros(len(sizes)), where=sizes > 0)

    def _by_batches(
        self,
        side: str,
        ratings: Ratings,
        opposites: tuple[Float, Float],
        penalties: Penalties,
        own: Float,
        n_threads: int,
    ) -> tuple[Float, Float]:
        """Solve in NumPy; all is in units."""
        rows, opposite_rows = _of(side, ratings)
        dtype, weight_unit = own.dtype, ratings.summary.weight / len(ratings)
        penalty, bias_penalty = penalties.in_units(self.rms, weight_unit, dtype)
        order = np.argsort(rows, kind="stable")
        targets = np.subtract(ratings.ratings, self.mean, dtype=np.float64) / self.rms
        weights = ratings.weights
        equations = Equations(
            offsets=np.append(0, np.cumsum(np.bincount(rows, minlength=len(own)))),
            opposites=opposite_rows[order],
            targets=targets[order].astype(dtype),
            weights=None if weights is None else (weights[order] / weight_unit).astype(dtype),
            penalty=penalty,
            bias_penalty=bias_penalty if self.bias is True else None,
            factors=opposites[0],
            bias=opposites[1],
            own_bias=own if self.bias == "fixed" else None,
        )
        rank = opposites[0].shape[1]
        factors, bias = np.zeros((len(own), rank), dtype), own.copy()
        for batch in equations.batches(np.arange(len(own))):
            solved, _ = equations.solve(batch, dtype, with_errors=False)
            factors[batch] = solved[:, -rank:]
            if self.bias is True:
                bias[batch] = solved[:, 0]
        return factors, bias

    def _by_kernels(
        self,
        side: str,
        ratings: Ratings,
        opposites: tuple[Float, Float],
        penalties: Penalties,
        own: Float,
        n_threads: int,
    ) -> tuple[Float, Float]:
        """Solve in numba, on several threads; all is in units."""
        from backends._engine.row_solver import RowSolver
        from backends._engine.sorting import blocked, counted

        threads, dtype = Threads(n_threads), own.dtype
        weight_unit = ratings.summary.weight / len(ratings)
        rank = opposites[0].shape[1]
        with one_blas_thread():
            sides = (ratings.users, ratings.n_users), (ratings.items, ratings.n_items)
            users, items = counted(threads, *sides)
            first, second = (users, items) if side == "user" else (items, users)
            by_row = blocked(
                threads,
                first,
                second,
                ratings,
                dtype,
                self.mean,
                unit=self.rms,
                weight_unit=weight_unit,
            )
            solver = RowSolver(
                rank=rank,
                dtype=dtype,
                solves_for_biases=self.bias is True,
                fixed_bias=self.bias == "fixed",
                cg_steps=0,
                threads=threads,
            )
            rows = solver.table(np.zeros((len(own), rank), dtype), own)
            solver.solve(
                solver.side(by_row, *penalties.in_units(self.rms, weight_unit, dtype)),
                solver.table(*opposites),
                rows,
                rows,
                with_errors=False,
            )
        return rows.factors[:, :rank], rows.bias


def _of(side: str, ratings: Ratings) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the rows of a side, and those of the other, of each rating."""
    pair = ratings.users, ratings.items
    return pair if side == "user" else (pair[1], pair[0])
