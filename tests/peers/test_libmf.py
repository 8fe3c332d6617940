"""The adapters to LIBMF, and what it does."""

import dataclasses
import os
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from peer_suite import PeerSuite, check_stationary, example, needs

from backends import DivergenceWarning, Ratings
from backends.objective import mean_squared_error

needs("libmf")

# Its Python package is written for older releases of Python.
pytestmark = [
    pytest.mark.filterwarnings('ignore:"is" with:SyntaxWarning'),
    pytest.mark.filterwarnings("ignore:invalid escape:SyntaxWarning"),
]


class LibmfSuite(PeerSuite):
    """With few epochs: LIBMF hangs now and then, also with one thread."""

    repeatable = False

    params: ClassVar[dict[str, Any]] = {"reg": 0.02, "learning_rate": 0.2}
    epochs = 60

    @pytest.mark.parametrize("n_jobs", [2])
    def test_several_threads(self, n_jobs: int) -> None:
        train, _ = example()
        x = self.fit(train, epochs=15, n_jobs=n_jobs).model_.parameters
        assert mean_squared_error(x, train) < 0.6 * train.summary.variance

    def library_predictions(
        self, solver: Any, session: Any, users: np.ndarray, items: np.ndarray
    ) -> np.ndarray:
        """By its ``predict``, of pairs that are column by column in memory."""
        columns = np.stack((users, items))  # what it reads as pairs
        return session.fitted["model"].predict(columns.reshape(-1, 2))

    def test_all_ratings_equal(self) -> None:
        """It divides by their standard deviation."""
        train, _ = example()
        constant = dataclasses.replace(train, ratings=np.full(len(train), 3.5))
        with pytest.warns(DivergenceWarning, match="it has no model"):
            assert self.fit(constant).status_ == "diverged"

    @pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads by /proc")
    def test_number_of_threads(self) -> None:
        """Its threads end with a fit, so they are counted meanwhile."""
        train, _ = example()
        self.fit(train, epochs=1)
        most = []
        for n_jobs in (1, 2):
            solver = self.make(n_jobs=n_jobs)
            state = solver.prepare(train, solver.initial_parameters(train), seed=0)
            counts, end = [0], threading.Event()

            def count(counts: list[int] = counts, end: threading.Event = end) -> None:
                while not end.is_set():
                    counts.append(len(os.listdir("/proc/self/task")))

            watcher = threading.Thread(target=count)
            watcher.start()
            solver.step(state, 20)
            end.set()
            watcher.join()
            most.append(max(counts))
        assert most[1] - most[0] == 1


class TestLibmf(LibmfSuite):
    name = "libmf"

    def test_minimises(self) -> None:
        train, _ = example()
        params = {"fit_to": "centred", "reg": 0.1, "learning_rate": 0.1}
        start, end = (self.fit(train, epochs=n, **params) for n in (1, 2000))
        objective = end.minimised(train)
        assert objective is not None
        assert np.linalg.norm(end.model_.parameters.user_factors) > 1
        models = (solver.model_.parameters for solver in (start, end))
        check_stationary(objective, *models, train, "user_factors", "item_factors")

    def test_predict_reads_columns(self) -> None:
        """A trap that the adapter avoids: of pairs row by row it predicts other pairs."""
        train, held_out = example()
        solver = self.make()
        state = solver.prepare(train, solver.initial_parameters(train), seed=0)
        solver.step(state, 20)
        model = state.session.fitted["model"]
        p, q = model.p_factors(), model.q_factors()
        users, items = held_out.users, held_out.items
        known = (users % 39 > 0) & (items % 29 > 0)
        pairs = np.column_stack((users, items))[known]
        expected = np.einsum("nk,nk->n", p[pairs[:, 0]], q[pairs[:, 1]])
        assert model.predict(pairs) != pytest.approx(expected, abs=0.1)
        read = np.ascontiguousarray(pairs.T).reshape(-1, 2)
        assert model.predict(read) == pytest.approx(expected, rel=1e-4, abs=1e-5)

    def test_too_many_rows(self) -> None:
        """None of so many rows is allocated; the ratings are few."""
        most = 2**24
        train = Ratings(np.array([0, most]), np.array([0, 1]), np.array([1.0, 2.0]), most + 1, 2)
        solver = self.make()
        targets = np.ones(2, np.float32)
        initial: Any = None
        with pytest.raises(ValueError, match="at most 16,777,216 users"):
            solver.begin(train, targets, initial, 0)


class TestLibmfRaw(LibmfSuite):
    name = "libmf-raw"

    @pytest.mark.parametrize("one", ["user", "item"])
    def test_a_single_row(self, one: str) -> None:
        """Not a single rating: see `test_all_ratings_equal`."""
        super().test_a_single_row(one)
