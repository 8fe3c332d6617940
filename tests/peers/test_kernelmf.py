"""The adapter to KernelMF, and what it does."""

from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from peer_suite import PeerSuite, check_descent, example, needs

needs("kernelmf")


class TestKernelMF(PeerSuite):
    name = "kernelmf"
    params: ClassVar[dict[str, Any]] = {"learning_rate": 0.02, "reg": 0.02}
    scale_params: ClassVar[dict[str, Any]] = {"learning_rate": 0.002}
    epochs = 60

    def library_predictions(
        self, solver: Any, session: Any, users: np.ndarray, items: np.ndarray
    ) -> np.ndarray:
        """By its public class, whose attributes these arrays are."""
        from matrix_factorization import KernelMF

        model = KernelMF(n_factors=solver.rank, verbose=0)
        model.global_mean = session.mean
        for name, array in session.arrays.items():
            setattr(model, name, array)
        for side in ("user", "item"):
            n = len(session.arrays[f"{side}_biases"])
            setattr(model, f"{side}_id_map", dict(zip(range(n), range(n), strict=True)))
        pairs = pd.DataFrame({"user_id": users.astype(int), "item_id": items.astype(int)})
        return np.array(model.predict(pairs, bound_ratings=False))

    def test_trains_as_the_public_class_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """``fit`` of KernelMF from the same start and seed gives the same model, to the bit."""
        import numba
        from matrix_factorization import KernelMF

        train, _ = example()
        solver = self.make()
        frame = pd.DataFrame({"user_id": train.users, "item_id": train.items}).astype(int)
        model = KernelMF(
            n_factors=solver.rank, n_epochs=3, reg=solver.reg, lr=solver.learning_rate, verbose=0
        )

        def seed_numba(number: int) -> None:
            np.random.seed(number)  # noqa: NPY002  # what the library shuffles by

        numba.njit(seed_numba)(5)
        # It shuffles the rows once more by pandas.
        monkeypatch.setattr(pd.DataFrame, "sample", lambda frame, **options: frame)
        np.random.seed(1)  # noqa: NPY002  # what it draws the start from
        model.fit(frame, pd.Series(train.ratings.astype(np.float32)))
        np.random.seed(1)  # noqa: NPY002
        drawn = [
            np.random.normal(0, 0.1, (n, solver.rank))  # noqa: NPY002
            for n in (len(model.user_id_map), len(model.item_id_map))
        ]

        initial = solver.initial_parameters(train).astype(np.float64)
        for table, ids, start in (
            (initial.user_factors, model.user_id_map, drawn[0]),
            (initial.item_factors, model.item_id_map, drawn[1]),
        ):
            table[list(ids)] = start[list(ids.values())]
        state = solver.prepare(train, initial, seed=5)
        solver.step(state, 3)
        arrays = state.session.arrays
        for side in ("user", "item"):
            ids, rows = zip(*getattr(model, f"{side}_id_map").items(), strict=True)
            for name in (f"{side}_features", f"{side}_biases"):
                theirs = getattr(model, name)[list(rows)]
                assert arrays[name][list(ids)] == pytest.approx(theirs, rel=1e-5, abs=1e-6)

    @pytest.mark.parametrize("fit_to", ["ratings", "centred"])
    def test_minimises(self, fit_to: str) -> None:
        train, _ = example()
        rate = 1e-5
        solver = self.make(
            learning_rate=rate, reg=2.0, fit_to=fit_to, init_scale=1.0, dtype="float64"
        )
        state = solver.prepare(train, solver.initial_parameters(train), seed=0)
        for name in ("user_biases", "item_biases"):
            state.session.arrays[name] += 2.0
        before = solver.parameters(state)
        solver.step(state, 1)
        objective = solver.minimised(train)
        assert objective is not None
        check_descent(objective, before, solver.parameters(state), train, rate)
