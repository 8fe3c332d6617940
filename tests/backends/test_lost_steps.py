"""Per-rating SGD with many ratings at a time: what is lost, and how many programs there are."""

import numpy as np
import pytest
from simulate_lost_steps import step, validation_errors

from backends.per_rating import ratings_per_program
from bench.gpu_check.data import held_out, skewed_ratings

pytest.importorskip("numba")  # the definition of the step is beside its kernels

from backends.kernels.sgd import Row, Shares, plain_step


def test_a_simulated_step_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(7, 3)).astype(np.float32)
    columns, shares = rng.uniform(0.1, 2, (7, 4)), rng.uniform(0.1, 2, (7, 2))
    rows = [Row(f.copy(), *c[:3].tolist()) for f, c in zip(factors, columns, strict=True)]
    rule, pairs = (0.1, 0.2, 0.3, 2.0), [(0, 4), (1, 5), (0, 6), (0, 4)]
    of = [Shares(*share) for share in shares.tolist()]
    for u, i in pairs:
        arrays = [np.array([number]) for number in (u, i, 1.7)]
        step(rule, factors, columns, shares, *arrays)
        rows[u], rows[i], _ = plain_step(rows[u], rows[i], of[u], of[i], 1.7, 1.0, (*rule, 1.0))
    assert np.abs(factors - [row.factors for row in rows]).max() < 1e-6
    assert np.abs(columns[:, :3] - [row[1:] for row in rows]).max() < 1e-6


def test_as_many_programs_as_there_are_lose_little_and_as_many_as_rows_lose_much() -> None:
    train, validation = held_out(skewed_ratings(40_000, 1000, 400), 4_000)

    def after_six_epochs(at_a_time: int) -> float:
        errors = validation_errors(train, validation, at_a_time)
        return [next(errors) for _ in range(6)][-1]

    few, allowed, many = (after_six_epochs(count) for count in (12, 400 // 8, 400))
    assert allowed < few * 1.005
    assert many > few * 1.02


@pytest.mark.parametrize(
    ("n", "n_users", "n_items", "programs"),
    [
        (99_072_112, 480_189, 17_770, 17_770 // 8),
        (1_014_000, 13_771, 4_333, 4_333 // 8),
        (10_000, 9_000, 8_000, 10_000 // 128),
        (100, 7, 7, 1),
    ],
)
def test_there_are_fewer_programs_than_rows(
    n: int, n_users: int, n_items: int, programs: int
) -> None:
    each = ratings_per_program(n, n_users, n_items)
    assert each * programs >= n > each * (programs - 2)
