"""The estimator of scikit-learn: its own checks, and what users build from it."""

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import validate_data

from backends import get_backend
from backends.sklearn import FactorizationRegressor

_COLUMNS = "it fits other numbers of columns than two, and these are users and items"
EXPECTED_FAILURES = {
    name: _COLUMNS
    for name in (
        "check_all_zero_sample_weights_error",
        "check_dict_unchanged",
        "check_dont_overwrite_parameters",
        "check_dtype_object",
        "check_estimators_dtypes",
        "check_estimators_pickle",
        "check_f_contiguous_array_estimator",
        "check_fit2d_predict1d",
        "check_fit_score_takes_y",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_n_features_in_after_fitting",
        "check_pipeline_consistency",
        "check_positive_only_tag_during_fit",
        "check_regressor_data_not_an_array",
        "check_regressors_int",
        "check_regressors_no_decision_function",
        "check_regressors_train",
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weights_list",
        "check_supervised_y_2d",
    )
} | {
    "check_estimators_nan_inf": "NaN in the numbers that it fits is reported as three columns",
}


class TwoColumns(FactorizationRegressor):
    """The same estimator for the numbers of scikit-learn's checks, which are no ids.

    Its users are the first column and its items the last one, in steps of a third. So all checks
    reach what `FactorizationRegressor` does behind its check of the columns.
    """

    def _columns(self, X: Any, y: Any = "no_validation", *, reset: bool) -> tuple[Any, Any]:
        checked = validate_data(self, X, y, reset=reset, dtype="numeric")
        array = checked[0] if isinstance(checked, tuple) else checked
        steps = np.floor(3 * np.asarray(array, float)).astype(np.int64)
        return steps[:, 0], steps[:, -1]


def failures(estimator: FactorizationRegressor) -> dict[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checks = check_estimator(estimator, on_fail=None)
    assert len(checks) > 40
    failed = [check for check in checks if check["status"] == "failed"]
    return {check["check_name"]: str(check["exception"]) for check in failed}


def test_checks_of_scikit_learn_fail_only_for_their_columns() -> None:
    failed = failures(FactorizationRegressor())
    assert failed.keys() == EXPECTED_FAILURES.keys()
    for name, message in failed.items():
        if name not in (
            "check_estimators_nan_inf",
            "check_positive_only_tag_during_fit",
        ):
            assert "X must have two columns, users and items; got n_samples" in message, name


def test_behind_the_check_of_columns_no_check_fails() -> None:
    assert failures(TwoColumns()) == {}


def ratings(kind: str = "integers") -> tuple[Any, np.ndarray]:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((80, 40)) < 0.5)
    p, q = rng.normal(size=(80, 2)), rng.normal(size=(40, 2))
    y = 3 + (p[users] * q[items]).sum(axis=1)
    if kind == "texts":
        return pd.DataFrame({"user": [f"u{u}" for u in users], "item": items * 3}), y
    return np.column_stack([users, items]), y


@pytest.mark.parametrize("kind", ["integers", "texts"])
def test_it_predicts_what_the_solver_does(kind: str) -> None:
    X, y = ratings(kind)
    found = FactorizationRegressor(rank=2, damping=2, epochs=5, clip=False).fit(X, y)
    assert found.score(X, y) > 0.8
    expected = get_backend("numpy-als", rank=2, damping=2, epochs=5).fit(found.solver_._trained_on)
    columns = (X.iloc[:, 0], X.iloc[:, 1]) if kind == "texts" else (X[:, 0], X[:, 1])
    np.testing.assert_array_equal(found.predict(X), expected.predict(*columns))
    unseen = [["nobody", 1]] if kind == "texts" else [[10**6, 0]]
    assert np.isfinite(
        found.predict(pd.DataFrame(unseen, columns=X.columns) if kind == "texts" else unseen)
    )
    assert len(found.model_.recommend(columns[0][0], 3)) == 3


def test_every_rating_of_a_pair_counts() -> None:
    X, y = ratings()
    weighted = FactorizationRegressor(rank=2).fit(X, y, np.where(np.arange(len(y)) < 50, 2.0, 1.0))
    repeated = FactorizationRegressor(rank=2).fit(np.vstack([X, X[:50]]), np.append(y, y[:50]))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-9)
    with pytest.raises(ValueError, match="50 duplicated"):
        FactorizationRegressor(duplicates="error").fit(np.vstack([X, X[:50]]), np.append(y, y[:50]))


def test_the_order_of_rows_does_not_matter() -> None:
    X, y = ratings()
    order = np.random.default_rng(1).permutation(len(y))
    one, other = FactorizationRegressor(rank=2).fit(X, y), FactorizationRegressor(rank=2)
    np.testing.assert_array_equal(one.predict(X), other.fit(X[order], y[order]).predict(X))


def test_what_users_build_from_it() -> None:
    X, y = ratings()
    folds = KFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(
        FactorizationRegressor(rank=2, n_jobs=-1),
        {"reg": [0.01, 10.0], "params": [{"damping": 2.0}]},
        cv=folds,
        scoring="neg_root_mean_squared_error",
    ).fit(X, y)
    assert search.best_params_["reg"] == 0.01
    scores = cross_val_score(search.best_estimator_, X, y, cv=folds)
    assert scores.min() > 0.5
    first_two = FunctionTransformer(lambda table: table[:, :2])
    wide = np.column_stack([X, np.zeros(len(y), int)])
    piped = make_pipeline(first_two, clone(search.best_estimator_)).fit(wide, y)
    np.testing.assert_array_equal(piped.predict(wide), search.best_estimator_.predict(X))
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(X), search.best_estimator_.predict(X))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[1.5, 2.0]], "users must be ids, integers or text, got 1.5"),
        ([[1.0, np.nan]], "items must be ids, and some are NaN or infinity (inf)"),
        (
            [[1, 2, 3]],
            "X must have two columns, users and items; got n_samples = 1, n_features = 3",
        ),
    ],
)
def test_what_are_no_ids_is_refused(X: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # compared below
        FactorizationRegressor().fit(X, [3.0])
    assert str(caught.value) == message


def test_whole_floats_are_ids() -> None:
    X, y = ratings()
    found = FactorizationRegressor(rank=2).fit(X.astype(float), y)
    assert found.model_.encoder.users.dtype == np.int64


def test_floats_that_skip_integers_are_no_ids() -> None:
    with pytest.raises(ValueError, match=r"some are floats beyond 2\*\*53"):
        FactorizationRegressor().fit(np.array([[1e19, 1], [2e19, 1]]), [1.0, 2.0])


def test_there_is_a_weight_for_each_rating() -> None:
    X, y = ratings()
    with pytest.raises(ValueError, match=r"sample_weight must have one weight for each of \d+"):
        FactorizationRegressor().fit(X, y, [1.0, 2.0])
