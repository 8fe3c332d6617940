"""What the user states about a file, and how advice names these options where the user stands."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Literal, NamedTuple, cast

from bench.datasets.errors import DatasetError

Columns = Sequence[str | int]
OnBadRows = Literal["error", "drop"]
Stand = Literal["python", "command line", "data set"]

# What stands for a missing id in text unless quoted; the empty text always does.
MISSING_IDS = (
    "NULL",
    "null",
    "Null",
    r"\N",
    "NaN",
    "nan",
    "NA",
    "<NA>",
    "N/A",
    "n/a",
    "#N/A",
    "None",
)
NONE = "none"

# Separators by a name that needs no quotes at the command line.
SEPARATOR_NAMES = {"\t": "tab", " ": "space", ";": "semicolon", "|": "pipe", ",": "comma"}

_AT_COMMAND_LINE = {"missing_rating": "missing"}  # options with another name there


class Source(NamedTuple):
    """The file or frame that is read, for errors: its name, and where the user stands."""

    name: str
    stand: Stand = "python"

    def __str__(self) -> str:
        return self.name

    def advice(self, sentence: str, **options: Any) -> str:
        """Return a sentence whose ``{}`` are options in the spelling that works for the user.

        >>> Source("mine.csv", "command line").advice("Correct it, or {}", on_bad_rows="drop")
        'Correct it, or give --on-bad-rows drop'

        The user of a data set that is known by its name can give no options.
        """
        if self.stand == "data set":
            return "Get the original file of the data set"
        text = sentence.format(*(self.how(*one) for one in options.items()))
        return text[0].upper() + text[1:]

    def how(self, name: str, value: Any) -> str:
        """Return what to do for an option: "pass header=True" or "give --header"."""
        verb = "give" if self.stand == "command line" else "pass"
        return f"{verb} {self.option(name, value)}"

    def option(self, name: str, value: Any) -> str:
        """Return an option with its value as the user would write it."""
        if self.stand != "command line":
            return f"{name}={value!r}"
        name = _AT_COMMAND_LINE.get(name, name).replace("_", "-")
        if isinstance(value, bool):
            return f"--{'' if value else 'no-'}{name}"
        if isinstance(value, tuple):
            value = ",".join(map(str, value)) or NONE
        if name == "separator":
            value = SEPARATOR_NAMES.get(value, value)
        return f"--{name} {shlex.quote(str(value))}"


@dataclass(frozen=True)
class FileOptions:
    """What the user states about a file of ratings; None for what is to be recognised.

    `bench.datasets.read_ratings` explains each.
    """

    columns: Columns | None = None
    separator: str | None = None
    header: bool | None = None
    encoding: str | None = None
    decimal: str | None = None
    missing_rating: float | Literal["none"] | None = None
    missing_ids: Sequence[str] | None = None
    on_bad_rows: OnBadRows = "error"

    def check(self, source: Source) -> None:
        """Raise DatasetError for an option whose value makes no sense."""
        if self.on_bad_rows not in ("error", "drop"):
            raise DatasetError(f'on_bad_rows must be "error" or "drop", got {self.on_bad_rows!r}')
        missing = self.missing_rating
        is_number = isinstance(missing, Real) and not isinstance(missing, bool)
        is_none = missing is None or (isinstance(missing, str) and missing == NONE)
        if not (is_none or (is_number and math.isfinite(cast("float", missing)))):
            raise DatasetError(
                "missing_rating must be a number, such as -1, or 'none' if every number is a "
                f"rating, or None, got {missing!r}"
            )
        if self.separator is not None and not _can_separate(self.separator):
            raise DatasetError(
                f"{source.option('separator', self.separator)} must be one or more characters, but "
                "neither quotes nor line ends"
            )
        if self.decimal not in (None, ".", ","):
            raise DatasetError(f"decimal must be '.' or ',', got {self.decimal!r}")
        if self.decimal is not None and self.decimal == self.separator:
            raise DatasetError(
                f"{source.option('decimal', self.decimal)} and "
                f"{source.option('separator', self.separator)} exclude each other"
            )
        if not isinstance(self.header, bool | None):
            raise DatasetError(
                f"header must be True, False or None (to recognise it), got {self.header!r}"
            )
        ids = self.missing_ids
        if ids is not None and not (
            isinstance(ids, Sequence)
            and not isinstance(ids, str)
            and all(isinstance(text, str) and text.isprintable() for text in ids)
        ):
            raise DatasetError(
                f"missing_ids must be a tuple of texts, such as ('NULL', '?'), got {ids!r}"
            )
        try:
            if self.encoding is not None:
                "".encode(self.encoding)
        except (LookupError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{source.option('encoding', self.encoding)} is not an encoding that Python knows, "
                "such as latin-1"
            ) from error

    @property
    def drop_bad(self) -> bool:
        """Whether rows that cannot be read are left out and counted."""
        return self.on_bad_rows == "drop"

    @property
    def sentinel(self) -> float | None:
        """The rating that stands for "not rated", None if there is none or none is stated."""
        missing = self.missing_rating
        return None if missing is None or isinstance(missing, str) else float(missing)

    @property
    def missing_texts(self) -> Sequence[str]:
        """The texts that stand for a missing id unless they are quoted."""
        return MISSING_IDS if self.missing_ids is None else self.missing_ids

    def in_words(self) -> str:
        """Return the options that were stated, for records: "missing_rating -1; decimal ','"."""
        stated = []
        for option in fields(self):
            value = getattr(self, option.name)
            if value != option.default:
                stated.append(f"{option.name} {value!r}")
        return "; ".join(stated)


def _can_separate(separator: object) -> bool:
    if not isinstance(separator, str) or separator == "" or set(separator) & set('\r\n"\0'):
        return False
    return not any("\ud800" <= letter <= "\udfff" for letter in separator)
