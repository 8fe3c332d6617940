"""The tables and texts of a check of a GPU: is it right, how fast is it, how near its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bench.records import GPUCheck
from bench.report.figures import Look
from bench.text.wording import DASH, number, one_line, plural, words

from .table import Table

HEADING = "Check of a GPU"
METHOD = (
    "Right: after 12 epochs (ALS: 3) with every kind of products, precision and weights, no "
    "parameter differs from the CPU's by more than a limit, relative to the largest of its kind. "
    "The gradient in Triton is compared with sums in float64 on the device; the training MSE of "
    "per-rating SGD must fall.",
    "To the target: on synthetic ratings with biases and factors to learn, 1.01 times the "
    "validation MSE at which alternating least squares ends on the same device. Seconds are those "
    "of preparing (copying the ratings to the device and ordering them there) and of all epochs, "
    "waited for one by one, of one fit; evaluation is not in them. Each backend has its defaults "
    "and 16 factors.",
    "Times are medians by the device's own clock, after calls that were not timed; preparing is "
    "timed once, by the host's. GB/s are those of all rows and ratings that are read and written, "
    "from memory or from the cache: of rows in the cache they can exceed the bandwidth. That is "
    "measured by adding up or copying a gigabyte, whichever is faster.",
)


class GPUSection(NamedTuple):
    """All that the page shows of one check."""

    check: GPUCheck
    heading: str
    sentence: str
    facts: list[tuple[str, str]]
    tables: list[Table]
    stem: str
    method: tuple[str, ...]


def make_gpu_section(check: GPUCheck, looks: Mapping[str, Look], place: int = 0) -> GPUSection:
    """Return what the page shows of a check; ``place`` counts several from 1."""
    return GPUSection(
        check=check,
        heading=f"{HEADING}: {_device(check)}",
        sentence=sentence(check),
        facts=_facts(check),
        tables=[
            table
            for table in (_fits(check, looks), _timings(check), _comparisons(check))
            if table.rows
        ],
        stem=f"gpu-check-{place}" if place else "gpu-check",
        method=METHOD,
    )


def sentence(check: GPUCheck) -> str:
    """Return on one line whether all is right, and the fastest fit of the most ratings."""
    count = plural(len(check["comparisons"]), "comparison")
    if check["status"] == "right" and not check["comparisons"]:
        line = f"{_device(check)}: nothing was compared"
    elif check["status"] == "right":
        line = f"{_device(check)}: all that ran is right ({count})"
    elif check["status"] == "cut off":
        line = f"{_device(check)}: {check['reason']} after {count}"
    else:
        line = f"{_device(check)}: {check['reason']}"
    reached = [fit for fit in check["fits"] if fit["reached"]]
    if reached:
        best = max(reached, key=lambda fit: (fit["n"], -fit["seconds"]))
        line += f"; {best['backend']} reaches the target of {best['n']:,} ratings in "
        line += f"{number(best['seconds'])} s"
    if check["skipped"]:
        line += f"; {len(check['skipped'])} skipped"
    return one_line(f"{line.rstrip('.')}.")


def _device(check: GPUCheck) -> str:
    return f"{check['device']}, a test of the check itself" if check["smoke"] else check["device"]


def _facts(check: GPUCheck) -> list[tuple[str, str]]:
    rows = [("Device", _device(check))]
    for limits in check["limits"]:
        bandwidth, rate = limits["memory_gb_per_s"], limits["gflop_per_s"]
        rows += [
            ("Memory bandwidth", f"{number(bandwidth)} GB/s"),
            ("Arithmetic", f"{number(rate)} GFLOP/s in float32"),
            ("Last-level cache", f"{number(check['cache_mb'])} MB"),
        ]
    rows += [("Wrong", words(check["wrong"])), ("Skipped", "; ".join(check["skipped"]))]
    return [(name, text) for name, text in rows if text]


def _fits(check: GPUCheck, looks: Mapping[str, Look]) -> Table:
    header = ["Backend", "Ratings", "Factors", "Seconds", "of them preparing", "Epochs"]
    header += ["Validation MSE", "Target"]
    rows = []
    for fit in check["fits"]:
        seconds = number(fit["seconds"])
        row = [fit["backend"], f"{fit['n']:,}", str(fit["rank"])]
        row += [seconds if fit["reached"] else f"> {seconds}", number(fit["prepare_seconds"])]
        row += [str(fit["epochs"]), number(fit["validation_mse"], 4), number(fit["target"], 4)]
        rows.append(row)
    caption = "One fit of each backend to the target, by the number of training ratings."
    marks = tuple((looks[row[0]].color, looks[row[0]].glyph) for row in rows)
    numeric, title = frozenset(range(1, len(header))), "Seconds to the target"
    return Table(caption, header, rows, numeric, marks, title=title)


def _timings(check: GPUCheck) -> Table:
    bandwidth = max((limits["memory_gb_per_s"] for limits in check["limits"]), default=0.0)
    rows = []
    for timing in check["timings"]:
        seconds = timing["seconds"]
        row = [timing["what"], number(1e3 * seconds), number(1e9 * seconds / timing["n"])]
        rate = timing["bytes"] / seconds / 1e9
        share = number(100 * rate / bandwidth, 2) if rate and bandwidth else DASH
        rows.append([*row, number(rate) if rate else DASH, share])
    caption = "Times of single steps, and what they read and write, beside the memory bandwidth."
    header = ["What", "ms", "ns per rating", "GB/s", "% of the bandwidth"]
    return Table(caption, header, rows, frozenset(range(1, len(header))), title="Times of steps")


def _comparisons(check: GPUCheck) -> Table:
    rows = [
        [one["what"], number(one["value"]), number(one["limit"])] for one in check["comparisons"]
    ]
    caption = f"Numbers that must not exceed their limit; {DASH}: not a finite number, so wrong."
    header = ["What", "Found", "Limit"]
    return Table(caption, header, rows, frozenset({1, 2}), title="Comparisons")
