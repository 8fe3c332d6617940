"""``python tests/simulate_verdicts.py``: how often verdicts are false on a machine that changes.

Duels and runs are simulated in which backends of known speed are timed while the machine's speed
drifts: as a random walk, in a step, or steadily. Each is timed twice, once with backends that take
turns in blocks within each seed, and once with one backend after the other, and goes through the
same statistics and the same verdict as a measurement. The false verdicts are those that find a
difference between equals.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
from fake_records import fake_record
from numpy.typing import NDArray

from bench.records import Round
from bench.report.outcome.cases import Case, Entry
from bench.report.outcome.verdict import answer
from bench.stats import ratio

Order = Literal["interleaved", "sequential"]
ORDERS: tuple[Order, ...] = ("interleaved", "sequential")
DRIFTS = ("none", "walk", "step", "slope")
DUEL_SEEDS, RUN_SEEDS, ROUNDS = 5, 3, 3
NOISE = 0.02  # standard deviation of the logarithm of a round's seconds
PROCESS = 0.01  # the same of a process, of which each seed of each contender has one
DRIFT = (0.1, 0.2)  # smallest and largest change of the machine's speed during a measurement
SLOWER = 1.05  # the difference that a duel is to find
# Seconds of the backends of a run: the two fastest are equal.
RUN = (1.0, 1.0, 1.3, 2.0, 3.0, 5.0, 8.0)
_CALIBRATION = 2.0  # the time of a calibration, in rounds
_STEPS = 1000  # of a random walk


class Shares(NamedTuple):
    """Shares of the simulations in which a verdict was reached.

    Attributes
    ----------
    equals
        A duel finds a difference between equals.
    slower
        A duel finds a difference of 5 %.
    fastest
        A run names one backend as the fastest although two are.
    any_of_equals
        A run of seven equals does not count all of them among the fastest.
    """

    equals: float
    slower: float
    fastest: float
    any_of_equals: float


def simulate(order: Order, drift: str, n: int, rng: np.random.Generator) -> Shares:
    """Simulate ``n`` measurements of each kind and return the shares of the verdicts."""

    def duel(slower: float) -> bool:
        seconds = (1.0, slower)
        first, second = measure(seconds, DUEL_SEEDS, order, drift, rng)
        return not ratio(second, first, paired=order == "interleaved").within_noise

    def fastest(seconds: Sequence[float]) -> int:
        return len(winners(measure(seconds, RUN_SEEDS, order, drift, rng), order))

    return Shares(
        float(np.mean([duel(1.0) for _ in range(n)])),
        float(np.mean([duel(SLOWER) for _ in range(n)])),
        float(np.mean([fastest(RUN) == 1 for _ in range(n)])),
        float(np.mean([fastest([1.0] * len(RUN)) < len(RUN) for _ in range(n)])),
    )


def measure(
    seconds: Sequence[float], n_seeds: int, order: Order, drift: str, rng: np.random.Generator
) -> list[list[Round]]:
    """Return the rounds of each contender, given its seconds on a machine that is at rest."""
    n = len(seconds)
    process = rng.normal(0, PROCESS, (n, n_seeds))
    moments = _in_turns(n, n_seeds, rng) if order == "interleaved" else _one_by_one(n, n_seeds)
    speed = _drift(drift, rng)
    logs = np.log(seconds)[:, None, None] + process[:, :, None] + speed[moments]
    logs += rng.normal(0, NOISE, logs.shape)
    return [
        [
            _round(number, seed, float(np.exp(logs[contender, seed, number])))
            for seed, number in product(range(n_seeds), range(ROUNDS))
        ]
        for contender in range(n)
    ]


def winners(measured: Sequence[list[Round]], order: Order) -> list[str]:
    """Return the backends that the report names as the fastest."""
    entries = [
        Entry({**_RECORD, "order": order, "rounds": rounds}, "", f"backend {place}")
        for place, rounds in enumerate(measured)
    ]
    ranked = sorted(entries, key=lambda entry: entry.median)
    return answer(Case("", "", ranked[0].record, ranked, [])).names


_RECORD = fake_record()


def _round(number: int, seed: int, seconds: float) -> Round:
    return {**_RECORD["rounds"][0], "round": number, "seed": seed, "seconds": seconds}


def _in_turns(n: int, n_seeds: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the moment of each round, by contender, seed and number, if contenders take turns."""
    turns = rng.permuted(np.tile(np.arange(n), (n_seeds, ROUNDS, 1)), axis=2)
    places = np.argsort(turns, axis=2).transpose(2, 0, 1).astype(float)
    seeds, blocks = np.arange(n_seeds)[None, :, None], np.arange(ROUNDS)[None, None, :]
    per_seed = n * (_CALIBRATION + ROUNDS)
    return _steps(seeds * per_seed + n * _CALIBRATION + blocks * n + places, n_seeds * per_seed)


def _one_by_one(n: int, n_seeds: int) -> NDArray[np.intp]:
    """Return the moments if each contender is measured on its own, and its seeds take turns."""
    contenders = np.arange(n)[:, None, None]
    seeds, blocks = np.arange(n_seeds)[None, :, None], np.arange(ROUNDS)[None, None, :]
    each = n_seeds * (_CALIBRATION + ROUNDS)
    started = contenders * each + n_seeds * _CALIBRATION
    return _steps(started + blocks * n_seeds + seeds, n * each)


def _steps(moments: NDArray[np.float64], end: float) -> NDArray[np.intp]:
    return (moments / end * _STEPS).astype(np.intp)


def _drift(kind: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the logarithm of the seconds that the machine takes, relative to the start."""
    size = rng.uniform(*DRIFT) * rng.choice([-1, 1])
    time = np.linspace(0, 1, _STEPS)
    shapes = {
        "none": np.zeros(_STEPS),
        "slope": time,
        "step": (time > rng.uniform(0.1, 0.9)).astype(float),
    }
    if kind == "walk":
        walk = np.cumsum(rng.normal(size=_STEPS))
        shapes["walk"] = walk / np.ptp(walk)
    return size * shapes[kind]


def main() -> None:
    """Print the shares of all orders and drifts."""
    parser = argparse.ArgumentParser(prog="python tests/simulate_verdicts.py", description=__doc__)
    parser.add_argument("--n", type=int, default=1000, help="of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("order        drift  equals differ  5 % found  one of two fastest  one of seven equals")
    for order, drift in product(ORDERS, DRIFTS):
        rng = np.random.default_rng([options.seed, ORDERS.index(order), DRIFTS.index(drift)])
        found = simulate(order, drift, options.n, rng)
        cells = [f"{100 * share:.1f} %" for share in found]
        print(
            f"{order:<12} {drift:<6} {cells[0]:>13}  {cells[1]:>9}  {cells[2]:>18}  {cells[3]:>19}"
        )


if __name__ == "__main__":
    main()
