"""Every solver takes ratings on any scale with its defaults: no step length or accumulator has a hidden unit."""

import numpy as np
import pytest

from backends import Ratings, get_backend
from backends.testing import example_ratings

SOLVERS = ["numba-gd", "numba-sgd", "numpy", "numpy-als", "torch-cpu"]


def unexplained(name: str, scale: float) -> float:
    """Return the share of the mean square that is left, on the same problem in other units.

    Without biases the objective has a scale: factors grow with its root, reg with the scale itself.
    """
    train, _ = example_ratings()
    ratings = Ratings(train.users, train.items, train.ratings * scale, train.n_users, train.n_items)
    options = {"rank": 4, "reg": 0.1 * scale, "init_scale": 0.5 * scale**0.5, "bias": False}
    solver = get_backend(name, dtype="float64", n_jobs=1, **options).fit(ratings, epochs=150)
    assert solver.status_ == "epochs"
    return solver.history_[-1].train_mse / float(np.mean(np.square(ratings.ratings)))


@pytest.mark.parametrize("scale", [1e-3, 100.0, 4096.0])
@pytest.mark.parametrize("name", SOLVERS)
def test_a_fit_explains_as_much_on_any_scale(name: str, scale: float) -> None:
    assert unexplained(name, scale) == pytest.approx(unexplained(name, 1.0), rel=0.1)
