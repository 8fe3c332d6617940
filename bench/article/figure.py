"""The figure: the descent's errors against its iterations, with all that they should be compared with."""

from __future__ import annotations

from math import log
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.report.figures.palette import BLUE, GREEN, ORANGE, PINK
from bench.report.figures.style import INK, MUTED, PAPER, plain
from bench.text.wording import mse

from .picture import Picture, legend, render
from .results import Results

_TICKS = (0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000)
_DECADES = 1e4  # what the vertical axis spans at most
_GAP = 0.055  # between labels, in heights of the axes


def draw(results: Results, published: dict[str, Any]) -> Picture:
    """Draw the figure."""
    curve = results["curve"]
    last = curve[-1]
    wrong = "" if last["twice_mse"] is None else f" Scored on the wrong pairs, it ends at {mse(last['twice_mse'])}."
    caption = (
        "Mean squared error against iterations of the article's descent, on a log scale. Rings are the training errors "
        "that a public repeat prints for the real ratings; the hollow cross is the validation error that the article "
        "prints. Horizontal lines are what one should know before judging a curve."
    )
    alt = (
        f"From {mse(curve[0]['train_mse'])} at the start, the training error falls to {mse(last['train_mse'])} and the "
        f"validation error to {mse(last['validation_mse'])} after {last['iteration']} iterations.{wrong} Lines: "
        + ", ".join(f"{name} {mse(value)}" for name, value, _ in _levels(results))
        + "."
    )
    data = results["data"]
    title = f"{plain(data['name'], 40)}, {data['n_train']:,} training ratings"
    return render("article", lambda axes: _draw(axes, results, published), 4.6, title, (caption, alt))


def _draw(axes: Axes, results: Results, published: dict[str, Any]) -> None:
    curve = results["curve"]
    x = [point["iteration"] for point in curve]
    shown: list[tuple[str, Line2D]] = []

    values = [value for _, value, _ in _levels(results)]

    def plot(label: str, x: list[int], y: list[float], color: str, **how: Any) -> None:
        shown.append((label, axes.plot(x, y, color=color, **how)[0]))
        values.extend(y)

    plot("training", x, [point["train_mse"] for point in curve], BLUE, lw=1.8)
    plot("validation, right pairs", x, [one["validation_mse"] for one in curve], ORANGE, lw=1.8, ls=(0, (3, 2)))
    wrong = [(point["iteration"], point["twice_mse"]) for point in curve if point["twice_mse"] is not None]
    if wrong:
        at, errors = [iteration for iteration, _ in wrong], [error for _, error in wrong]
        plot("validation, wrong pairs", at, errors, PINK, lw=1.4, marker="X", markevery=[-1], markersize=8, mew=0)
    printed = {int(iteration): error for iteration, error in published["train_mse"].items()}
    ring = {"marker": "o", "ls": "", "mfc": PAPER, "mew": 1.2, "markersize": 4.5, "zorder": 3}
    plot("published, training", list(printed), list(printed.values()), INK, **ring)
    final = published["article"]["validation_mse"]
    plot("published, validation", [max(printed)], [final], INK, marker="X", ls="", mfc=PAPER, mew=1.2, markersize=8)

    floor = max(values) / _DECADES  # ratings that are all the same are predicted without error
    low, high = max(min(values), floor) / 1.25, max(values) * 1.3
    axes.set(yscale="log", ylim=(low, high), xlabel="iteration", ylabel="mean squared error (log scale)")
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in _TICKS if low <= tick <= high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlim(0, 1.02 * max(*x, *printed))
    axes.grid(axis="x", visible=False)
    place = -1.0
    for name, value, color in _levels(results):
        shown_at = max(value, floor)
        axes.axhline(shown_at, color=color, lw=1.1, ls=(0, (1, 1.5)) if color == MUTED else "-", zorder=1)
        place = max(place + _GAP, log(shown_at / low) / log(high / low))
        axes.text(1.015, place, f"{name} {mse(value)}", transform=axes.transAxes, va="center", fontsize=8)
    legend(axes, shown)


def _levels(results: Results) -> list[tuple[str, float, str]]:
    """Return label, validation MSE and colour of the horizontal lines, lowest first."""
    levels = [
        ("our default", results["ours"]["validation_mse"], GREEN),
        ("biases alone", results["biases"]["validation_mse"], MUTED),
        ("mean rating", results["constant"]["validation_mse"], MUTED),
        ("J minimised", results["minimum"]["fit"]["validation_mse"], MUTED),
    ]
    return sorted(levels, key=lambda level: level[1])
