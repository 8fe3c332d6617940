"""What the commands read and print: ratings, pairs, titles; lines, tables, or JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backends import FactorModel, Ratings
from bench.datasets import DatasetError, RawRatings, load_dataset
from bench.datasets.places import find_known
from bench.file_options import FileArguments, add_fields
from bench.text.files import written_whole

_INTEGER = re.compile("[+-]?[0-9]+")
_TITLES = ("title", "name", "titles", "names")


class CommandError(Exception):
    """Something that the user can mend; the message says how."""


def add_ratings(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Add a file of ratings, and how to read it, to a command."""
    parser.add_argument("ratings", metavar="RATINGS", help=help_text)
    add_fields(parser.add_argument, FileArguments)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the option that all commands have."""
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def read(options: argparse.Namespace) -> Ratings:
    """Return the ratings of a file, or of a data set that is known by name.

    Raises
    ------
    DatasetError, RatingsError
        If they cannot be read.
    """
    path, names = Path(options.ratings), [each.name for each in dataclasses.fields(FileArguments)]
    settings = FileArguments(**{name: getattr(options, name) for name in names})
    if path.exists():
        from bench.datasets.reading.readers import read_file

        settings.check_file_options(given=True)
        raw = read_file(path, settings.file_options, "command line")
        raw = raw.without_duplicates(settings.duplicates)
    elif path.suffix or len(path.parts) > 1:
        raise DatasetError(f"there is no file {path}")
    else:
        settings.check_file_options(given=False)
        raw = _known(options.ratings)
    return Ratings.from_arrays(raw.users, raw.items, raw.ratings)


def _known(name: str) -> RawRatings:
    if name != "twin":
        try:
            find_known(name)
        except DatasetError as error:  # which says what could be meant instead
            said = str(error).partition(" python -m")[0]
            raise DatasetError(
                f"there is no file {name}, and {said} factorbench data list shows all"
            ) from None
    return load_dataset(name, split="random").raw  # all of them, not an official training part


def load_model(path: Path) -> FactorModel:
    """Return a saved model.

    Raises
    ------
    CommandError
        If there is no such file.
    ModelFileError
        If it cannot be read.
    """
    try:
        return FactorModel.load(path)
    except FileNotFoundError:
        raise CommandError(
            f"there is no file {path}; factorbench fit RATINGS -o {path} makes one"
        ) from None


def ids_of(model: FactorModel, side: str, texts: Sequence[str]) -> list[Any]:
    """Return ids given at the command line as the model has them.

    Raises
    ------
    CommandError
        For text where the model has integers.
    """
    if _has_texts(model, side):
        return list(texts)
    wrong = [text for text in texts if not _INTEGER.fullmatch(text)]
    if wrong:
        raise CommandError(f"{side} ids of this model are integers, got {wrong[0]!r}")
    return [int(text) for text in texts]


def _has_texts(model: FactorModel, side: str) -> bool:
    labels = model.encoder.labels if model.encoder else None
    return labels is not None and labels[side == "item"].kind == "text"


def read_table(path: Path) -> pd.DataFrame:
    """Return a table of a CSV, TSV or Parquet file.

    Raises
    ------
    CommandError
        If it cannot be read.
    """
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
        separator = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise CommandError(f"there is no file {path}") from None
    except Exception as error:  # pandas and pyarrow raise errors of many kinds
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise CommandError(f"{path} cannot be read as a table: {reason}") from error


def columns_of(
    path: Path, table: pd.DataFrame, given: str | None, usual: Sequence[str], option: str
) -> list[str]:
    """Return names of columns: those given, the usual ones, or else the first of the table.

    Raises
    ------
    CommandError
        If the table lacks one of them.
    """
    names = list(map(str, table.columns))
    wanted = given.split(",") if given else list(usual)
    if not given and not set(wanted) <= set(names):
        wanted = names[: len(usual)]
    lacking = [name for name in wanted if name not in names]
    if lacking or len(wanted) != len(usual):
        raise CommandError(
            f"{path} has the columns {', '.join(names)}; name {len(usual)} of them by {option} "
            f"{','.join(usual)}"
        )
    return wanted


def column_ids(model: FactorModel, side: str, path: Path, column: pd.Series[Any]) -> Any:
    """Return a column of ids as the model has them.

    Raises
    ------
    CommandError
        For text where the model has integers; the message names the row.
    """
    if _has_texts(model, side):
        return column.astype(str)
    if column.dtype.kind in "iu":
        return column
    ids = []
    for row, value in enumerate(column.tolist()):
        # As `fit` reads them: 1.0 is 1.
        found = _INTEGER.fullmatch(str(value).strip().removesuffix(".0"))
        if found is None or not -(2**63) <= int(found[0]) < 2**64:
            raise CommandError(
                f"{path}, row {row + 1}: {side} ids of this model are integers, got {value!r}"
            )
        ids.append(int(found[0]))
    return pd.Series(ids, dtype="uint64" if max(ids, default=0) >= 2**63 else "int64")


def titles_of(model: FactorModel, path: Path | None, given: str | None) -> dict[Any, str]:
    """Return titles by raw id of the item; none without a file."""
    if path is None:
        return {}
    table = read_table(path)
    names = list(map(str, table.columns))
    named = next((name for name in names[1:] if name.lower() in _TITLES), None)
    usual = [names[0], named or names[min(1, len(names) - 1)]]
    id_name, title_name = columns_of(path, table, given, usual, "--title-columns")
    ids = column_ids(model, "item", path, table[id_name])
    return dict(zip(ids.tolist(), table[title_name].astype(str).tolist(), strict=True))


def write_table(table: pd.DataFrame, path: Path | None) -> None:
    """Write a table to a CSV or Parquet file, which appears whole, or to standard output as CSV."""
    if path is None:
        table.to_csv(sys.stdout, index=False)
        return
    with written_whole(path) as file:
        if path.suffix.lower() in (".parquet", ".pq"):
            table.to_parquet(file, index=False)
        else:
            separator = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
            file.write(table.to_csv(index=False, sep=separator).encode())


def answer(options: argparse.Namespace, facts: Any, lines: Sequence[str]) -> None:
    """Print facts as JSON where that was asked for, and otherwise lines of text."""
    if options.json:
        print(json.dumps(facts, default=_plain))
    else:
        print("\n".join(lines))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)
