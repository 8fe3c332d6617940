"""The adapter to Cornac, and what its ``MF`` does."""

from typing import Any, ClassVar

import numpy as np
import pytest
from peer_suite import PeerSuite, check_descent, example, needs

needs("cornac")


class TestCornac(PeerSuite):
    name = "cornac"
    params: ClassVar[dict[str, Any]] = {"learning_rate": 0.03, "reg": 0.01}
    scale_params: ClassVar[dict[str, Any]] = {"learning_rate": 0.003}
    epochs = 60

    def library_predictions(
        self, solver: Any, session: Any, users: np.ndarray, items: np.ndarray
    ) -> np.ndarray:
        """By a model that trains for no epoch."""
        from cornac.models import MF

        model = MF(
            k=solver.rank, use_bias=solver.bias, init_params=session.arrays, trainable=False
        ).fit(session.data)
        return np.array([model.score(u, i) for u, i in zip(users, items, strict=True)])

    @pytest.mark.parametrize("fit_to", ["ratings", "centred"])
    @pytest.mark.parametrize("bias", [True, False])
    def test_minimises(self, fit_to: str, bias: bool) -> None:
        if not bias and fit_to == "centred":
            return
        train, _ = example()
        rate = 1e-5
        solver = self.make(learning_rate=rate, reg=2.0, bias=bias, fit_to=fit_to, init_scale=1.0)
        state = solver.prepare(train, solver.initial_parameters(train), seed=0)
        if bias:
            for name in ("Bu", "Bi"):
                state.session.arrays[name] += np.float32(2.0)
        before = solver.parameters(state)
        solver.step(state, 1)
        objective = solver.minimised(train)
        assert objective is not None
        check_descent(objective, before, solver.parameters(state), train, rate)
