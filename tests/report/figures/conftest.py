"""Made-up cases with all their figures, and names that would do harm."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
import vl_convert
from fake_records import fake_gpu_check, fake_record, fake_roofline

from bench.records import Record
from bench.report.figures import Figure, Look, make_figures, styles
from bench.report.figures.kind import Over
from bench.report.outcome.cases import Case, group_cases
from bench.report.outcome.rooflines import Roofline, group_rooflines

HOSTILE = [
    "<script>alert(1)</script>",
    "$x^2$",
    "_hidden",
    "a" * 300,
    "推荐系统",
    "two\nlines",
    "q\"uo'te\\,",
    "</svg><!--",
    "${datum.x}",
]
OURS = ["numpy", "numpy-als", "numba-sgd", "numba-gd", "torch-cpu", "torch-cuda"]
FIGURES = {
    "uses",
    "convergence_seconds",
    "convergence_epochs",
    "seconds",
    "pareto",
    "memory",
    "memory_device",
}
CONTRAST = 3.0


def seeded(record: Record, seeds: int = 3) -> Record:
    """Return the record as of several seeds, each at its own pace, timed to a second target."""
    draw = random.Random(f"{record['backend']['name']} {record['case']['name']}")
    made = copy.deepcopy(record)
    made["seeds"] = list(range(seeds))
    paces = [draw.uniform(0.9, 1.15) for _ in made["seeds"]]
    made["rounds"] = [
        {**row, "seed": seed, "seconds": row["seconds"] * pace}
        for seed, pace in enumerate(paces)
        for row in record["rounds"]
    ]
    made["rungs"] = [
        {
            **row,
            "factor": 1.05,
            "seconds": row["seconds"] / 2,
            "validation_mse": 0.88,
            "matched": True,
        }
        for row in made["rounds"]
    ]
    made["calibrations"] = [
        {**calibration, "seed": seed}
        for seed in made["seeds"]
        for calibration in record["calibrations"]
    ]
    return made


def on_threads(record: Record, threads: int) -> Record:
    record["backend"]["threads"] = threads
    return record


def with_device(record: Record) -> Record:
    assert record["memory"] is not None
    record["memory"]["device_mb"] = 812.0
    return record


def one_case(names: list[str], **case: Any) -> list[Record]:
    """Return records of a case: one that matched for each name, and one for each way to fail."""
    matched = [
        seeded(fake_record(name, seconds=0.05 * 1.5**at, case=case))
        for at, name in enumerate(names)
    ]
    with_device(matched[0])
    lost: list[Any] = ["timed out", "missed", "diverged", "unavailable"]
    return matched + [fake_record(f"lost-{status[:3]}", status, case=case) for status in lost]


@pytest.fixture(scope="module")
def case() -> Case:
    (made,) = group_cases(one_case(OURS + HOSTILE))
    return made


@pytest.fixture(scope="module")
def sweep() -> Case:
    records = [
        on_threads(seeded(fake_record(name, seconds=4.0 / threads**0.8)), threads)
        for name in ("numba-gd", "numba-sgd")
        for threads in (1, 2, 4)
    ]
    (made,) = group_cases([*records, fake_record("numpy", seconds=9.0)])
    return made


@pytest.fixture(scope="module")
def sizes() -> list[Case]:
    large = {"name": "large", "dataset": "ml-100k x2", "n_train": 160_000}
    return group_cases(
        [*one_case(OURS[:3]), *[fake_record(name, seconds=3.0, case=large) for name in OURS[:3]]]
    )


@pytest.fixture(scope="module")
def figures(case: Case, sweep: Case, sizes: list[Case]) -> list[Figure]:
    roofline, *_ = group_rooflines(
        [fake_roofline("numba-sgd"), fake_roofline("numpy"), fake_roofline(HOSTILE[0])]
    )
    of_cases = [*case_figures(case), *case_figures(sweep), *overall_figures(sizes)]
    return [*of_cases, *roofline_figures(roofline), *figures_of("GPU check", fake_gpu_check())]


def figures_of(over: Over, subject: object) -> list[Figure]:
    return [figure for _, figure in make_figures(over, subject)]


def case_figures(case: Case) -> list[Figure]:
    return figures_of("case", case)


def overall_figures(cases: list[Case]) -> list[Figure]:
    return figures_of("cases", cases)


def roofline_figures(roofline: Roofline) -> list[Figure]:
    return figures_of("roofline", roofline)


def looks_of(figures: list[Figure], texts: dict[str, str] | None = None) -> dict[str, Look]:
    """Return the look of each backend in the figures, where looks are known by name."""
    return styles(
        {name: (texts or {}).get(name, "") for figure in figures for name in figure.backends()}
    )


def named(figures: list[Figure], stem: str) -> Figure:
    return next(figure for figure in figures if figure.stem == stem)


def to_svg(spec: dict[str, Any]) -> ElementTree.Element:
    """Render a specification as a browser would, and parse the picture."""
    return ElementTree.fromstring(vl_convert.vegalite_to_svg(json.dumps(spec)))


def texts(picture: ElementTree.Element) -> list[str]:
    return [node.text or "" for node in picture.iter() if node.tag.endswith("text")]


def strings(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield all strings inside a value, with the keys that lead to them."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from strings(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from strings(inner, path)
    elif isinstance(value, str):
        yield path, value
