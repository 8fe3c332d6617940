"""The adapters to LIBMF, and what it does."""

from typing import Any

import numpy as np
import pytest
from peer_suite import PeerSuite, check_stationary, example, needs

from backends import Ratings

needs("libmf")

# Its Python package is written for older releases of Python.
pytestmark = [
    pytest.mark.filterwarnings('ignore:"is" with:SyntaxWarning'),
    pytest.mark.filterwarnings("ignore:invalid escape:SyntaxWarning"),
]


class LibmfSuite(PeerSuite):
    params = {"reg": 0.02, "learning_rate": 0.2}
    epochs = 100

    def library_predictions(
        self, solver: Any, session: Any, users: np.ndarray, items: np.ndarray
    ) -> np.ndarray:
        """By its ``predict``, of pairs that are column by column in memory."""
        columns = np.stack((users, items))  # what it reads as pairs
        return session.fitted["model"].predict(columns.reshape(-1, 2))


class TestLibmf(LibmfSuite):
    name = "libmf"

    def test_minimises(self) -> None:
        train, _ = example()
        params = {"fit_to": "centred", "reg": 0.1}
        start, end = (self.fit(train, epochs=n, **params) for n in (1, 20_000))
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
