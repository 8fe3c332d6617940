"""The table of who is ranked where in a case, and the table of who is ahead in which of several cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.report.figures.palette import Look
from bench.report.outcome.cases import Case, Entry, ratio
from bench.report.outcome.verdict import answer, with_interval
from bench.text.wording import DASH, mse, number, plural, words

from .measured import doubt_id, extent, seconds_or_more
from .table import Table

_HEADER = ["Rank", "Backend", "Seconds", "Speed-up (95 %)", "Min to max s", "Epochs", "Validation MSE", "Test MSE"]
_HEADER += ["Gap in J", "Peak MB", "Runs on", "Algorithm", "Status"]


def ranking_table(case: Case, looks: Mapping[str, Look]) -> Table:
    """Return the backends of a case, fastest first, then those that did not match."""
    base = f"Speed-up is over {case.yardstick.name}" if case.yardstick else ""
    note = f"{base}, {case.yardstick_note}." if case.yardstick_note else f"{base}." if base else ""
    caption = (
        "By seconds to the matching validation MSE: the median over seeds of the medians over their rounds. "
        f"{note} Gap in J: the objective over the reference's."
    )
    entries = case.entries
    return Table(
        caption,
        _HEADER,
        [_row(case, entry) for entry in entries],
        frozenset({0, *range(2, 10)}),
        marks=tuple((looks[entry.name].color, looks[entry.name].glyph) for entry in entries),
        doubts=tuple(
            (doubt_id(case, entry), "; ".join(entry.warnings)) if entry.warnings else ("", "") for entry in entries
        ),
    )


def overview_table(cases: Sequence[Case]) -> Table:
    """Return one row per case: which backend to take, and how far it is ahead of the next."""
    rows = []
    for case in cases:
        first = next(iter(case.ranked), None)
        names = answer(case).names
        behind = [entry for entry in case.ranked if entry.name not in names]
        unsure = [entry.name for entry in behind if first and ratio(entry, first).interval is None]
        few = f" (one seed{'' if len(unsure) == len(behind) else f' of {words(unsure)}'})" if unsure else ""
        ahead = ratio(behind[0], first) if first and behind else None
        rows.append(
            [
                case.title,
                (words(names) or "none") + few,
                number(first.median) if first else DASH,
                with_interval(ahead, "") if ahead else DASH,
                behind[0].name if behind else DASH,
                f"{len(case.ranked)} of {len(case.entries)}",
            ]
        )
    header = ["Case", "Fastest", "Seconds", "Times as fast (95 %)", "as the next", "Matched"]
    caption = "The fastest of each case to its matching validation MSE; several where no difference can be told."
    links = tuple(f"#case-{case.slug}" for case in cases)
    return Table(caption, header, rows, frozenset({2, 3}), links=links)


def _row(case: Case, entry: Entry) -> list[str]:
    record, backend = entry.record, entry.record["backend"]
    ranked, memory = not entry.why, record["memory"]
    speedup = case.speedups[entry.name] if ranked else None
    return [
        str(case.ranked.index(entry) + 1) if ranked else DASH,
        entry.name,
        seconds_or_more(entry),
        with_interval(speedup, "") if speedup else DASH,
        f"{number(min(entry.seconds))} to {number(max(entry.seconds))}" if ranked else DASH,
        extent([str(one) for one in entry.epochs]) if entry.epochs else DASH,
        mse(entry.score("validation_mse")),
        mse(entry.score("test_mse")),
        _gap(entry),
        DASH if memory is None or memory["peak_mb"] is None else f"{memory['peak_mb']:,.0f}",
        f"{backend['device']}, {plural(backend['threads'], 'thread')}",
        backend["algorithm"],
        entry.why or ("matched, with doubts" if entry.warnings else "matched"),
    ]


def _gap(entry: Entry) -> str:
    """Return how far the objective lies over the reference's, for solvers that claim to minimise it."""
    objective, reference = entry.score("objective"), entry.record["reference"]["objective"]
    if not entry.record["backend"]["minimises"] or objective is None or not reference:
        return DASH
    return f"{100 * (objective / reference - 1):+.2f} %"
