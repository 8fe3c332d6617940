"""What a reader of tutorials writes in PyTorch, checked."""

from typing import Any, ClassVar

import numpy as np
import pytest
from peer_suite import TABLES, PeerSuite, example, flat, needs, with_reg

from backends import Parameters

needs("pytorch-tutorial")


class PyTorchSuite(PeerSuite):
    params: ClassVar[dict[str, Any]] = {"learning_rate": 0.1, "batch_size": 192, "reg": 0.02}
    scale_params: ClassVar[dict[str, Any]] = {"learning_rate": 0.5}
    epochs = 40

    def library_predictions(
        self, solver: Any, session: Any, users: np.ndarray, items: np.ndarray
    ) -> np.ndarray:
        import torch

        with torch.no_grad():
            pairs = (torch.from_numpy(rows.astype(np.int64)) for rows in (users, items))
            return session.model(*pairs)[0].numpy()

    @pytest.mark.parametrize(
        ("fit_to", "bias"), [("ratings", True), ("centred", True), ("ratings", False)]
    )
    def test_minimises(self, fit_to: str, bias: bool) -> None:
        """Adam's first gradient, of all ratings at once, is that of the objective."""
        import torch

        train, _ = example()
        solver = self.make(reg=0.1, batch_size=len(train), bias=bias, fit_to=fit_to)
        state = solver.prepare(train, solver.initial_parameters(train), seed=0)
        model = state.session.model
        if bias:
            with torch.no_grad():
                model.user_bias.weight += 2.0
                model.item_bias.weight += 2.0
        before = solver.parameters(state)
        solver.step(state, 1)
        tables = {}
        for name in TABLES:
            weight = getattr(model, name).weight
            mean = state.session.optimizer.state[weight].get("exp_avg", torch.zeros_like(weight))
            tables[name] = (mean / (1 - 0.9)).numpy()
            if "bias" in name:
                tables[name] = tables[name][:, 0]
        found = Parameters(0.0, **tables)
        objective = solver.minimised(train)
        assert objective is not None

        def off(factor: float) -> float:
            expected = with_reg(objective, factor).gradient(before, train)
            return float(
                np.linalg.norm(flat(found) - flat(expected)) / np.linalg.norm(flat(expected))
            )

        assert off(1.0) < 1e-4
        assert min(off(0.5), off(2.0)) > 1e-2

    def test_number_of_threads(self) -> None:
        """So few ratings start no further threads; PyTorch itself says how many it would use."""
        import torch

        train, _ = example()
        before = torch.get_num_threads()
        seen: list[int] = []
        for n_jobs in (1, 3):
            self.fit(
                train,
                epochs=1,
                n_jobs=n_jobs,
                callback=lambda at: seen.append(torch.get_num_threads()),
            )
        assert seen == [1, 3]
        assert torch.get_num_threads() == before

    def test_batch_size(self) -> None:
        with pytest.raises(ValueError, match="batch_size"):
            self.make(batch_size=0)


class TestTutorial(PyTorchSuite):
    name = "pytorch-tutorial"


class TestSlices(PyTorchSuite):
    name = "pytorch-slices"
