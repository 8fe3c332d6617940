"""The ranking of the backends in a case, and the overview of the winners of several cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.report.figures.palette import Look
from bench.report.outcome.cases import Case, Entry, ratio
from bench.report.outcome.verdict import answer, cautions, compared, with_interval
from bench.stats import cores_busy
from bench.text.wording import DASH, mse, number, plural, words

from .measured import extent, seconds_or_more, warning_id
from .table import Table

_HEADER = [
    "Place",
    "Backend",
    "Seconds",
    "Speed-up (95 %)",
    "Min to max s",
    "Epochs",
    "Validation MSE",
    "Test MSE",
    "Gap in J",
    "Peak MB",
    "Runs on",
    "Algorithm",
    "Status",
]
_NUMERIC = frozenset({0, *range(2, 10)})


def ranking_table(case: Case, looks: Mapping[str, Look]) -> Table:
    """Return the backends of a case, fastest first, followed by those that did not match."""
    entries = case.entries
    warnings = [
        (warning_id(case, entry), "; ".join(entry.warnings)) if entry.warnings else ("", "")
        for entry in entries
    ]
    caption = (
        "By seconds to the matching validation MSE: the median over seeds of the medians over "
        f"their rounds. {_speedup_note(case)}Gap in J: the objective relative to the reference's. "
        "Busy: the CPU time of a round over its time, where the rounds are long enough for the "
        "clock that counts it."
    )
    return Table(
        caption,
        _HEADER,
        [_row(case, entry) for entry in entries],
        _NUMERIC,
        marks=tuple((looks[entry.name].color, looks[entry.name].glyph) for entry in entries),
        warnings=tuple(warnings),
    )


def overview_table(cases: Sequence[Case]) -> Table:
    """Return one row per case: the fastest backend, and its lead over the next."""
    return Table(
        "The fastest backend of each case to its matching validation MSE; several if no "
        "difference can be detected.",
        ["Case", "Fastest", "Seconds", "Times as fast (95 %)", "as the next", "Matched"],
        [_overview_row(case) for case in cases],
        frozenset({2, 3}),
        links=tuple(f"#case-{case.slug}" for case in cases),
        warnings=tuple(_overview_warning(case) for case in cases),
    )


def _speedup_note(case: Case) -> str:
    if not case.yardstick:
        return ""
    reason = f", {case.yardstick_note}" if case.yardstick_note else ""
    return f"Speed-up is relative to {case.yardstick.name}{reason}. "


def _overview_warning(case: Case) -> tuple[str, str]:
    """Return a link to the warnings about the times in a row, and the reasons to be careful."""
    doubtful = [entry for entry in compared(case) if entry.warnings]
    id_ = warning_id(case, doubtful[0]) if doubtful else f"case-{case.slug}"
    text = "; ".join(cautions(case))
    return (id_, text) if text else ("", "")


def _overview_row(case: Case) -> list[str]:
    names = answer(case).names
    first = case.ranked[0] if case.ranked else None
    behind = [entry for entry in case.ranked if entry.name not in names]
    matched = f"{len(case.ranked)} of {len(case.entries) + case.not_begun}"
    if case.missing:
        matched += f", {len(case.missing.files)} missing"
    if first is None or not behind:
        seconds = number(first.median) if first else DASH
        return [case.title, words(names) or "none", seconds, DASH, DASH, matched]
    lead = with_interval(ratio(behind[0], first), "")
    single = [entry.name for entry in behind if ratio(entry, first).interval is None]
    note = ""  # the lead may be noise
    if single:
        note = " (one seed)" if len(single) == len(behind) else f" (one seed of {words(single)})"
    fastest = words(names) + note
    return [case.title, fastest, number(first.median), lead, behind[0].name, matched]


def _row(case: Case, entry: Entry) -> list[str]:
    record, backend = entry.record, entry.record["backend"]
    ranked = not entry.why
    place = speedup = extremes = DASH
    if ranked:
        place = str(case.ranked.index(entry) + 1)
        speedup = with_interval(case.speedups[entry.name], "")
        extremes = f"{number(min(entry.seconds))} to {number(max(entry.seconds))}"
    peak_mb = record["memory"]["peak_mb"] if record["memory"] else None
    status = "matched, with warnings" if entry.warnings else "matched"
    return [
        place,
        entry.name,
        seconds_or_more(entry),
        speedup,
        extremes,
        extent([str(count) for count in entry.epochs]) if entry.epochs else DASH,
        mse(entry.score("validation_mse")),
        mse(entry.score("test_mse")),
        _gap(entry),
        DASH if peak_mb is None else f"{peak_mb:,.0f}",
        f"{backend['device']}, {_threads(entry)}",
        backend["algorithm"],
        status if ranked else entry.why,
    ]


def _threads(entry: Entry) -> str:
    """Return the budget of threads, with how many of them were busy if that is known."""
    threads = entry.record["backend"]["threads"]
    budget, busy = plural(threads, "thread"), cores_busy(entry.record["rounds"])
    # The clock that counts CPU time is coarse, so that it may count more than there was.
    return budget if busy is None else f"{min(busy, threads):.1f} of {budget} busy"


def _gap(entry: Entry) -> str:
    """Return the objective relative to the reference's, for solvers that minimise it."""
    record = entry.record
    objective, reference = entry.score("objective"), record["reference"]["objective"]
    # With a penalty of its own, a backend minimises another objective.
    has_own = not record["case"].keys().isdisjoint(record["backend"]["params"])
    if not record["backend"]["minimises"] or objective is None or not reference or has_own:
        return DASH
    return f"{100 * (objective / reference - 1):+.2f} %"
