"""The published worked example: 13 ratings, plain momentum descent, known training errors."""

import numpy as np
import pytest

from backends import Parameters, Ratings, get_backend

USERS = [11, 11, 2, 2, 31, 31, 4, 4, 52, 52, 61, 7, 7]
ITEMS = [1, 23, 23, 4, 1, 23, 1, 3, 1, 3, 3, 23, 3]
RATINGS = [4, 5, 5, 3, 4, 4, 5, 2, 1, 4, 5, 1, 3]
TRAIN_MSE = {
    50: 1.7013643061883719,
    100: 0.9748705172056419,
    150: 0.6991455656925721,
    200: 0.5265621094145294,
}
EXACT = 1e-9

ENGINES = {
    "numpy": {},
    "numba-gd": {},
    "torch-cpu-gd": {"products": "sparse"},
    "torch-cpu-gd gather": {"products": "gather"},
}


def start() -> Parameters:
    """The generator is seeded anew before each of the two draws."""
    draws = []
    for n_rows in (7, 4):
        np.random.seed(3)  # noqa: NPY002  # the example's own generator
        draws.append(6 * np.random.random((n_rows, 3)) / 3)  # noqa: NPY002
    return Parameters(0.0, np.zeros(7), np.zeros(4), *draws)


@pytest.mark.parametrize("title", ENGINES)
def test_worked_example(title: str) -> None:
    name = title.split()[0]
    if name != "numpy":
        pytest.importorskip(name.split("-")[0])
    train = Ratings.from_arrays(USERS, ITEMS, RATINGS)
    assert (train.n_users, train.n_items) == (7, 4)
    solver = get_backend(
        name,
        preset="article",
        reg=0.0,
        learning_rate=0.01,
        dtype="float64",
        n_jobs=1,
        **ENGINES[title],
    ).fit(train, epochs=200, initial=start(), evaluate=True)
    found = {epoch: solver.history_[epoch - 1].train_mse for epoch in TRAIN_MSE}
    assert found == pytest.approx(TRAIN_MSE, abs=EXACT, rel=0)


def test_a_row_of_the_tables_belongs_to_the_id_that_appeared_then() -> None:
    train = Ratings.from_arrays(USERS, ITEMS, RATINGS)
    assert train.encoder is not None
    assert train.encoder.users.tolist() == [11, 2, 31, 4, 52, 61, 7]
    assert train.encoder.items.tolist() == [1, 23, 4, 3]
