"""The solvers as an estimator of scikit-learn: columns of users and items in, ratings out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags, check_random_state, column_or_1d
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from ._validation import check_choice
from .factorizer import Factorizer
from .model import FactorModel
from .ratings import Ratings
from .registry import get_backend


class FactorizationRegressor(RegressorMixin, BaseEstimator):
    """Matrix factorisation of explicit ratings.

    Parameters
    ----------
    backend
        Name of the solver, as `get_backend` takes it.
    rank, reg, damping, epochs
        Hyper-parameters of the solver; None for its default.
    clip
        Whether predictions are clipped to the range of the training ratings.
    duplicates
        How to treat a pair of user and item that occurs more than once: "all" its ratings count, as
        rows do everywhere in scikit-learn; for the others see `Ratings.from_arrays`.
    n_jobs
        Number of threads; None and -1 for one per core that this process may use.
    random_state
        Seed of the initial factors, and of whatever else the solver draws.
    params
        Further hyper-parameters of the solver.

    Attributes
    ----------
    solver_ : Factorizer
        The fitted solver.
    model_ : FactorModel
        Its model, with ``recommend``, ``fold_in`` and ``save``.
    n_features_in_ : int
        2.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.array([[1, 7], [1, 8], [2, 7]]), [5.0, 3.0, 4.0]
    >>> FactorizationRegressor(rank=1, random_state=0).fit(X, y).predict([[2, 8], [9, 9]]).shape
    (2,)
    """

    solver_: Factorizer
    model_: FactorModel

    def __init__(
        self,
        backend: str = "numpy-als",
        *,
        rank: int | None = None,
        reg: float | None = None,
        damping: float | None = None,
        epochs: int | None = None,
        clip: bool = True,
        duplicates: Literal["all", "error", "last", "mean"] = "all",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        self.backend = backend
        self.rank = rank
        self.reg = reg
        self.damping = damping
        self.epochs = epochs
        self.clip = clip
        self.duplicates = duplicates
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.params = params

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to ratings.

        Parameters
        ----------
        X
            Users and items, shape (n, 2): an array or a frame, of integers or text. In an array of
            floats they are whole numbers.
        y
            Ratings, shape (n,).
        sample_weight
            Weights of the ratings, shape (n,), positive; None if all weigh 1. Ratings of weight 0
            are left out.

        Raises
        ------
        ValueError
            For other shapes, for ids that are neither integers nor text, and what the solver
            refuses.
        """
        check_choice("duplicates", self.duplicates, ("all", "error", "last", "mean"))
        users, items = self._columns(X, y, reset=True)
        ratings = column_or_1d(y, warn=True)
        weights = None
        if sample_weight is not None:
            weights = np.asarray(sample_weight, np.float64)
            if weights.ndim and weights.shape != ratings.shape:
                raise ValueError(
                    f"sample_weight must have one weight for each of {len(ratings)} ratings, got "
                    f"shape {weights.shape}"
                )
            weights = np.broadcast_to(weights, ratings.shape)
            kept = weights != 0
            if not kept.any():
                raise ValueError("all sample weights are zero, so there is nothing to fit")
            if not kept.all():
                users, items = users[kept], items[kept]
                ratings, weights = ratings[kept], weights[kept]
        policy = "last" if self.duplicates == "all" else self.duplicates
        train = Ratings.from_arrays(users, items, ratings, weights=weights, duplicates=policy)
        if self.duplicates == "all" and len(train) < len(ratings):
            assert train.encoder is not None
            train = train.encoder.encode_new(users, items, ratings, weights).ratings
        train = train.canonical()  # so that nothing depends on the order of the rows
        named = {name: getattr(self, name) for name in ("rank", "reg", "damping", "epochs")}
        named |= {"n_jobs": None if self.n_jobs == -1 else self.n_jobs}
        given = {name: value for name, value in named.items() if value is not None}
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = int(check_random_state(seed).randint(np.iinfo(np.int32).max))
        solver = get_backend(self.backend, **{**given, **(self.params or {})})
        self.solver_ = solver.fit(train, seed=int(seed))
        self.model_ = solver.model_
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the predicted rating of each pair, shape (n,).

        For a user or an item that was not in training it is the mean plus the bias of the other.
        """
        check_is_fitted(self, "model_")
        users, items = self._columns(X, reset=False)
        return self.model_.predict(users, items, unknown="mean", clip=self.clip)

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = False
        tags.regressor_tags.poor_score = True  # ids of other rows say nothing of a made-up target
        return tags

    def _columns(self, X: Any, y: Any = "no_validation", *, reset: bool) -> tuple[Any, Any]:
        """Return the users and the items of ``X``; check that it has these two columns."""
        frame = X if hasattr(X, "iloc") else None
        if frame is not None and reset and y is not None:
            check_consistent_length(X, y)
        # Of a frame only the names of its columns are looked at: an array would have one type.
        options = {} if frame is None else {"skip_check_array": True}
        checked = validate_data(
            self, X, y, reset=reset, dtype=None, ensure_all_finite=False, **options
        )
        array = checked[0] if isinstance(checked, tuple) else checked
        if array.shape[1] != 2:
            raise ValueError(
                "X must have two columns, users and items; got "
                f"n_samples = {array.shape[0]}, n_features = {array.shape[1]}"
            )
        columns = (array[:, 0], array[:, 1]) if frame is None else (X.iloc[:, 0], X.iloc[:, 1])
        return _whole(columns[0], "users"), _whole(columns[1], "items")


def _whole(column: Any, name: str) -> Any:
    """Return ids; whole floats as integers, which is what an array of mixed columns has made them.

    Raises
    ------
    ValueError
        For floats that are not whole.
    """
    array = np.asarray(column)
    if array.dtype.kind == "b":
        return array.astype(np.int64)
    if array.dtype.kind != "f":
        return column
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be ids, and some are NaN or infinity (inf)")
    if (array != np.floor(array)).any():
        first = float(array[array != np.floor(array)][0])
        raise ValueError(f"{name} must be ids, integers or text, got {first!r}")
    if (np.abs(array) > 2**53).any():
        raise ValueError(
            f"{name} must be ids, and some are floats beyond 2**53, where floats skip integers"
        )
    return array.astype(np.int64)
