"""The ranking of the backends in a case, and the overview of the winners of several cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

from bench.report.figures.palette import Look
from bench.report.outcome.cases import Case, Entry, ratio
from bench.report.outcome.uses import LOOP, USES, Use, case_for, compile_seconds, seconds_for
from bench.report.outcome.verdict import answer, answers, cautions, compared, few, with_interval
from bench.stats import cores_busy
from bench.text.wording import DASH, mse, number, plural, words

from .measured import extent, seconds_or_more, warning_id
from .table import Table

_USES = [f"{use.name}, s" for use in USES]
_FIRST_USE = 1  # index of its column
# The page shows the first seven columns, and the rest if it is asked for.
_HEADER = [
    "Backend",
    *_USES,
    "Test RMSE",
    "NDCG@10",
    "Memory, MB",
    "Compiling ahead, s",
    "Speed-up (95 %)",
    "Min to max, s",
    "Epochs",
    "Validation MSE",
    "Test MSE",
    "Gap in J",
    "Runs on",
    "Algorithm",
    "Status",
]
_OVERVIEW_HEADER = [
    "Case",
    *[use.name for use in USES],
    *("Seconds", "Times as fast (95 %)", "as the next", "Matched"),
]
_SHOWN = 7
_DIGITS = 2  # of seconds; a table of the page has more
_NUMERIC = frozenset(range(1, 14))


def ranking_table(case: Case, looks: Mapping[str, Look]) -> Table:
    """Return the backends of a case, fastest in a loop first, then those that did not match.

    Those that are not available are left out.
    """
    entries = [entry for entry in case.entries if entry.record["status"] != "unavailable"]
    warnings = [
        (warning_id(case, entry), "; ".join(entry.warnings)) if entry.warnings else ("", "")
        for entry in entries
    ]
    return Table(
        _caption(case),
        _HEADER,
        [_row(case, entry) for entry in entries],
        _NUMERIC,
        marks=tuple((looks[entry.name].color, looks[entry.name].glyph) for entry in entries),
        warnings=tuple(warnings),
        more=frozenset(range(_SHOWN, len(_HEADER))),
        more_caption=_more_caption(case),
        strong=_to_take(case, entries),
        title="Ranking",
    )


def _caption(case: Case) -> str:
    """Return what the columns are."""
    popular = case.facts.get("list_baselines", {}).get("most popular")
    lists = f"; most popular items: {popular['ndcg']:.3f}" if popular else ""
    return (
        "Seconds to the target. First fit: in a new process in which nothing is compiled yet, with "
        "importing and compiling; new process: the same, compiled before; in a loop: without "
        "either. RMSE in units of ratings, on the test ratings. NDCG@10: how good lists of ten "
        f"are, at most 1{lists}. Memory: the peak of the process."
    )


def _more_caption(case: Case) -> str:
    """Return what the columns are that are shown if they are asked for."""
    return (
        "Compiling ahead: what python -m backends.compile spares a first fit. "
        f"{_speedup_note(case)}Gap in J: the objective relative to the reference's. "
        "Runs on: threads are busy for the CPU time of a round over its time, where rounds are "
        "long enough for the clock that counts it."
    )


def _to_take(case: Case, entries: Sequence[Entry]) -> frozenset[tuple[int, int]]:
    """Return row and column of the seconds of the backends to take, for each use."""
    rows = {entry.name: row for row, entry in enumerate(entries)}
    return frozenset(
        (rows[name], _FIRST_USE + USES.index(use))
        for use, found in answers(case)
        for name in found.names
    )


def overview_table(cases: Sequence[Case]) -> Table:
    """Return one row per case: the fastest backend, and its lead over the next."""
    return Table(
        "The backend to take for each case, for each use: the fastest to the matching validation "
        "MSE, or several if no difference can be detected. Seconds and lead are those in a loop.",
        _OVERVIEW_HEADER,
        [_overview_row(case) for case in cases],
        frozenset({4, 5}),
        links=tuple(f"#case-{case.slug}" for case in cases),
        warnings=tuple(_overview_warning(case) for case in cases),
        more=frozenset({7}),
        title="Overview",
    )


def _speedup_note(case: Case) -> str:
    if not case.yardstick:
        return ""
    reason = f", {case.yardstick_note}" if case.yardstick_note else ""
    return f"Speed-up: in a loop, relative to {case.yardstick.name}{reason}. "


def _overview_warning(case: Case) -> tuple[str, str]:
    """Return a link to the warnings about the times in a row, and the reasons to be careful."""
    doubtful = [entry for entry in compared(case) if entry.warnings]
    id_ = warning_id(case, doubtful[0]) if doubtful else f"case-{case.slug}"
    text = "; ".join(cautions(case))
    return (id_, text) if text else ("", "")


def _overview_row(case: Case) -> list[str]:
    found = {use: words(each.names) + _few(case, use) for use, each in answers(case)}
    names = answer(case).names
    first = case.ranked[0] if case.ranked else None
    behind = [entry for entry in case.ranked if entry.name not in names]
    matched = f"{len(case.ranked)} of {len(case.entries) + case.not_begun}"
    if case.missing:
        matched += f", {len(case.missing.files)} missing"
    fastest = [found.get(use, DASH) for use in USES] if found else ["none"] * len(USES)
    if first is None or not behind:
        seconds = number(first.median) if first else DASH
        return [case.title, *fastest, seconds, DASH, DASH, matched]
    lead = with_interval(ratio(behind[0], first), "")
    return [case.title, *fastest, number(first.median), lead, behind[0].name, matched]


def _few(case: Case, use: Use) -> str:
    """Return why the answer for a use may be noise, in brackets; "" if it is not."""
    note = few(case_for(case, use))
    return f" ({note})" if note else ""


def _row(case: Case, entry: Entry) -> list[str]:
    record, backend = entry.record, entry.record["backend"]
    ranked = not entry.why
    speedup = extremes = DASH
    if ranked:
        speedup = with_interval(case.speedups[entry.name], "")
        extremes = f"{number(min(entry.seconds))} to {number(max(entry.seconds))}"
    peak_mb = record["memory"]["peak_mb"] if record["memory"] else None
    status = "matched, with warnings" if entry.warnings else "matched"
    test_mse, lists = entry.score("test_mse"), record.get("lists")
    return [
        entry.name,
        *[number(seconds_for(entry, use), _DIGITS) for use in USES if use is not LOOP],
        seconds_or_more(entry, _DIGITS),
        DASH if test_mse is None else mse(math.sqrt(test_mse)),
        f"{median(scores['ndcg'] for scores in lists):.3f}" if lists else DASH,
        DASH if peak_mb is None else f"{peak_mb:,.0f}",
        number(compile_seconds(entry), _DIGITS),
        speedup,
        extremes,
        extent([str(count) for count in entry.epochs]) if entry.epochs else DASH,
        mse(entry.score("validation_mse")),
        mse(test_mse),
        _gap(entry),
        f"{backend['device']}, {_threads(entry)}",
        _algorithm(entry),
        status if ranked else entry.why,
    ]


def _threads(entry: Entry) -> str:
    """Return the budget of threads, with how many of them were busy if that is known."""
    threads = entry.record["backend"]["threads"]
    budget, busy = plural(threads, "thread"), cores_busy(entry.record["rounds"])
    # The clock that counts CPU time is coarse, so that it may count more than there was.
    return budget if busy is None else f"{min(busy, threads):.1f} of {budget} busy"


def _algorithm(entry: Entry) -> str:
    """Return the algorithm, and how it computed its sums over ratings where that is recorded."""
    products = entry.record.get("products")
    algorithm = entry.record["backend"]["algorithm"]
    return f"{algorithm}, {products} products" if products else algorithm


def _gap(entry: Entry) -> str:
    """Return the objective relative to the reference's, for solvers that minimise it."""
    record = entry.record
    objective, reference = entry.score("objective"), record["reference"]["objective"]
    # With a penalty of its own, a backend minimises another objective.
    has_own = not record["case"].keys().isdisjoint(record["backend"]["params"])
    if not record["backend"]["minimises"] or objective is None or not reference or has_own:
        return DASH
    return f"{100 * (objective / reference - 1):+.2f} %"
