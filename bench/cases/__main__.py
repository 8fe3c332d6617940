"""``python -m bench.reference``: compute the reference of a data set again and print it."""

from __future__ import annotations

import argparse
import json

from backends import Objective
from bench.datasets import load_dataset
from bench.text import command
from bench.text.progress import StatusLine

from .encode import encode
from .reference import as_stored, best_objective, compute_reference, keep


def main() -> None:
    """Compute the reference of a data set again and print it; with --keep, store it as well."""
    parser = argparse.ArgumentParser(prog="python -m bench.reference", description=main.__doc__)
    parser.add_argument("--dataset", default="twin")
    parser.add_argument(
        "--scale", type=float, default=0.2, help="size of the twin; 1 is 6.3 million ratings"
    )
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0, help="seed of the data and its split")
    parser.add_argument(
        "--keep", action="store_true", help="store it in the project's references.json"
    )
    options = parser.parse_args()

    try:
        data = encode(load_dataset(options.dataset, seed=options.seed, scale=options.scale))
        Objective(options.rank)
    except ValueError as error:
        parser.error(str(error))
    notify = StatusLine()
    best = best_objective(data.train, data.validation, options.rank, notify)
    reference = compute_reference(data.train, data.validation, data.test, best, notify)
    entry = as_stored(data.hash, options.rank, best, reference)
    notify.clear()
    print(json.dumps(entry, indent=1))
    if options.keep:
        keep(entry)


if __name__ == "__main__":
    command.run(main)
