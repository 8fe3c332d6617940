"""The adapter to Surprise, and what its ``SVD`` does."""

from typing import Any, ClassVar

import numpy as np
import pytest
from peer_suite import PeerSuite, check_stationary, example, needs

needs("surprise-svd")


class TestSurpriseSVD(PeerSuite):
    name = "surprise-svd"
    params: ClassVar[dict[str, Any]] = {"learning_rate": 0.02, "reg": 0.02}
    scale_params: ClassVar[dict[str, Any]] = {"learning_rate": 0.002}
    epochs = 60

    def library_predictions(
        self, solver: Any, session: Any, users: np.ndarray, items: np.ndarray
    ) -> np.ndarray:
        model = session.fitted["model"]
        model.trainset.ir = dict.fromkeys(items.tolist())  # which items it knows
        return np.array([model.estimate(u, i) for u, i in zip(users, items, strict=True)])

    def test_trains_as_on_a_public_data_set(self) -> None:
        """The usual way, by ``Reader`` and ``Dataset``, gives the same predictions."""
        import pandas as pd
        from surprise import SVD, Dataset, Reader

        train, held_out = example()
        order = np.lexsort((train.items, train.users))
        train = train.take(order)
        solver = self.make()
        columns = train.users, train.items, train.ratings.astype(np.float32)
        frame = pd.DataFrame(dict(zip(("user", "item", "rating"), columns, strict=True)))
        data = Dataset.load_from_df(frame, Reader(rating_scale=(1, 10))).build_full_trainset()
        rate, reg = solver.learning_rate, solver.reg
        rows = dict(zip(train.users.tolist(), range(len(train)), strict=True))
        assert len(rows) == data.n_users < train.n_users
        # Its rows are those of the ratings' order, so that its start is on other rows than ours.
        mse = []
        for seed in range(8):
            model = SVD(n_factors=3, n_epochs=40, lr_all=rate, reg_all=reg, random_state=seed).fit(
                data
            )
            ours = solver.fit(train, epochs=40, seed=seed).model_.parameters
            pairs = zip(held_out.users, held_out.items, held_out.ratings, strict=True)
            theirs = [model.predict(u, i, clip=False).est - r for u, i, r in pairs]
            mine = ours.predict(held_out.users, held_out.items) - held_out.ratings
            mse.append((np.mean(np.square(theirs)), np.mean(np.square(mine))))
        means, spread = np.mean(mse, axis=0), np.std(mse, axis=0).max() / np.sqrt(len(mse))
        assert abs(means[0] - means[1]) < 4 * spread

    def test_ids_of_another_type_would_predict_the_mean(self) -> None:
        """A trap of its ``predict`` that the adapter avoids: it looks up raw ids by their type."""
        import pandas as pd
        from surprise import SVD, Dataset, Reader

        train, _ = example()
        columns = train.users, train.items, train.ratings
        frame = pd.DataFrame(dict(zip(("user", "item", "rating"), columns, strict=True)))
        data = Dataset.load_from_df(frame, Reader(rating_scale=(1, 10))).build_full_trainset()
        model = SVD(n_factors=3, random_state=0).fit(data)
        assert model.predict("1", "1").est == pytest.approx(data.global_mean)
        assert model.predict(1, 1).est != pytest.approx(data.global_mean)

    @pytest.mark.parametrize(
        ("fit_to", "bias"), [("ratings", True), ("centred", True), ("ratings", False)]
    )
    def test_minimises(self, fit_to: str, bias: bool) -> None:
        train, _ = example()
        start, end = (
            self.fit(
                train,
                epochs=n,
                learning_rate=1e-3,
                reg=0.1,
                dtype="float64",
                fit_to=fit_to,
                bias=bias,
            )
            for n in (1, 3000)
        )
        objective = end.minimised(train)
        assert objective is not None
        assert np.linalg.norm(end.model_.parameters.user_factors) > 1
        for tables in (["user_factors", "item_factors"], ["user_bias", "item_bias"][: 2 * bias]):
            models = (solver.model_.parameters for solver in (start, end))
            check_stationary(objective, *models, train, *tables, tolerance=0.12)
