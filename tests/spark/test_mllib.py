"""`spark-als`: MLlib's ALS minimises what its adapter says, of ratings or of residuals."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from backends import Ratings, RatingsError, get_backend
from backends.spark.mllib import MLlibALS
from tests.peers.peer_suite import PeerSuite, check_stationary, example


class TestMLlib(PeerSuite):
    name = "spark-als"
    params: ClassVar[dict[str, Any]] = {"reg": 0.02, "n_jobs": 2}
    epochs = 12
    tolerance = 1e-5

    def library_predictions(
        self, solver: Any, session: Any, users: np.ndarray, items: np.ndarray
    ) -> np.ndarray:
        pairs = pa.table({"user": users, "item": items, "place": np.arange(len(users))})
        found = session.model.transform(session.spark.createDataFrame(pairs)).toArrow()
        return found.sort_by("place")["prediction"].to_numpy()

    def test_minimises(self) -> None:
        train, _ = example()
        # With less reg it takes hundreds of epochs to get there.
        start, end = (self.fit(train, epochs=n, fit_to="ratings", reg=0.2) for n in (1, 60))
        objective = end.minimised(train)
        assert objective is not None
        models = (solver.model_.parameters for solver in (start, end))
        check_stationary(objective, *models, train, "user_factors", "item_factors")

    def test_number_of_threads(self) -> None:
        """They are Java's and its children's, and as many as the master allows."""
        pytest.skip("a local master runs n_jobs tasks at once; the JVM has threads of its own")

    def test_several_threads(self) -> None:  # type: ignore[override]
        """The running session has two; it keeps them."""
        pytest.skip("a session has as many as it was started with")


@pytest.mark.parametrize("fit_to", ["ratings", "centred", "residuals"])
def test_a_parquet_file_gives_the_model_of_its_ratings(tmp_path: Path, fit_to: Any) -> None:
    """The damped biases are computed on the cluster."""
    train, _ = example()
    frame = pd.DataFrame(
        {"user": 5 * train.users, "item": 3 * train.items, "rating": train.ratings}
    )
    frame.to_parquet(tmp_path / "ratings.parquet")
    params = {"rank": 3, "n_jobs": 2, "reg": 0.05, "fit_to": fit_to}
    found = get_backend("spark-als", **params).fit(tmp_path / "ratings.parquet", epochs=8)
    here = Ratings.from_frame(frame).canonical()
    expected = get_backend("spark-als", **params).fit(here, epochs=8)
    a, b = found.model_.parameters, expected.model_.parameters
    assert a.mean == pytest.approx(b.mean)
    assert a.user_bias == pytest.approx(b.user_bias, abs=1e-5)
    assert a.item_bias == pytest.approx(b.item_bias, abs=1e-5)
    ids = here.encoder.users[here.users], here.encoder.items[here.items]
    assert found.predict(*ids) == pytest.approx(expected.predict(*ids), abs=0.02)


def test_a_model_that_stays_on_the_cluster_predicts_as_one_that_does_not(tmp_path: Path) -> None:
    train, _ = example()
    frame = pd.DataFrame(
        {
            "user": 5 * train.users,
            "item": [f"i{row}" for row in train.items],
            "rating": train.ratings,
        }
    )
    frame.to_parquet(tmp_path / "ratings.parquet")
    solver = get_backend("spark-als", rank=3, n_jobs=2, reg=0.05)
    assert isinstance(solver, MLlibALS)
    solver.fit_to_folder(tmp_path / "ratings.parquet", tmp_path / "model", epochs=4)
    users, items, summary = (
        pd.read_parquet(tmp_path / "model" / name) for name in ("users", "items", "summary")
    )
    joined = frame.merge(users, on="user").merge(items, on="item")
    assert len(joined) == len(frame)
    dots = [p @ q for p, q in zip(joined["factors_x"], joined["factors_y"], strict=True)]
    found = summary["mean"][0] + joined["bias_x"] + joined["bias_y"] + dots
    model = solver.fit(tmp_path / "ratings.parquet", epochs=4).model_
    expected = model.predict(joined["user"].to_numpy(), joined["item"].tolist())
    assert found.to_numpy() == pytest.approx(expected, abs=0.02)
    with pytest.raises(ValueError, match="must not hold users yet"):
        solver.fit_to_folder(tmp_path / "ratings.parquet", tmp_path / "model", epochs=1)


def test_what_mllib_does_not_take(tmp_path: Path) -> None:
    train, _ = example()
    with pytest.raises(ValueError, match="must name no weight"):
        columns = {"user": "user", "item": "item", "rating": "rating", "weight": "w"}
        get_backend("spark-als", columns=columns)
    frame = pd.DataFrame({"user": train.users, "item": train.items, "rating": train.ratings})
    pd.concat([frame, frame[:2]]).to_parquet(tmp_path / "ratings.parquet")
    for fit_to in ("ratings", "residuals"):
        solver = get_backend("spark-als", rank=3, n_jobs=2, fit_to=fit_to)
        with pytest.raises(RatingsError, match="2 ratings are of a pair"):
            solver.fit(tmp_path / "ratings.parquet", epochs=1)
