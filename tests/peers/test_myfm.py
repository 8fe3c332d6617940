"""The adapter to myFM, and what its sampler does."""

from typing import Any

import numpy as np
from peer_suite import PeerSuite, example, needs

from backends.objective import mean_squared_error

needs("myfm")


class TestMyFM(PeerSuite):
    name = "myfm"
    epochs = 40

    def library_predictions(
        self, solver: Any, session: Any, users: np.ndarray, items: np.ndarray
    ) -> np.ndarray:
        """The mean over the samples that it kept."""
        from scipy.sparse import csr_matrix

        n, (n_users, n_items) = len(users), session.shape
        features = np.zeros((n, n_users + n_items))
        features[np.arange(n), users] = 1
        features[np.arange(n), n_users + items] = 1
        return session.fitted["model"].predict(csr_matrix(features))

    def test_mean_of_the_last_samples(self) -> None:
        train, _ = example()
        models = {n: self.fit(train, epochs=n, samples=4).model_.parameters for n in (3, 6, 8, 30)}
        assert {n: x.rank for n, x in models.items()} == {3: 3, 6: 3, 8: 9, 30: 12}
        one = self.fit(train, epochs=30, samples=1).model_.parameters
        errors = [mean_squared_error(x, train) for x in (models[30], one)]
        assert errors[0] < errors[1]

    def test_starts_with_the_given_scale(self) -> None:
        train, _ = example()
        first, second = (
            self.fit(train, epochs=1, start_scale=scale).model_.parameters for scale in (1e-3, 0.5)
        )
        assert not np.allclose(first.user_factors, second.user_factors, rtol=1e-3)
