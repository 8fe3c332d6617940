"""Published figures for the same data sets, compared with those measured here.

The figures are in ``published.csv``, each with the address of its source. Splits are described as
in the source; if it does not describe its split, the table says so, and nothing is guessed.
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
from bench.text.wording import DASH, mse, number, plural

from .table import Table

TWIN = "anime twin"  # the names of the synthetic twins in records begin like this
ORIGINAL = "anime"  # our name of the data set that the twins imitate

_LEDGER = Path(__file__).with_name("published.csv")

# Shares of ratings that differ by less count as equal: a few rows are left out of validation and
# test sets because their users or items are not in the training set.
_SHARE_TOLERANCE = 0.015
_FOLDS = re.compile(r"(\d+)-fold-\d+")
_HEADER = ["Method", "Program", "RMSE", "Factors", "Seconds", "Protocol", "Source", "MSE"]
_HEADER += ["Seconds of", "Hardware", "Year", "Note"]
_NUMERIC = frozenset({2, 3, 4, 7, 10})
_SHOWN = 7  # columns, unless more are asked for


class Published(NamedTuple):
    """One published figure.

    Attributes
    ----------
    dataset
        Our name of the data set.
    rank
        The number of factors: 0 for a method without factors, None if it is not stated.
    metric
        The mean of each user's RMSE ("rmse by user") cannot be converted to an MSE.
    value, spread
        As published, with all digits; the spread includes a word for what it is.
    split, our_split
        A description of the split, and our name of it; "" if we have none or it is not stated.
    held_out
        Share of the ratings in the test set; None if it is not stated.
    seconds, seconds_of
        A time, and a description of what was timed.
    hardware, year
        The hardware used for the time, and the year of the source; "" and None if not stated.
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
        """The figure as a mean squared error, by which the table is sorted."""
        return float(self.value) if self.metric == "mse" else float(self.value) ** 2


def published(dataset: str) -> list[Published]:
    """Return the figures of a data set, the smallest error first; [] if there are none."""
    figures = [figure for figure in _ledger() if figure.dataset == dataset]
    return sorted(figures, key=lambda figure: figure.square)


def published_table(case: Case) -> Table | None:
    """Return published and measured figures, sorted by MSE; None if nothing is published."""
    facts = case.facts["case"]
    twin = facts["dataset"].startswith(TWIN)
    figures = published(ORIGINAL if twin else facts["dataset"])
    if not figures:
        return None
    rows = [(figure.square, _published_row(figure, protocol(figure, facts))) for figure in figures]
    for entry in case.ranked:
        score = _score(entry)
        if score is not None:
            rows.append((score, _measured_row(case, entry, score)))
    subject = "the real data that this twin imitates" if twin else facts["dataset"]
    caption = (
        f"Published figures for {subject}, and those measured here, by MSE: the square of the RMSE "
        "if that was published. The seconds are not comparable: ours are to the matching "
        "validation MSE, theirs of whole trainings on other machines. Protocol states how a "
        "figure differs from this case. Predictions are not clipped to the rating scale here; "
        "without a note it is not known whether theirs are."
    )
    rows.sort(key=lambda row: row[0])
    more = frozenset(range(_SHOWN, len(_HEADER)))
    title = "Beside published figures"
    return Table(caption, _HEADER, [row for _, row in rows], _NUMERIC, more=more, title=title)


def protocol(figure: Published, facts: CaseFacts) -> str:
    """Return how a figure's protocol differs from a case's; "the same" if it is not known to."""
    if facts["dataset"].startswith(TWIN):
        return "real data, this is a synthetic twin"
    differences = [_split_difference(figure, facts["split"]), _share_difference(figure, facts)]
    if figure.metric == "rmse by user":
        differences.append("mean of each user's RMSE, here over all ratings")
    if figure.rank is None:
        differences.append("number of factors not stated")
    elif figure.rank and figure.rank != facts["rank"]:
        differences.append(f"{plural(figure.rank, 'factor')}, here {facts['rank']}")
    return "; ".join(filter(None, differences)) or "the same"


@cache
def _ledger() -> tuple[Published, ...]:
    with _LEDGER.open(encoding="utf-8", newline="") as file:
        return tuple(_read(row) for row in csv.DictReader(file, strict=True))


