"""The command `python -m bench.datasets`: lists, describes and fetches public data sets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench.datasets.public.counts import in_words
from bench.datasets.public.known import KNOWN
from bench.text import command

from .errors import DatasetError
from .places import fetch_dataset, find_file, find_known, how_to_get, size_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    It is 2 after an error, which is one line on standard error, and 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bench.datasets",
        description="Public data sets of ratings: list them, describe one, download one.",
        epilog="Data is read from $RATINGS_DATA/NAME/ or, if it is not there, from the cache: "
        "$FACTORBENCH_CACHE or the user's cache folder.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "list", help="list all data sets with their sizes, and whether they are on this machine"
    )
    info = commands.add_parser(
        "info", help="describe a data set: source, counts, terms, citation, splits"
    )
    info.add_argument("name", metavar="NAME")
    fetch = commands.add_parser(
        "fetch", help="download a data set into the cache, and show its terms"
    )
    fetch.add_argument("name", metavar="NAME")
    options = parser.parse_args(arguments)
    try:
        if options.command == "list":
            show_all()
        elif options.command == "info":
            show_one(options.name)
        else:
            fetch_and_show(options.name)
    except (DatasetError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: no partial file is left; run the command again", file=sys.stderr)
        return 130
    return 0


def show_all() -> None:
    """Print a table of all data sets."""
    rows = [("name", "ratings", "users", "items", "download", "here")]
    for name, known in KNOWN.items():
        ratings, users, items = (in_words(count) for count in known.counts[:3])
        size = size_of(known) if known.sources else "-"
        rows.append((name, ratings, users, items, size, _here(name)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells, here in rows:
        padded = zip(cells, widths[1:-1], strict=True)
        numbers = "  ".join(cell.rjust(width) for cell, width in padded)
        print(f"{name.ljust(widths[0])}  {numbers}  {here}")


def show_one(name: str) -> None:
    """Print what is known of a data set."""
    known = find_known(name)
    ratings, users, items = (in_words(count) for count in known.counts[:3])
    cited = known.counts.cited or "no source found"
    lines = [
        (name, known.describe),
        ("counts", f"{ratings} ratings, {users} users, {items} items ({cited})"),
        ("splits", f"official {', '.join(known.folds)}" if known.folds else "none of its own"),
        ("terms", known.licence),
        ("cite", known.citation),
        ("page", known.page),
    ]
    for source in known.sources:
        lines += [("file", url) for url in source.urls]
        if source.checksum:
            lines.append(("checksum", f"{source.checksum} ({source.cited})"))
        else:
            lines.append(("checksum", "none known: that of the first download is remembered"))
    here = _here(name)
    lines.append(("here", here))
    if here == "no":
        lines.append(("", how_to_get(name)))
    width = max(len(label) for label, _ in lines)
    for label, text in lines:
        print(f"{label.ljust(width)}  {text}")


def fetch_and_show(name: str) -> None:
    """Download a data set; print its folder, its terms and its citation."""
    known = find_known(name)
    file = fetch_dataset(name, progress=sys.stderr.isatty())
    print(f"{name} is in {file.parent}\nterms  {known.licence}\ncite   {known.citation}")


def _here(name: str) -> str:
    """Return the folder of a data set on this machine, or "no"."""
    try:
        return str(find_file(name, KNOWN[name].files).parent)
    except DatasetError:
        return "no"


if __name__ == "__main__":
    command.run(main)
