"""The results as tables of the page, and as lines of a terminal."""

from __future__ import annotations

import math

from bench.report.outcome.verdict import tuned
from bench.report.tables.table import Table
from bench.text.wording import DASH, mse, number

from .results import PUBLISHED, Results, Solver


def comparison(results: Results) -> list[dict[str, float]]:
    """Return our training MSE and the published one at each published iteration."""
    rows = []
    for point in results["curve"]:
        theirs = PUBLISHED["train_mse"].get(str(point["iteration"]))
        if theirs is not None:
            ours = point["train_mse"]
            row = {"iteration": point["iteration"], "train_mse": ours, "published": theirs}
            rows.append(row | {"absolute": ours - theirs, "relative": ours / theirs - 1})
    return rows


def scores(results: Results) -> list[tuple[str, float | None, str]]:
    """Return what was scored, its validation MSE, and how it was obtained."""
    data, last, ours = results["data"], results["curve"][-1], results["ours"]
    held_out = data["n_held_out"]
    minimum, biases = results["minimum"]["fit"], results["biases"]
    return [
        (
            "The article, as the notebooks score it",
            last["twice_mse"],
            f"wrong pairs; {data['n_twice']:,} of {held_out:,} rows kept",
        ),
        (
            "The same on the right pairs",
            last["validation_mse"],
            f"{data['n_validation']:,} of {held_out:,} rows kept",
        ),
        (
            "Its objective, minimised exactly",
            minimum["validation_mse"],
            f"{minimum['solver']['epochs']} epochs of ALS",
        ),
        (
            "The mean rating for every pair",
            results["constant"]["validation_mse"],
            "one number is fitted",
        ),
        ("Biases of users and items alone", biases["validation_mse"], tuned(biases)),
        ("Biases and factors, our default", ours["validation_mse"], _settings(ours["solver"])),
    ]


def summary(results: Results) -> list[str]:
    """Return the results as lines for a terminal."""
    lines = ["validation MSE"]
    lines += [f"  {label:<39}{_decimals(value):>9}  {how}" for label, value, how in scores(results)]
    descent, literal = results["descent"], results["literal"]["seconds"]
    lines += [
        f"{descent['epochs']} iterations: {descent['seconds']:.1f} s with {descent['backend']}; "
        f"as the article computes them, about {literal * descent['epochs']:.0f} s, extrapolated "
        f"from {results['literal']['calls']} gradients"
    ]
    return lines


def curve_table(results: Results) -> Table:
    """Return the table of the curve and the published one."""
    header = [
        "Iteration",
        "Training",
        "Published",
        "Difference",
        "in %",
        "Validation",
        "Wrong pairs",
    ]
    compared = {row["iteration"]: row for row in comparison(results)}
    rows = []
    for point in results["curve"]:
        row = compared.get(point["iteration"])
        published, absolute, relative = DASH, DASH, DASH
        if row:
            published, absolute = f"{row['published']:.4f}", f"{row['absolute']:+.4f}"
            relative = f"{100 * row['relative']:+.1f}"
        rows.append(
            [
                str(point["iteration"]),
                _decimals(point["train_mse"]),
                published,
                absolute,
                relative,
                _decimals(point["validation_mse"]),
                _decimals(point["twice_mse"]),
            ]
        )
    caption = f"Mean squared errors every 50 iterations. Published: {PUBLISHED['provenance']}."
    return Table(caption, header, rows, frozenset(range(1, len(header))))


def scores_table(results: Results) -> Table:
    """Return the table of the scores and their roots."""
    rows = []
    for label, value, how in scores(results):
        root = None if value is None else math.sqrt(value)
        rows.append([label, mse(value), number(root), how])
    caption = (
        "Mean squared error on the validation ratings, and its root: the size of a typical error."
    )
    return Table(caption, ["What predicts", "MSE", "Root", "How"], rows, frozenset({1, 2}))


def objective_table(results: Results) -> Table:
    """Return the table of objective and errors, where the descent stopped and at the minimum."""
    minimum, last = results["minimum"], results["curve"][-1]
    fit = minimum["fit"]
    ends = {
        f"Descent, {last['iteration']} iterations": (
            minimum["objective_of_descent"],
            last["train_mse"],
            last["validation_mse"],
        ),
        f"Minimum, by {fit['solver']['epochs']} epochs of ALS": (
            minimum["objective"],
            fit["train_mse"],
            fit["validation_mse"],
        ),
    }
    rows = [[where, *map(mse, values)] for where, values in ends.items()]
    header = ["Where", "J", "Training MSE", "Validation MSE"]
    return Table(
        "The article's loss J, and the errors at the same point.",
        header,
        rows,
        frozenset({1, 2, 3}),
    )


def seconds_table(results: Results) -> Table:
    """Return the table of the training times, measured or not."""
    descent, literal = results["descent"], results["literal"]
    low, high = PUBLISHED["literal_seconds_per_gradient"]["range"]
    n = descent["epochs"]
    rows = [
        [
            f"{n:,} iterations, this run",
            descent["backend"],
            number(descent["seconds"] / n),
            number(descent["seconds"]),
            "measured",
        ],
        [
            "The article's computation in scipy.sparse, this run",
            "one thread",
            number(literal["seconds"]),
            number(literal["seconds"] * n),
            f"{n:,} times the median of {literal['calls']} gradients; not run to the end",
        ],
        [
            "The article's code, earlier",
            "2 cores",
            f"{low} to {high}",
            f"{low * n:,.0f} to {high * n:,.0f}",
            f"not measured in this run; {n:,} gradients of 5.07 million ratings",
        ],
        [
            "Our default model",
            results["ours"]["solver"]["backend"],
            DASH,
            number(results["ours"]["solver"]["seconds"]),
            _settings(results["ours"]["solver"]),
        ],
    ]
    header = ["What", "Engine", "Seconds per gradient", "Seconds in total", "How it is known"]
    return Table(
        "Training time in seconds, without compilation and evaluation.",
        header,
        rows,
        frozenset({2, 3}),
    )


def _settings(solver: Solver) -> str:
    return (
        f"{solver['backend']}, {solver['rank']} factors, reg {solver['reg']:g}, "
        f"{solver['epochs']} epochs, {number(solver['seconds'], 2)} s"
    )


def _decimals(value: float | None) -> str:
    """Return an error with four decimals, as the article prints it."""
    return DASH if value is None else f"{value:.4f}"
