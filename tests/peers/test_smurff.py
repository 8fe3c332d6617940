"""The adapter to SMURFF, and what its sampler does."""

import gc
import shutil
import tempfile
from typing import Any, ClassVar

import numpy as np
import pytest
from peer_suite import PeerSuite, example, needs

from backends.objective import mean_squared_error

needs("smurff")


class TestSmurff(PeerSuite):
    name = "smurff"
    params: ClassVar[dict[str, Any]] = {"noise_precision": 3.0}
    epochs = 40
    refuses_pairs = "smurff takes one rating of a pair"

    def library_predictions(
        self, solver: Any, session: Any, users: np.ndarray, items: np.ndarray
    ) -> np.ndarray:
        """The mean over its samples from ``burn_in`` on, of what each predicts."""
        from smurff.predict import PredictSession

        # The session locks its file.
        with tempfile.TemporaryDirectory() as folder:
            predicting = PredictSession(shutil.copy(session.path, folder))
            tables = predicting.predict((None, None), slice(solver.burn_in, None))
            predicting.h5_file.close()
        assert len(tables) == 3
        return np.mean(tables, axis=0)[users, items]

    def test_predicts_like_its_own_test_matrix(self) -> None:
        """Our predictions are what it averages for a test matrix."""
        import smurff
        from scipy.sparse import coo_matrix

        train, held_out = example()
        solver = self.make(burn_in=1, samples=20, dtype="float64")
        state = solver.prepare(train, solver.initial_parameters(train), seed=3)
        solver.step(state, 10)
        x = solver.parameters(state)

        mean = train.summary.mean
        session = smurff.TrainSession(
            priors=["normal", "normal"], num_latent=3, burnin=1, nsamples=9, num_threads=1,
            seed=4, verbose=0,
        )  # fmt: skip
        targets = (train.ratings - mean).astype(np.float32).astype(np.float64)
        matrices = (
            coo_matrix((values, (r.users, r.items)), shape=(40, 30))
            for r, values in ((train, targets), (held_out, held_out.ratings - mean))
        )
        session.addTrainAndTest(*matrices, noise=smurff.FixedNoise(3.0))
        session.init()
        while session.step():
            pass
        theirs = session.getTestPredictions()
        assert len(theirs) == len(held_out)
        users, items = (np.array([p.coords[axis] for p in theirs]) for axis in (0, 1))
        expected = mean + np.array([p.pred_avg for p in theirs])
        assert x.predict(users, items) == pytest.approx(expected, rel=1e-6)

    def test_mean_of_the_last_samples(self) -> None:
        train, _ = example()
        models = {n: self.fit(train, epochs=n, samples=4).model_.parameters for n in (3, 6, 8, 30)}
        assert {n: x.rank for n, x in models.items()} == {3: 3, 6: 3, 8: 9, 30: 12}
        one = self.fit(train, epochs=30, samples=1).model_.parameters
        errors = [mean_squared_error(x, train) for x in (models[30], one)]
        assert errors[0] < errors[1]

    def test_noise_precision_matters(self) -> None:
        train, _ = example()
        errors = [
            mean_squared_error(
                self.fit(train, epochs=40, noise_precision=precision).model_.parameters, train
            )
            for precision in (0.1, 10.0)
        ]
        assert errors[0] > 2 * errors[1]

    def test_deletes_its_folder(self) -> None:
        train, _ = example()
        solver = self.make()
        state = solver.prepare(train, solver.initial_parameters(train), seed=0)
        solver.step(state, 2)
        folder = state.session.path.parent
        assert folder.is_dir()
        del state
        gc.collect()
        assert not folder.exists()
