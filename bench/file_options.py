"""The options of a command that say how a user's file of ratings is to be read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from bench.datasets import Duplicates, FileOptions
from bench.datasets.reading.options import NONE, SEPARATOR_NAMES, Source

_STAND = Source("--ratings", "command line")


def option(help: str, default: Any = None, **settings: Any) -> Any:
    """Return a dataclass field that is also a command-line option.

    ``settings`` are further arguments of `argparse.ArgumentParser.add_argument`.
    """
    return field(default=default, metadata={"help": help, "default": default, **settings})


def add_fields(
    add: Callable[..., object], owner: type, other_help: Mapping[str, str] | None = None
) -> None:
    """Add the fields of a dataclass to a command as options.

    Parameters
    ----------
    add
        ``add_argument`` of argparse's parser, or ``addoption`` of pytest's.
    owner
        A dataclass whose fields were made by `option`.
    other_help
        Help texts by field that replace the common ones.
    """
    for one in fields(owner):
        settings = dict(one.metadata)
        settings["help"] = (other_help or {}).get(one.name, settings["help"])
        add(f"--{one.name.replace('_', '-')}", **settings)


def _columns(text: str) -> tuple[str | int, ...]:
    names = [name.strip() for name in text.split(",")]
    return tuple(int(name) if name.isdecimal() else name for name in names)


def _separator(text: str) -> str:
    names = {name: separator for separator, name in SEPARATOR_NAMES.items()}
    return names.get(text, text.replace(r"\t", "\t"))


def _missing(text: str) -> float | Literal["none"]:
    if text == NONE:
        return "none"
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a number, such as -1, or none, got {text!r}"
        ) from None


def _texts(text: str) -> tuple[str, ...]:
    return () if text == NONE else tuple(text.split(","))


@dataclass(frozen=True)
class FileArguments:
    """How to read the file of ``--ratings``; None for an option that was not given."""

    columns: tuple[str | int, ...] | None = option(  # a call that returns a field
        "names or positions (from 0) of the columns of --ratings: user,item,rating[,time]",
        type=_columns,
        metavar="COLUMNS",
    )
    separator: str | None = option(
        "what separates the columns of --ratings; tab, space, comma, semicolon and pipe have names",
        type=_separator,
        metavar="TEXT",
    )
    header: bool | None = option(
        "whether the first line of --ratings names the columns (default: it is recognised)",
        action=argparse.BooleanOptionalAction,
    )
    encoding: str | None = option(
        "encoding of --ratings, such as latin-1 (default: UTF-8)", metavar="NAME"
    )
    decimal: str | None = option(
        "decimal separator of --ratings (default: it is recognised)", choices=(".", ",")
    )
    missing: float | Literal["none"] | None = option(
        "a number in --ratings that means 'not rated', such as -1; none: all are ratings",
        type=_missing,
        metavar="NUMBER",
    )
    missing_ids: tuple[str, ...] | None = option(
        "texts that stand for a missing id in --ratings unless quoted, with commas between them; "
        "none: all are ids (default: NULL, NaN, NA and the like)",
        type=_texts,
        metavar="TEXTS",
    )
    on_bad_rows: str = option(
        "what to do with rows of --ratings that cannot be read (default: error)",
        default="error",
        choices=("error", "drop"),
    )
    duplicates: Duplicates = option(  # noqa: RUF009
        "which rating counts if --ratings has several of a user and an item (default: last)",
        default="last",
        choices=get_args(Duplicates),
    )

    @property
    def file_options(self) -> FileOptions:
        """The options in the form that `bench.datasets.load_file` takes."""
        return FileOptions(
            columns=self.columns,
            separator=self.separator,
            header=self.header,
            encoding=self.encoding,
            decimal=self.decimal,
            missing_rating=self.missing,
            missing_ids=self.missing_ids,
            on_bad_rows="drop" if self.on_bad_rows == "drop" else "error",
        )

    def check_file_options(self, *, given: bool) -> None:
        """Raise ValueError for options that make no sense, or without the file they are about.

        ``given`` is whether there is such a file.
        """
        for one in fields(FileArguments):
            if getattr(self, one.name) != one.default and not given:
                raise ValueError(
                    f"--{one.name.replace('_', '-')} says how to read a file of your own: give "
                    "--ratings FILE with it"
                )
        self.file_options.check(_STAND)
