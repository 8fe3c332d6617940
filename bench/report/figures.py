"""What the four figures of a case show; how they look is in `style`."""

from __future__ import annotations

from functools import partial
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory

from .ranking import Case, Entry
from .style import INK, MUTED, PAPER, WIDTH, Picture, empty, key, legend, log_axis, plain, render, style
from .verdict import TIMES, mse, number


def draw_figures(case: Case) -> list[Picture]:
    """Draw all figures of a case."""
    missing = [entry.name for entry in case.unranked]
    shown = f" Not matched: {', '.join(missing)}." if missing else ""
    medians = "; ".join(f"{one.name} {number(one.median)} s" for one in case.ranked) or "no backend matched"
    factors = "; ".join(f"{name} {number(one.value)}" for name, one in case.speedups.items()) or "no backend matched"
    scores = "; ".join(f"{one.name} {mse(one.score('validation_mse'))}" for one in case.entries if one.record["rounds"])
    base = case.yardstick.name if case.yardstick else "numpy"
    note = f", {case.yardstick_note}" if case.yardstick_note else ""
    goal = "no target" if case.target is None else f"validation MSE to match: {mse(case.target)}"
    title = f"{plain(case.title, 42)}, {goal}"
    rounds = max(sum(bool(one.record["rounds"]) for one in case.entries), 1)
    traces = (
        "Validation MSE after each epoch against seconds of training, from the calibration of the first seed. The ring "
        "marks the first epoch at or under the target. The vertical axis is cut above the nearest baseline.",
        f"Lines of validation MSE over training seconds for {', '.join(one.name for one in case.entries)}.",
    )
    seconds = (
        f"Seconds to the matching validation MSE: each timed round a marker, the median a bar.{shown}",
        f"Median seconds: {medians}.{shown}",
    )
    speedup = (
        f"Speed-up over {base}{note}: ratio of the medians, with its bootstrap 95 % interval.{shown}",
        f"Times as fast as {base}: {factors}.",
    )
    accuracy = (
        "MSE of each timed round: validation filled, test hollow. The target is met at or left of its line. "
        "Backends without a finished round have no row.",
        f"Median validation MSE: {scores or 'no finished rounds'}; target {mse(case.target)}.",
    )
    return [
        render("convergence", partial(_convergence, case=case), 3.6 + 0.2 * (len(case.entries) // 3), title, traces),
        render("seconds", partial(_seconds, case=case), 1.3 + 0.36 * len(case.entries), title, seconds),
        render("speedup", partial(_speedup, case=case), 1.3 + 0.36 * max(len(case.ranked), 1), title, speedup),
        render("accuracy", partial(_accuracy, case=case), 1.9 + 0.36 * rounds, title, accuracy),
    ]


def _convergence(axes: Axes, case: Case) -> None:
    traces = {one.name: _trace(one) for one in case.entries}
    points = [point for trace in traces.values() for point in trace]
    low, high = _window(case, [value for _, value in points])
    for name, trace in traces.items():
        color, marker = style(name)
        x, y = [seconds for seconds, _ in trace], [min(value, 9 * high) for _, value in trace]  # may be 1e300
        every = max(len(trace) // 8, 1)
        axes.plot(x, y, color=color, marker=marker, markevery=every, markersize=4.5, lw=1.4, mew=0)
        hit = next((point for point in trace if case.target is not None and point[1] <= case.target), None)
        if hit:
            axes.plot(*hit, color=color, marker="o", markersize=9, mfc="none", mew=1.4, zorder=4)
    axes.set(ylim=(low, high), xlabel="training seconds (log scale)", ylabel="validation MSE")
    gap, place = 0.065 * (high - low), low - 1.0
    for label, value, dashes in _levels(case):
        note, arrow = f"{plain(label, 20)} {mse(value)}", "↑ " if value > high else ""
        if not arrow:
            axes.axhline(value, color=INK if label == "target" else MUTED, ls=dashes, lw=1.1, zorder=1)
        place = max(place + gap, min(value, high))
        where = blended_transform_factory(axes.transAxes, axes.transData)
        axes.text(1.015, place, arrow + note, transform=where, va="center", fontsize=8)
    if points:
        log_axis(axes, [seconds for seconds, value in points if value <= high] or [seconds for seconds, _ in points])
    else:
        empty(axes, "no calibration trace in the records")
    axes.grid(axis="x", visible=False)
    shown = {name: trace for name, trace in traces.items() if trace}
    hidden = {name: " (off scale)" if min(y for _, y in trace) > high else "" for name, trace in shown.items()}
    legend(axes, [(plain(name) + hidden[name], key(*style(name), "-")) for name in shown])


def _seconds(axes: Axes, case: Case) -> None:
    for row, entry in enumerate(case.ranked):
        color, marker = style(entry.name)
        count = len(entry.seconds)
        heights = [row + 0.2 * (2 * i - count + 1) / max(count - 1, 1) for i in range(count)]  # none hides another
        axes.plot(entry.seconds, heights, marker, color=color, markersize=4.5, alpha=0.8, mew=0)
        axes.plot([entry.median] * 2, [row - 0.36, row + 0.36], color=INK, lw=1.2, zorder=1.5)
        note = f"{number(entry.median)} s"
        axes.annotate(note, (max(entry.seconds), row), (9, 0), textcoords="offset points", va="center", fontsize=8.5)
    letters = int((WIDTH - 0.3 - 0.08 * max(len(plain(entry.name)) for entry in case.entries)) / 0.062)
    for row, entry in enumerate(case.unranked, len(case.ranked)):
        where = blended_transform_factory(axes.transAxes, axes.transData)
        lines = "\n".join(plain(line, letters) for line in wrap(entry.why, letters, max_lines=2, placeholder="…"))
        box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}
        axes.text(0.015, row, lines, transform=where, va="center", fontsize=8, color=MUTED, bbox=box, linespacing=1.1)
    if case.ranked and case.unranked:
        axes.axhline(len(case.ranked) - 0.5, color=MUTED, lw=0.8)
    _rows(axes, [entry.name for entry in case.entries])
    axes.set_xlabel("seconds to the matching MSE (log scale)")
    log_axis(axes, [value for entry in case.ranked for value in entry.seconds], room=1.5)
    if not case.ranked:
        axes.set_xticks([])


def _speedup(axes: Axes, case: Case) -> None:
    ends: list[float] = [1.0]
    for row, (name, one) in enumerate(case.speedups.items()):
        axes.barh(row, one.value - 1, left=1, height=0.56, color=style(name)[0])
        low, high = one.interval or (one.value, one.value)
        if one.interval:
            axes.plot([low, high], [row, row], color=INK, lw=1.2)
        ends += [low, high]
        note = f"{number(one.value)}{TIMES}"
        axes.annotate(note, (max(high, 1), row), (5, 0), textcoords="offset points", va="center", fontsize=8.5)
    _rows(axes, list(case.speedups))
    base = plain(case.yardstick.name, 16) if case.yardstick else "numpy"
    axes.set_xlabel(f"times as fast as {base} (log scale)")
    log_axis(axes, ends if case.ranked else [], room=1.4)
    if case.ranked:
        axes.axvline(1, color=INK, lw=1)
    else:
        empty(axes, "no backend matched")


def _accuracy(axes: Axes, case: Case) -> None:
    entries = [entry for entry in case.entries if entry.record["rounds"]]
    scores = [one[k] for entry in case.ranked for one in entry.record["rounds"] for k in ("validation_mse", "test_mse")]
    low, high = _window(case, [score for score in scores if score is not None], whole=True)
    for row, entry in enumerate(entries):
        color, marker = style(entry.name)
        for column, fill, shift in (("validation_mse", color, -0.12), ("test_mse", "none", 0.16)):
            values = [one[column] for one in entry.record["rounds"] if one[column] is not None]  # type: ignore[literal-required]
            axes.plot(values, [row + shift] * len(values), marker, color=color, mfc=fill, markersize=5.5, alpha=0.75)
        if (entry.score("validation_mse") or 0) > high:
            note = f"validation {mse(entry.score('validation_mse'))} →"
            where = blended_transform_factory(axes.transAxes, axes.transData)
            axes.text(0.99, row, note, transform=where, ha="right", va="center", fontsize=8)
    axes.set(xlim=(low, high), xlabel="MSE (squared rating units)")
    items = [("validation", key(MUTED, "o", "")), ("test", Line2D([], [], color=MUTED, marker="o", mfc="none", ls=""))]
    for label, value, dashes in _levels(case):
        axes.axvline(value, color=INK if label == "target" else MUTED, ls=dashes, lw=1.1, zorder=1)
        beyond = "" if low <= value <= high else " →"
        line = Line2D([], [], color=INK if label == "target" else MUTED, ls=dashes, lw=1.1)
        items.append((f"{plain(label, 20)} {mse(value)}{beyond}", line))
    _rows(axes, [entry.name for entry in entries])
    if not entries:
        empty(axes, "no finished round")
    legend(axes, items)


def _trace(entry: Entry) -> list[tuple[float, float]]:
    """Return (seconds, validation MSE) of the first seed's calibration, where both can be drawn on a log axis."""
    traces = [calibration["trace"] for calibration in entry.record["calibrations"][:1]]
    points = [(one["seconds"], one["validation_mse"]) for trace in traces for one in trace]
    return [(seconds, value) for seconds, value in points if seconds and value is not None and seconds > 0]


def _levels(case: Case) -> list[tuple[str, float, Any]]:
    """Return label, MSE and dashes of the reference, the target and the baselines, lowest first."""
    levels: list[tuple[str, float, Any]] = [("reference", case.facts["reference"]["validation_mse"], "-")]
    if case.target is not None:
        levels.append(("target", case.target, (0, (5, 2))))
    baselines = sorted(case.facts["baselines"].items(), key=lambda one: one[1]["validation_mse"])
    dashes = [(0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (1, 4))]
    levels += [(name, score["validation_mse"], dashes[i % 3]) for i, (name, score) in enumerate(baselines)]
    return sorted(levels, key=lambda level: level[1])


def _window(case: Case, values: list[float], whole: bool = False) -> tuple[float, float]:
    """Return the limits of an MSE axis: from the lowest value to over the nearest baseline; all values if ``whole``."""
    reference = case.facts["reference"]["validation_mse"]
    goal = case.target or reference
    above = [score["validation_mse"] for score in case.facts["baselines"].values() if score["validation_mse"] > goal]
    top = min([*above, goal * 1.25])
    bottom = min([reference, goal, *values])
    if whole:
        top = max([top, *values])
    return bottom - 0.06 * (top - bottom), top + (0.06 if whole else 0.3) * (top - bottom)


def _rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    axes.set_ylim(max(len(names), 1) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
