"""The figure: the descent's errors by iteration, with the errors to compare them with."""

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
_LARGEST_RATIO = 1e4  # of the vertical axis's ends
_GAP = 0.055  # between labels, as a share of the axes' height

Curve = tuple[str, list[int], list[float], dict[str, Any]]

_CAPTION = (
    "Mean squared error against iterations of the article's descent, on a log scale. Rings are the "
    "training errors that a public repeat prints for the real ratings; the hollow cross is the "
    "validation error that the article prints. Horizontal lines are the errors that a curve must "
    "be compared with."
)


def draw(results: Results, published: dict[str, Any]) -> Picture:
    """Return the figure with its caption and alternative text."""
    data = results["data"]
    title = f"{plain(data['name'], 40)}, {data['n_train']:,} training ratings"
    return render(
        "article",
        lambda axes: _draw(axes, results, published),
        4.6,
        title,
        _CAPTION,
        _alternative_text(results),
    )


def _alternative_text(results: Results) -> str:
    start, last = results["curve"][0], results["curve"][-1]
    wrong = ""
    if last["twice_mse"] is not None:
        wrong = f" Scored on the wrong pairs, it ends at {mse(last['twice_mse'])}."
    levels = ", ".join(f"{name} {mse(value)}" for name, value, _ in _levels(results))
    return (
        f"From {mse(start['train_mse'])} at the start, the training error falls to "
        f"{mse(last['train_mse'])} and the validation error to {mse(last['validation_mse'])} after "
        f"{last['iteration']} iterations.{wrong} Lines: {levels}."
    )


def _draw(axes: Axes, results: Results, published: dict[str, Any]) -> None:
    curves = _curves(results, published)
    levels = _levels(results)
    keys: list[tuple[str, Line2D]] = []
    for label, iterations, errors, look in curves:
        keys.append((label, axes.plot(iterations, errors, **look)[0]))

    values = [value for _, value, _ in levels]
    last_iteration = 0
    for _, iterations, errors, _ in curves:
        values += errors
        last_iteration = max(last_iteration, *iterations)
    # Ratings that are all the same are predicted without error, which has no logarithm.
    floor = max(values) / _LARGEST_RATIO
    low, high = max(min(values), floor) / 1.25, max(values) * 1.3
    axes.set(yscale="log", ylim=(low, high))
    axes.set(xlabel="iteration", ylabel="mean squared error (log scale)")
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in _TICKS if low <= tick <= high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlim(0, 1.02 * last_iteration)
    axes.grid(axis="x", visible=False)

    # Labels right of the axes, from the lowest up, each at least _GAP above the one before.
    height = -1.0
    for name, value, color in levels:
        shown_at = max(value, floor)
        dashes: Any = (0, (1, 1.5)) if color == MUTED else "-"
        axes.axhline(shown_at, color=color, lw=1.1, ls=dashes, zorder=1)
        height = max(height + _GAP, log(shown_at / low) / log(high / low))
        text = f"{name} {mse(value)}"
        axes.text(1.015, height, text, transform=axes.transAxes, va="center", fontsize=8)
    legend(axes, keys)


def _curves(results: Results, published: dict[str, Any]) -> list[Curve]:
    """Return label, iterations, errors and look of each curve."""
    curve = results["curve"]
    iterations = [point["iteration"] for point in curve]
    train = [point["train_mse"] for point in curve]
    validation = [point["validation_mse"] for point in curve]
    dashed = {"color": ORANGE, "lw": 1.8, "ls": (0, (3, 2))}
    curves: list[Curve] = [
        ("training", iterations, train, {"color": BLUE, "lw": 1.8}),
        ("validation, right pairs", iterations, validation, dashed),
    ]
    wrong = [
        (point["iteration"], point["twice_mse"])
        for point in curve
        if point["twice_mse"] is not None
    ]
    if wrong:
        cross_at_end = {"marker": "X", "markevery": [-1], "markersize": 8, "mew": 0}
        look = {"color": PINK, "lw": 1.4} | cross_at_end
        at, errors = [iteration for iteration, _ in wrong], [error for _, error in wrong]
        curves.append(("validation, wrong pairs", at, errors, look))

    printed = {int(iteration): error for iteration, error in published["train_mse"].items()}
    hollow = {"color": INK, "ls": "", "mfc": PAPER, "mew": 1.2}
    ring = hollow | {"marker": "o", "markersize": 4.5, "zorder": 3}
    cross = hollow | {"marker": "X", "markersize": 8}
    final = published["article"]["validation_mse"]
    curves.append(("published, training", list(printed), list(printed.values()), ring))
    curves.append(("published, validation", [max(printed)], [final], cross))
    return curves


def _levels(results: Results) -> list[tuple[str, float, str]]:
    """Return label, validation MSE and colour of the horizontal lines, lowest first."""
    levels = [
        ("our default", results["ours"]["validation_mse"], GREEN),
        ("biases alone", results["biases"]["validation_mse"], MUTED),
        ("mean rating", results["constant"]["validation_mse"], MUTED),
        ("J minimised", results["minimum"]["fit"]["validation_mse"], MUTED),
    ]
    return sorted(levels, key=lambda level: level[1])
