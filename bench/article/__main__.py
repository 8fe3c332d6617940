"""``python -m bench.article``: run the article's recipe, print its curve, write the page."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import TextIO

from bench.datasets import DatasetError, RawRatings, anime_twin
from bench.datasets.raw import HOW_TO_KEEP_ONE, DuplicatePairs
from bench.datasets.reading.options import Source
from bench.datasets.reading.readers import read_file
from bench.file_options import FileArguments, add_fields
from bench.text import command
from bench.text.progress import StatusLine

from .data import prepare
from .page import write_page
from .results import PUBLISHED, Point
from .run import run
from .tables import summary

_status = StatusLine()
_STAND = Source("--ratings", "command line")
_ROW = "{:>9}  {:>9}  {:>9}  {:>10}  {:>10}  {:>18}"


def main(arguments: list[str] | None = None) -> int:
    """Run the article's recipe, print its curve beside the published one, and write a page.

    Returns
    -------
    int
        The exit status: 2 if the ratings cannot be used or the folder cannot be written to, 130
        after Ctrl-C.
    """
    options = _parse(arguments)
    clock = time.perf_counter()
    try:
        options.output.mkdir(parents=True, exist_ok=True)  # fail now, not after the run
        _status("reading the ratings" if options.ratings else "generating the twin")
        data = prepare(*_read(options), options.seed)
        facts = data.facts
        n_train, n_validation = facts["n_train"], facts["n_validation"]
        _print(f"{facts['name']}: {n_train:,} training, {n_validation:,} validation ratings")
        _print(
            _ROW.format(
                "iteration", "train", "published", "difference", "validation", "on the wrong pairs"
            )
        )
        results = run(data, options.iterations, _status, _print_point)
    except (DatasetError, OSError, ValueError) as error:
        _print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        _print("interrupted; nothing was written", file=sys.stderr)
        return 130
    page = write_page(results, options.output, _command(options), time.perf_counter() - clock)
    _print("")
    for line in summary(results):
        print(line)
    print(f"{page} ({time.perf_counter() - clock:.0f} s)")
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.article",
        description="Run the article's recipe, print its curve beside the published one, and write "
        "a page.",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--ratings",
        type=Path,
        metavar="FILE",
        help="the rating.csv of the article's data set, where -1 means not rated",
    )
    source.add_argument(
        "--scale", type=float, default=1.0, help="size of the anime twin (default: %(default)g)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the twin, the split and the start (default: %(default)s)",
    )
    parser.add_argument(
        "--iterations",
        type=int,
        default=800,
        help="number of iterations of the descent (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("reports/article"),
        metavar="DIR",
        help="folder to write to (default: %(default)s)",
    )
    add_fields(parser.add_argument, FileArguments)
    options = parser.parse_args(arguments)
    try:
        _file_arguments(options).check_file_options(given=options.ratings is not None)
    except ValueError as error:
        parser.error(str(error))
    for name, least in (("iterations", 1), ("seed", 0)):
        value = getattr(options, name)
        if value < least:
            parser.error(f"argument --{name}: must be at least {least}, got {value}")
    return options


def _read(options: argparse.Namespace) -> tuple[str, RawRatings]:
    path, stated = options.ratings, _file_arguments(options)
    if path is None:
        return f"anime twin x{options.scale:g}", anime_twin(options.scale, options.seed)
    if stated.missing is None:  # in the article's data set, -1 means not rated
        stated = replace(stated, missing=-1.0)
    raw = read_file(path, stated.file_options, "command line")
    try:
        return path.name, raw.without_duplicates(stated.duplicates)
    except DuplicatePairs as error:
        raise DatasetError(f"{path}: {error}. {HOW_TO_KEEP_ONE}") from error


def _file_arguments(options: argparse.Namespace) -> FileArguments:
    return FileArguments(**{one.name: getattr(options, one.name) for one in fields(FileArguments)})


def _command(options: argparse.Namespace) -> str:
    """Return the command that repeats this run, without the folder of the file."""
    source = f"--scale {options.scale:g}"
    if options.ratings:
        source = f"--ratings {shlex.quote(options.ratings.name)}"
        for one in fields(FileArguments):
            value = getattr(options, one.name)
            if value != one.default:
                source += f" {_STAND.option(one.name, value)}"
    return (
        f"python -m bench.article {source} --seed {options.seed} --iterations {options.iterations}"
    )


def _print_point(point: Point) -> None:
    published = PUBLISHED["train_mse"].get(str(point["iteration"]))
    there, difference = "", ""
    if published:
        there = f"{published:.4f}"
        difference = f"{100 * (point['train_mse'] / published - 1):+.1f} %"
    wrong = "" if point["twice_mse"] is None else f"{point['twice_mse']:.4f}"
    train, validation = f"{point['train_mse']:.4f}", f"{point['validation_mse']:.4f}"
    _print(_ROW.format(point["iteration"], train, there, difference, validation, wrong))


def _print(text: str, file: TextIO | None = None) -> None:
    _status.clear()
    print(text, file=file, flush=True)


if __name__ == "__main__":
    command.run(main)
