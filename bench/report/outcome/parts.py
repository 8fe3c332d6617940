"""Where a speed-up comes from: its split into a factor of the engine and one of the algorithm."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from bench.records import Record, Round
from bench.stats import Ratio

from .cases import Case, Entry, ratio


class Parts(NamedTuple):
    """A speed-up as the product of two factors.

    Attributes
    ----------
    entry
        The backend.
    total
        Its speed-up relative to the yardstick.
    between
        The backend of the same engine with the yardstick's algorithm: the first factor is its
        speed-up relative to the yardstick, the second that relative to it. None if there is no
        such backend; the first factor is then that of the seconds per epoch, the second that of the
        number of epochs.
    by
        What the two factors are due to: "the engine" and "the algorithm".
    epochs
        How many epochs it takes, and how many those with the yardstick's algorithm take: "4 to 5
        epochs instead of 41"; "" if both take the same number.
    """

    entry: Entry
    total: Ratio
    first: Ratio
    second: Ratio
    between: Entry | None
    by: tuple[str, str]
    epochs: str

    @property
    def unclear(self) -> list[str]:
        """What no difference can be detected by."""
        factors = zip((self.first, self.second), self.by, strict=True)
        return [by for factor, by in factors if not is_clear(factor)]


def parts_of(case: Case, entry: Entry) -> Parts | None:
    """Return the parts of a ranked backend's speed-up.

    None if its algorithm is that of the yardstick, if its number of threads is not, or if the
    numbers of epochs are unknown.
    """
    base = case.yardstick
    if base is None or _has_algorithm(entry, base) or _threads(entry) != _threads(base):
        return None
    if not all(_known_epochs(each) for each in (entry, base)):
        return None
    total = case.speedups[entry.name]
    others = [base, *case.ranked]
    between = next((other for other in others if _is_between(other, entry, base)), None)
    epochs = _epochs_text(entry.epochs, (between or base).epochs)
    if between:
        first, second = ratio(base, between), ratio(between, entry)
        by = _engine_and_device(between, base), "the algorithm"
    else:
        first = ratio(_changed(base, _seconds_per_epoch), _changed(entry, _seconds_per_epoch))
        second = ratio(_changed(base, _epochs), _changed(entry, _epochs))
        by = "the seconds per epoch", "the number of epochs"
    return Parts(entry, total, first, second, between, by, epochs)


def all_parts(case: Case) -> list[Parts]:
    """Return the parts of all speed-ups that can be split, fastest backend first."""
    return [parts for entry in case.ranked if (parts := parts_of(case, entry))]


def is_clear(factor: Ratio) -> bool:
    """Whether a factor is known to differ from 1."""
    return factor.interval is not None and not factor.within_noise


def _is_between(other: Entry, entry: Entry, base: Entry) -> bool:
    """Whether ``other`` has the engine of ``entry`` and does what ``base`` does."""
    facts, own = other.record["backend"], entry.record["backend"]
    return (
        _engine(facts["name"]) == _engine(own["name"])
        and (facts["device"], facts["threads"]) == (own["device"], own["threads"])
        and facts["params"] == base.record["backend"]["params"]
        and _has_algorithm(other, base)
        and _known_epochs(other)
    )


def _engine(name: str) -> str:
    """Return what the names of backends of one engine begin with: "numba" of "numba-sgd"."""
    return re.split(r"[-: ]", name, maxsplit=1)[0]


def _engine_and_device(entry: Entry, base: Entry) -> str:
    """Return which of the two differ between backends with the same algorithm."""
    facts, other = entry.record["backend"], base.record["backend"]
    if facts["device"] == other["device"]:
        return "the engine"
    same = _engine(facts["name"]) == _engine(other["name"])
    return "the device" if same else "the engine and the device"


def _has_algorithm(entry: Entry, base: Entry) -> bool:
    """Whether two backends have the same algorithm.

    Its description may continue with an alternative: "momentum gradient descent (or Adam)".
    """
    own, other = (each.record["backend"]["algorithm"].partition(" (")[0] for each in (entry, base))
    return own == other


def _threads(entry: Entry) -> int:
    return entry.record["backend"]["threads"]


def _known_epochs(entry: Entry) -> bool:
    """Whether every seed that was timed has a number of epochs."""
    return {round_["seed"] for round_ in entry.record["rounds"]} <= _epochs_by_seed(entry).keys()


def _epochs_by_seed(entry: Entry) -> dict[int, int]:
    return {
        calibration["seed"]: calibration["epochs"]
        for calibration in entry.record["calibrations"]
        if calibration["epochs"]
    }


def _seconds_per_epoch(round_: Round, epochs: int) -> float:
    return round_["seconds"] / epochs


def _epochs(_: Round, epochs: int) -> float:
    return float(epochs)


def _changed(entry: Entry, value: Callable[[Round, int], float]) -> Entry:
    """Return an entry whose rounds have other values in the place of seconds.

    `ratio` takes entries with rounds, and compares their seconds.
    """
    epochs = _epochs_by_seed(entry)
    rounds = [
        Round({**round_, "seconds": value(round_, epochs[round_["seed"]])})
        for round_ in entry.record["rounds"]
    ]
    return replace(entry, record=Record({**entry.record, "rounds": rounds}))


def _epochs_text(own: list[int], others: list[int]) -> str:
    count, instead = _extent(own), _extent(others)
    if count == instead:
        return ""
    return f"{count} {'epoch' if count == '1' else 'epochs'} instead of {instead}"


def _extent(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
