"""The adapter to LensKit, and what its ``BiasedMFScorer`` does."""

from typing import Any, ClassVar

import numpy as np
import pytest
from peer_suite import PeerSuite, check_stationary, example, needs

needs("lenskit-als")

# LensKit's own imports of itself.
pytestmark = pytest.mark.filterwarnings("ignore:lenskit.data.msweb deprecated:DeprecationWarning")


class TestLenskitALS(PeerSuite):
    name = "lenskit-als"
    params: ClassVar[dict[str, Any]] = {"reg": 0.05}
    refuses_pairs = "repeated interactions not allowed"

    def library_predictions(
        self, solver: Any, session: Any, users: np.ndarray, items: np.ndarray
    ) -> np.ndarray:
        from lenskit.data import ItemList

        pairs = zip(users.tolist(), items.tolist(), strict=True)
        scorer = session.scorer
        return np.array([scorer(u, ItemList(item_ids=[i])).scores()[0] for u, i in pairs])

    def test_minimises(self) -> None:
        """In float32 it gets as far as its rounding lets it."""
        train, _ = example()
        start, end = (self.fit(train, epochs=n) for n in (1, 500))
        objective = end.minimised(train)
        assert objective is not None
        assert np.linalg.norm(end.model_.parameters.user_factors) > 1
        models = (solver.model_.parameters for solver in (start, end))
        check_stationary(objective, *models, train, "user_factors", "item_factors")

    def test_starts_from_our_factors(self) -> None:
        """The users' factors of the first epoch are exact for the items' factors of the start."""
        train, _ = example()
        solver = self.make()
        initial = solver.initial_parameters(train, seed=7)
        after = self.fit(train, epochs=1, initial=initial, dtype="float64").model_.parameters
        for user in (1, 17, 38):
            mine = train.users == user
            q = initial.item_factors[train.items[mine]].astype(np.float64)
            targets = train.ratings[mine] - after.mean
            targets = targets - after.user_bias[user] - after.item_bias[train.items[mine]]
            matrix = q.T @ q + solver.reg * len(q) * np.eye(3)
            expected = np.linalg.solve(matrix, q.T @ targets)
            assert after.user_factors[user] == pytest.approx(expected, rel=1e-3, abs=1e-4)

    def test_biases(self) -> None:
        """Items' mean residuals damped by 5 ratings, and then users'."""
        train, _ = example()
        x = self.fit(train, epochs=1, dtype="float64").model_.parameters
        residuals = train.ratings - train.ratings.mean()
        c = np.bincount(train.items, residuals, 30) / (np.bincount(train.items, minlength=30) + 5)
        residuals = residuals - c[train.items]
        b = np.bincount(train.users, residuals, 40) / (np.bincount(train.users, minlength=40) + 5)
        assert x.item_bias == pytest.approx(c, rel=1e-4, abs=1e-5)
        assert x.user_bias == pytest.approx(b, rel=1e-4, abs=1e-5)
