"""``python -m bench.article``: run the article, print its curve beside the published one, write the page."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import TextIO

from bench.datasets import DatasetError, RawRatings, anime_twin, read_ratings
from bench.text.progress import StatusLine

from .data import prepare
from .page import write_page
from .results import PUBLISHED, Point
from .run import run
from .tables import summary

_status = StatusLine()
_ROW = "{:>9}  {:>9}  {:>9}  {:>10}  {:>10}  {:>18}"


def main(arguments: list[str] | None = None) -> int:
    """Run everything and return the exit status: 2 for ratings that cannot be used or a folder not to be written."""
    parser = argparse.ArgumentParser(prog="python -m bench.article", description=main.__doc__)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--ratings", type=Path, metavar="FILE", help="the data set's rating.csv; -1 means not rated")
    source.add_argument("--scale", type=float, default=1.0, help="size of the anime twin (default: %(default)g)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the twin, the split and the start (default: %(default)s)"
    )
    parser.add_argument("--iterations", type=int, default=800, help="of the descent (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=Path("reports/article"), metavar="DIR", help="default: %(default)s"
    )
    options = parser.parse_args(arguments)
    for name, least in (("iterations", 1), ("seed", 0)):
        if getattr(options, name) < least:
            parser.error(f"argument --{name}: must be at least {least}, got {getattr(options, name)}")
    clock = time.perf_counter()
    try:
        options.output.mkdir(parents=True, exist_ok=True)  # rather fail now than after the run
        _status("reading the ratings" if options.ratings else "making the twin")
        data = prepare(*_read(options.ratings, options.scale, options.seed), options.seed)
        _print(f"{data.facts['name']}: {data.facts['n_train']:,} training, {data.facts['n_validation']:,} validation")
        _print(_ROW.format("iteration", "train", "published", "difference", "validation", "on the wrong pairs"))
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


def _read(path: Path | None, scale: float, seed: int) -> tuple[str, RawRatings]:
    if path is None:
        return f"anime twin x{scale:g}", anime_twin(scale, seed)
    return path.name, read_ratings(path, missing_rating=-1).without_duplicates()


def _command(options: argparse.Namespace) -> str:
    source = f"--ratings {shlex.quote(options.ratings.name)}" if options.ratings else f"--scale {options.scale:g}"
    return f"python -m bench.article {source} --seed {options.seed} --iterations {options.iterations}"


def _print_point(point: Point) -> None:
    published = PUBLISHED["train_mse"].get(str(point["iteration"]))
    difference = f"{100 * (point['train_mse'] / published - 1):+.1f} %" if published else ""
    errors = [f"{point['train_mse']:.4f}", f"{published:.4f}" if published else "", difference]
    errors += [f"{point['validation_mse']:.4f}", "" if point["twice_mse"] is None else f"{point['twice_mse']:.4f}"]
    _print(_ROW.format(point["iteration"], *errors))


def _print(text: str, file: TextIO | None = None) -> None:
    _status.clear()
    print(text, file=file, flush=True)


if __name__ == "__main__":
    sys.exit(main())
