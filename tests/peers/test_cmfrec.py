"""The adapters to cmfrec, and what its ``CMF`` does."""

import contextlib
import ctypes
import platform
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
from peer_suite import PeerSuite, check_stationary, example, needs

from backends import DivergenceWarning, get_backend
from backends.objective import mean_squared_error
from backends.testing.example import assert_equal

needs("cmfrec-als")


class CmfrecSuite(PeerSuite):
    epochs = 30
    converges: ClassVar[dict[str, Any]] = {}  # the parameters of a fit to its end

    def library_predictions(
        self, solver: Any, session: Any, users: np.ndarray, items: np.ndarray
    ) -> np.ndarray:
        return session.fitted["model"].predict(users, items)

    @pytest.mark.parametrize(
        ("fit_to", "bias"), [("ratings", True), ("centred", True), ("ratings", False)]
    )
    def test_minimises(self, fit_to: str, bias: bool) -> None:
        train, _ = example()
        params = {"fit_to": fit_to, "bias": bias} | self.converges
        start, end = (self.fit(train, epochs=n, **params) for n in (1, 300))
        objective = end.minimised(train)
        assert objective is not None
        assert np.linalg.norm(end.model_.parameters.user_factors) > 1
        for tables in (["user_factors", "item_factors"], ["user_bias", "item_bias"][: 2 * bias]):
            models = (solver.model_.parameters for solver in (start, end))
            check_stationary(objective, *models, train, *tables)


class TestALS(CmfrecSuite):
    name = "cmfrec-als"
    params: ClassVar[dict[str, Any]] = {"reg": 0.05}
    converges: ClassVar[dict[str, Any]] = {"dtype": "float64"}


class TestALSCG(CmfrecSuite):
    name = "cmfrec-als-cg"
    params: ClassVar[dict[str, Any]] = {"reg": 0.05}
    # Three steps of conjugate gradients are exact for three unknowns.
    converges: ClassVar[dict[str, Any]] = {"dtype": "float64", "rank": 2}

    def test_ends_a_little_above_the_minimum(self) -> None:
        train, _ = example()
        many = self.fit(train, epochs=150, dtype="float64")
        more = self.fit(train, epochs=200, dtype="float64")
        exact = get_backend("cmfrec-als", rank=3, n_jobs=1, dtype="float64", **self.params)
        objective = self.make().minimised(train)
        assert objective is not None
        lowest = objective.value(exact.fit(train, epochs=200).model_.parameters, train)
        found = [objective.value(solver.model_.parameters, train) for solver in (many, more)]
        assert found[0] == pytest.approx(found[1], rel=1e-6)
        assert 1.001 < found[1] / lowest < 1.02


@contextlib.contextmanager
def fresh_memory(byte: int) -> Iterator[None]:
    """Fill memory that C's malloc returns by this byte, as glibc can."""
    mallopt, perturb = ctypes.CDLL(None).mallopt, -6
    mallopt(perturb, byte ^ 0xFF)
    try:
        yield
    finally:
        mallopt(perturb, 0)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="fills memory as glibc can")
class TestLBFGS(CmfrecSuite):
    """With memory of zeros. Without it no fit is sure to return a good model."""

    name = "cmfrec-lbfgs"
    params: ClassVar[dict[str, Any]] = {"reg": 2.0}
    converges: ClassVar[dict[str, Any]] = {"dtype": "float64"}

    @pytest.fixture(autouse=True)
    def zeros(self) -> Iterator[None]:
        with fresh_memory(0):
            yield

    @pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_uses_memory_that_it_never_wrote(self, dtype: str) -> None:
        """A trap: whether a fit is good hangs on what an earlier call left in memory."""
        train, _ = example()
        with fresh_memory(0xFE), pytest.warns(DivergenceWarning):
            self.fit(train, dtype=dtype)
        with fresh_memory(0):
            x = self.fit(train, dtype=dtype, epochs=30).model_.parameters
        assert mean_squared_error(x, train) < 0.3 * train.summary.variance

    def test_separate_gradients_are_wrong(self) -> None:
        """A trap: its default for several threads."""
        train, _ = example()
        single, separate = (
            self.fit(train, n_jobs=2, epochs=100, parallelize=how).model_.parameters
            for how in ("single", "separate")
        )
        assert mean_squared_error(single, train) < 0.3 * train.summary.variance
        assert mean_squared_error(separate, train) > train.summary.variance

    def test_converges_before_its_last_iteration(self) -> None:
        train, _ = example()
        first, second = (self.fit(train, epochs=n, dtype="float64") for n in (2000, 4000))
        assert first.n_epochs_ == 2000
        assert_equal(first.model_.parameters, second.model_.parameters)
