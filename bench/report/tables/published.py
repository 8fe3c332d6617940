"""What others published for these data sets, and how it compares with what was measured here.

The figures are in ``published.csv``, each with the address at which it can be read. A split is what its source says of
it: where that is nothing, the row says so, and nothing is guessed.
"""

from __future__ import annotations

import csv
import math
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bench.records import CaseFacts
from bench.report.outcome.cases import Case, Entry
from bench.text.wording import DASH, mse, number

from .table import Table

TWIN, ORIGINAL = "anime twin", "anime"  # how the twin's name in records begins, and the data set it is made after

_LEDGER = Path(__file__).with_name("published.csv")
_ALIKE = 0.015  # shares of the ratings that differ by less are the same: of few rows some are left out as unknown
_FOLDS = re.compile(r"(\d+)-fold-\d+")
_HEADER = ["Method", "Program", "MSE", "RMSE", "Rank", "Seconds", "Seconds of", "Hardware", "Year", "Protocol"]
_NUMERIC = frozenset({2, 3, 4, 5, 8})


class Published(NamedTuple):
    """One published figure.

    Attributes
    ----------
    dataset
        Our name of the data set.
    rank
        0 for a method without factors, None where it is not stated.
    metric
        Of "rmse by user", the mean of each user's RMSE, no MSE can be made.
    value, spread
        As published, with their digits; a spread says in words of what.
    split, our_split
        The split in words, and the name that it has here; "" where it has none or is not stated.
    held_out
        Share of the ratings that is tested on; None where it is not stated.
    seconds, seconds_of
        A time, and in words what was timed.
    hardware, year
        Of the time, and of the source; "" and None where they are not stated.
    """

    dataset: str
    method: str
    implementation: str
    rank: int | None
    metric: Literal["rmse", "mse", "rmse by user"]
    value: str
    spread: str
    split: str
    our_split: str
    held_out: float | None
    seconds: float | None
    seconds_of: str
    hardware: str
    year: int | None
    source: str
    note: str

    @property
    def square(self) -> float:
        """The figure as a mean squared error, by which figures are sorted."""
        return float(self.value) if self.metric == "mse" else float(self.value) ** 2


def published(dataset: str) -> list[Published]:
    """Return the figures of a data set, by our name of it, the smallest error first; [] where there are none."""
    return sorted((one for one in _ledger() if one.dataset == dataset), key=lambda one: one.square)


def published_table(case: Case) -> Table | None:
    """Return published figures and those measured on this case, by MSE; None where nothing is published."""
    facts = case.facts["case"]
    twin = facts["dataset"].startswith(TWIN)
    figures = published(ORIGINAL if twin else facts["dataset"])
    if not figures:
        return None
    rows = [(one.square, _published_row(one, protocol(one, facts))) for one in figures]
    rows += [
        (score, _measured_row(case, entry, score)) for entry in case.ranked if (score := _score(entry)) is not None
    ]
    subject = "the real data that this twin is made after" if twin else facts["dataset"]
    caption = (
        f"Published figures for {subject}, and those measured here, by MSE: the square of the RMSE where that was "
        "published. The seconds are not of the same thing: ours go to the matching validation MSE, theirs are of whole "
        "trainings on other machines. Protocol says in what a figure differs from this case. Predictions are not "
        "clipped to the scale here; where no note says so, it is not known whether theirs are."
    )
    return Table(
        caption, [*_HEADER, "Source", "Note"], [row for _, row in sorted(rows, key=lambda row: row[0])], _NUMERIC
    )


def protocol(one: Published, facts: CaseFacts) -> str:
    """Say in what a published figure's protocol differs from a case's: "the same" where in nothing that is known."""
    if facts["dataset"].startswith(TWIN):
        return "real data, this is a synthetic twin"
    differences = [_split_difference(one, facts["split"]), _share_difference(one, facts)]
    if one.metric == "rmse by user":
        differences.append("mean of each user's RMSE, here over all ratings")
    if one.rank is None:
        differences.append("rank not stated")
    elif one.rank and one.rank != facts["rank"]:
        differences.append(f"rank {one.rank}, here {facts['rank']}")
    return "; ".join(filter(None, differences)) or "the same"