def _read(row: dict[str, str]) -> Published:
    """Return a row of the file with its numbers converted; empty cells are None."""
    numbers: dict[str, Any] = {
        "rank": int(row["rank"]) if row["rank"] not in ("", "none") else None,
        "held_out": float(row["held_out"]) if row["held_out"] else None,
        "seconds": float(row["seconds"]) if row["seconds"] else None,
        "year": int(row["year"]) if row["year"] else None,
    }
    if row["rank"] == "none":  # a method without factors
        numbers["rank"] = 0
    return Published(**{**row, **numbers})


def _split_difference(figure: Published, split: str) -> str:
    """Return how a figure's split differs from a case's, "" if it does not.

    Parameters
    ----------
    split
        The case's description: "random 80:10:10", "fold 1 of 5" or "official u1, ...".
    """
    if not figure.our_split:
        if figure.split == "not stated":
            return "split not stated"
        return f"another split: {figure.split}"
    folds = _FOLDS.fullmatch(figure.our_split)
    if folds and split.startswith("fold ") and split.endswith(f" of {folds[1]}"):
        return ""
    if (folds or figure.our_split == "random") and split.startswith(("random ", "fold ")):
        # Both draw rows at random. Whether the shares are the same is compared separately.
        return "" if figure.split.startswith("random") else figure.split
    name = split.removeprefix("official ").split(",")[0]
    return "" if name == figure.our_split else f"another split: {figure.split}"


def _share_difference(figure: Published, facts: CaseFacts) -> str:
    """Return how the shares of training and test ratings differ from a case's, "" if they do not.

    Published figures are trained on all ratings that are not in the test set; here some of these
    are the validation set.
    """
    if figure.held_out is None:
        unknown = figure.our_split or figure.split != "not stated"
        return "share held out not stated" if unknown else ""
    total = facts["n_train"] + facts["n_validation"] + facts["n_test"]
    trained = facts["n_train"] / total
    tested = (facts["n_test"] or facts["n_validation"]) / total
    theirs = f"trained on {_percent(1 - figure.held_out)}"
    if abs(figure.held_out - tested) >= _SHARE_TOLERANCE:
        ours = f"here {_percent(trained)} and {_percent(tested)}"
        return f"{theirs} and tested on {_percent(figure.held_out)}, {ours}"
    if abs(1 - figure.held_out - trained) < _SHARE_TOLERANCE:
        return ""
    return f"{theirs}, here {_percent(trained)}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _published_row(figure: Published, differences: str) -> list[str]:
    # A computed square or root has as many digits as the published figure, from 3 to 5.
    digits = min(max(_digits(figure.value), 3), 5)
    root = number(math.sqrt(figure.square), digits) if figure.metric == "mse" else figure.value
    seconds = DASH
    if figure.seconds is not None:
        published_digits = _digits(f"{figure.seconds:.6f}".rstrip("0"))
        seconds = number(figure.seconds, min(published_digits, 3))
    return [
        figure.method,
        figure.implementation,
        f"{root} ± {figure.spread}" if figure.spread else root,
        str(figure.rank) if figure.rank else DASH,
        seconds,
        differences,
        figure.source,
        DASH if figure.metric == "rmse by user" else number(figure.square, digits),
        figure.seconds_of or DASH,
        figure.hardware or DASH,
        str(figure.year or DASH),
        figure.note or DASH,
    ]


def _digits(text: str) -> int:
    """Return how many significant digits a number was published with."""
    return len(text.replace(".", "").lstrip("0"))


def _score(entry: Entry) -> float | None:
    """Return the test MSE, or the validation MSE of a case without a test set."""
    test = entry.score("test_mse")
    return entry.score("validation_mse") if test is None else test


def _measured_row(case: Case, entry: Entry, score: float) -> list[str]:
    subset = "validation" if entry.score("test_mse") is None else "test"
    backend, cpu = entry.record["backend"], case.facts["environment"].get("cpu")
    return [
        backend["algorithm"],
        f"{entry.name}, measured here",
        mse(math.sqrt(score)),
        str(case.facts["case"]["rank"]),
        number(entry.median),
        f"this case, {subset} set",
        "this report",
        mse(score),
        "training to the matching validation MSE",
        f"this machine: {cpu}" if cpu else "this machine",
        DASH,
        DASH,
    ]
