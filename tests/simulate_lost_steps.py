"""``python tests/simulate_lost_steps.py``: what per-rating SGD loses by visiting many at a time.

Ratings that a device visits at the same time are simulated as a batch: all read the rows as they
were before, and of several that write one row, one step remains. That is what `torch-cuda-sgd` does
with its programs, and why it has fewer of them than rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import cast

import numpy as np

from backends import Parameters, Ratings, get_backend, mean_squared_error
from backends.objective import rating_unit
from backends.per_rating import PerRatingSGD, fill_columns, fill_shares
from bench.cases.targets import MATCHING
from bench.gpu_check.data import held_out, skewed_ratings

SIZE = (1_014_000, 13_771, 4_333)  # ratings, users and items, as in the anime data
RANK = 16


def validation_errors(train: Ratings, validation: Ratings, at_a_time: int) -> Iterator[float]:
    """Yield the validation MSE after each epoch with so many ratings at a time."""
    solver = cast("PerRatingSGD", get_backend("numba-sgd", rank=RANK))
    initial = solver.initial_parameters(train, seed=0)
    unit, n_users = rating_unit(train, initial.mean), train.n_users
    start, n_rows = initial.in_units(unit), train.n_users + train.n_items
    columns, shares = np.empty((n_rows, 4), np.float32), np.empty((n_rows, 2), np.float32)
    weights = train.user_weights(), train.item_weights()
    penalties = solver.objective.penalties_of(train, *weights)
    places = slice(n_users), slice(n_users, None)
    biases = start.user_bias, start.item_bias
    for place, bias, rows, weight in zip(places, biases, penalties, weights, strict=True):
        fill_columns(columns[place], bias)
        fill_shares(shares[place], rows, weight, unit)
    factors = np.concatenate([start.user_factors, start.item_factors])
    order = np.random.default_rng(0).permutation(len(train))
    users, items = train.users[order], train.items[order] + n_users
    targets = ((train.ratings[order] - initial.mean) / unit).astype(np.float32)
    while True:
        for first in range(0, len(train), at_a_time):
            batch = slice(first, first + at_a_time)
            step(solver.rule, factors, columns, shares, users[batch], items[batch], targets[batch])
        tables = columns[:n_users, 0], columns[n_users:, 0], factors[:n_users], factors[n_users:]
        model = Parameters(initial.mean, *tables).from_units(unit)
        yield mean_squared_error(model, validation)


def step(
    rule: tuple[float, float, float, float],
    factors: np.ndarray,
    columns: np.ndarray,
    shares: np.ndarray,
    users: np.ndarray,
    items: np.ndarray,
    targets: np.ndarray,
) -> None:
    """Take the steps of some ratings at the same time; see `kernels.sgd.plain_step`."""
    rate, bias_rate, accumulated_share, max_error = map(np.float32, rule)
    # Copies, of which an assignment below writes the last one of each row.
    p, q, of_users, of_items = factors[users], factors[items], columns[users], columns[items]
    error = targets - np.einsum("nk,nk->n", p, q) - of_users[:, 0] - of_items[:, 0]
    error = np.clip(error, -max_error, max_error)
    square = error * error
    for rows, own, opposite, old in ((users, p, q, of_users), (items, q, p, of_items)):
        bias, sums, bias_sums, _ = old.T
        speed, bias_speed = rate / np.sqrt(sums), bias_rate / np.sqrt(bias_sums)
        stepped = own + (speed * error)[:, None] * opposite
        factors[rows] = stepped / (1 + speed * shares[rows, 0])[:, None]
        new = old.copy()
        new[:, 0] = (bias + bias_speed * error) / (1 + bias_speed * shares[rows, 1])
        norms = np.einsum("nk,nk->n", opposite, opposite)
        new[:, 1] = sums + accumulated_share * square * norms
        new[:, 2] = bias_sums + square
        columns[rows] = new


def epochs_to(
    target: float, train: Ratings, validation: Ratings, at_a_time: int, most: int
) -> int | None:
    """Return after how many epochs the validation MSE is at most ``target``, None for never."""
    errors = validation_errors(train, validation, at_a_time)
    for epoch, error in zip(range(1, most + 1), errors, strict=False):
        if error <= target:
            return epoch
    return None


def main() -> None:
    """Print a table: how many ratings at a time, rows of the smaller side for each, epochs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=SIZE, metavar=("N", "USERS", "ITEMS"))
    parser.add_argument("--epochs", type=int, default=40, help="at most (default: %(default)s)")
    options = parser.parse_args()
    ratings = skewed_ratings(*options.size)
    train, validation = held_out(ratings, min(len(ratings) // 10, 100_000))
    als = get_backend("numba-als", rank=RANK).fit(train, epochs=20)
    target = MATCHING * mean_squared_error(als.model_.parameters, validation)
    rows = min(options.size[1:])
    print(f"{len(train):,} ratings, target {target:.4f}\nat a time  rows each  epochs", flush=True)
    for each in (128, 32, 16, 8, 4, 2, 1):
        epochs = epochs_to(target, train, validation, max(rows // each, 1), options.epochs)
        said = f"over {options.epochs}" if epochs is None else str(epochs)
        print(f"{rows // each:9,}  {each:9}  {said}", flush=True)


if __name__ == "__main__":
    main()