@cache
def _ledger() -> tuple[Published, ...]:
    with _LEDGER.open(encoding="utf-8", newline="") as file:
        return tuple(_read(row) for row in csv.DictReader(file, strict=True))


def _read(row: dict[str, str]) -> Published:
    rank, held_out, seconds, year = (row[name] for name in ("rank", "held_out", "seconds", "year"))
    numbers: dict[str, Any] = {
        "rank": 0 if rank == "none" else int(rank) if rank else None,
        "held_out": float(held_out) if held_out else None,
        "seconds": float(seconds) if seconds else None,
        "year": int(year) if year else None,
    }
    return Published(**{**row, **numbers})


def _split_difference(one: Published, here: str) -> str:
    if not one.our_split:
        return "split not stated" if one.split == "not stated" else f"another split: {one.split}"
    folds = _FOLDS.fullmatch(one.our_split)
    if folds and here.startswith("fold ") and here.endswith(f" of {folds[1]}"):
        return ""
    if (folds or one.our_split == "random") and here.startswith(("random ", "fold ")):
        return "" if one.split.startswith("random") else one.split  # rows at random in both: their shares are compared
    named = here.removeprefix("official ").split(",")[0]
    return "" if named == one.our_split else f"another split: {one.split}"


def _share_difference(one: Published, facts: CaseFacts) -> str:
    """Compare shares: theirs train on all that they do not test on, while a part validates here."""
    if one.held_out is None:
        return "" if not one.our_split and one.split == "not stated" else "share held out not stated"
    total = facts["n_train"] + facts["n_validation"] + facts["n_test"]
    trained, tested = facts["n_train"] / total, (facts["n_test"] or facts["n_validation"]) / total
    theirs = f"trained on {_percent(1 - one.held_out)}"
    if abs(one.held_out - tested) >= _ALIKE:
        return f"{theirs} and tested on {_percent(one.held_out)}, here {_percent(trained)} and {_percent(tested)}"
    return "" if abs(1 - one.held_out - trained) < _ALIKE else f"{theirs}, here {_percent(trained)}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _published_row(one: Published, differs: str) -> list[str]:
    digits = min(max(_digits(one.value), 3), 5)
    root = number(math.sqrt(one.square), digits) if one.metric == "mse" else one.value
    seconds = DASH if one.seconds is None else number(one.seconds, min(_digits(f"{one.seconds:.6f}".rstrip("0")), 3))
    return [
        one.method,
        one.implementation,
        DASH if one.metric == "rmse by user" else number(one.square, digits),
        f"{root} ± {one.spread}" if one.spread else root,
        str(one.rank) if one.rank else DASH,
        seconds,
        one.seconds_of or DASH,
        one.hardware or DASH,
        str(one.year or DASH),
        differs,
        one.source,
        one.note or DASH,
    ]


def _digits(text: str) -> int:
    """Count the digits that a number was published with, of which no more are shown."""
    return len(text.replace(".", "").lstrip("0"))


def _score(entry: Entry) -> float | None:
    test = entry.score("test_mse")
    return entry.score("validation_mse") if test is None else test


def _measured_row(case: Case, entry: Entry, score: float) -> list[str]:
    part = "validation" if entry.score("test_mse") is None else "test"
    backend, cpu = entry.record["backend"], case.facts["environment"].get("cpu")
    return [
        backend["algorithm"],
        f"{entry.name}, measured here",
        mse(score),
        mse(math.sqrt(score)),
        str(case.facts["case"]["rank"]),
        number(entry.median),
        "training to the matching validation MSE",
        f"this machine: {cpu}" if cpu else "this machine",
        DASH,
        f"this case, {part} part",
        "this report",
        DASH,
    ]
