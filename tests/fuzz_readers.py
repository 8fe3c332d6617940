"""Damaged files of every format against the readers.

Nothing but DatasetError may escape, nothing invalid may be returned, and what is read must be what
`reading_oracle` finds in the same bytes. Besides: the size of blocks changes nothing, and the same
rows in another order of columns or in another format are the same ratings.

    python tests/fuzz_readers.py --cases 100000 --seed 0 --folder more/small/files

Not collected by pytest; tests/datasets/test_readers_round_trip.py runs a few hundred cases of it.
A case depends on its number and the seed alone, so ``--first N --cases 1`` repeats a failure, and
``--keep FOLDER`` stores the files of failures. If RATINGS_DATA is set, its real files are used; the
files of ``--folder`` are damaged too.
"""

import argparse
import io
import random
import re
import resource
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.feather
import pyarrow.parquet
import reading_sources
from reading_damage import damaged_frame, mutated, packed, sources, wild_options
from reading_oracle import Stated, text_readings
from reading_rules import CannotTell, Rows, difference, table_rows

from backends import Ratings
from bench.datasets import DatasetError, RawRatings, from_frame, read_ratings
from bench.datasets.reading import blocks, text

# A field in quotes, of which some are doubled.
QUOTED = re.compile(rb'(?:\A|(?<=[\t,;| \r\n]))"(?:[^"]|"")*+"(?=[\t,;| \r\n]|\Z)')
OUR_MISTAKES = (
    AttributeError,
    NameError,
    AssertionError,
    IndexError,
    KeyError,
    TypeError,
    UnboundLocalError,
)


class Case(NamedTuple):
    """One file and how it is read."""

    data: bytes
    options: dict[str, Any]
    stated: Stated | None = None  # of a text
    kind: str = ""  # of columns with types


NO_OPTIONS: dict[str, Any] = dict.fromkeys(
    ("columns", "separator", "header", "encoding", "decimal", "missing_rating", "missing_ids")
)


def case(number: int, seed: int, files: list[bytes]) -> Case:
    """Return the file of a number, damaged or not."""
    rng = random.Random(f"{seed}/{number}")
    wild = {**NO_OPTIONS, **wild_options(rng)}
    mild = {
        **NO_OPTIONS,
        "on_bad_rows": wild["on_bad_rows"],
        "missing_rating": rng.choice((None, "none", "none", "none", -1, 3.0)),
    }
    sort = rng.random()
    if sort < 0.3:
        data = rng.choice(files)
        for _ in range(rng.choice((1, 1, 2, 3, 5))):
            data = mutated(data, rng, files)
        return Case(data, wild)
    if sort < 0.45:
        data, kind = reading_sources.table_document(reading_sources.frame(rng), rng)
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            data = mutated(data, rng, files)
        return Case(data, mild, kind=kind)
    known = reading_sources.real().documents
    if known and sort < 0.6:
        document = rng.choice(known)
    else:
        document = reading_sources.text_document(reading_sources.frame(rng), rng)
    data, stated = document.data, document.stated
    for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 3))):
        data = mutated(data, rng, files)
    chosen = {**(mild if rng.random() < 0.9 else wild), **document.options}
    for name in ("header", "separator", "decimal"):
        if rng.random() < 0.1:
            chosen[name] = getattr(stated, name)
    return Case(packed(data, rng), chosen, stated)


def run_case(number: int, seed: int, files: list[bytes], path: Path) -> str:
    """Read one damaged file, and return what became of it.

    Raises
    ------
    AssertionError
        For anything but valid ratings or a deliberate DatasetError, and for other ratings than
        those in the file.
    """
    rng = random.Random(f"{number}/{seed}")
    if (sort := rng.random()) < 0.02:
        outcome = attempt(lambda: from_frame(damaged_frame(rng), on_bad_rows="drop"), number)
        if isinstance(outcome, RawRatings):
            check(outcome, {"missing_rating": None}, number)
        return "a frame" if isinstance(outcome, RawRatings) else "a frame, refused"
    if sort < 0.1:
        return check_twins(number, rng, path)
    one = case(number, seed, files)
    path.write_bytes(one.data)
    raw = attempt(lambda: read(path, one.options), number)
    wide = one.data[:2] in (b"\xff\xfe", b"\xfe\xff")  # UTF-16, of which a block has half as much
    if rng.random() < 0.25 and not wide:
        check_blocks(path, one, number)
    if isinstance(raw, DatasetError):
        cause = raw.__cause__
        untouched = "" if cause is None else f" ({type(cause).__name__})"
        return f"refused{untouched}"
    check(raw, one.options, number)
    if not one.kind:
        check_no_row_vanished(raw, one.data, one.options, number)
    return judged(raw, one, number)


def attempt(reading: Callable[[], RawRatings], number: int) -> RawRatings | DatasetError:
    """Return ratings, or the deliberate error."""
    try:
        return reading()
    except DatasetError as error:
        cause = error.__cause__
        if isinstance(cause, OUR_MISTAKES):
            culprit = traceback.extract_tb(cause.__traceback__)[-1].filename
            assert "datasets" not in culprit, f"case {number}: {cause!r} in {culprit}"
        assert len(str(error)) < 4000, f"case {number}: an error of {len(str(error))} characters"
        return error


def read(
    path: Path, chosen: dict[str, Any], block: int = 1 << 24, sample: int = 1 << 16
) -> RawRatings:
    with (
        mock.patch.object(blocks, "BLOCK_BYTES", block),
        mock.patch.object(text, "SAMPLE_BYTES", sample),
    ):
        return read_ratings(path, **chosen)


def judged(raw: RawRatings, one: Case, number: int) -> str:
    """Return whether ratings that were read are those in the file.

    Raises
    ------
    AssertionError
        If no reading of the file gives them, or if two other libraries agree that they are others.
    """
    drop, sentinel = one.options["on_bad_rows"] == "drop", one.options["missing_rating"]
    readings: Iterable[Rows] = ()
    if one.kind:
        readings = table_readings(one)
    elif one.stated is not None:
        readings = text_readings(one.data, one.stated, one.options)
    whys = []
    try:
        whys += [difference(raw, rows, drop=drop, sentinel=sentinel) for rows in readings]
    except CannotTell as reason:
        return f"read, the oracle cannot tell: {reason}"
    if not whys:
        return "read, no oracle"
    others = whys[1:]
    wrong = all(whys) or (len(others) > 1 and all(others) and len(set(others)) == 1)
    assert not wrong, f"case {number}: {whys}, options {one.options}, {one.stated}"
    if any(whys):
        return "read, agreed with some of several readings"
    return f"read, agreed with {len(whys)} readings"


def table_readings(one: Case) -> Iterator[Rows]:
    """Yield the rows that other libraries find in a file whose columns have types."""
    file, libraries = io.BytesIO(one.data), []
    if one.kind == "npz":
        libraries = [lambda: {name: column.tolist() for name, column in np.load(file).items()}]
    elif one.kind == "stream":
        libraries = [lambda: pl.read_ipc_stream(file).to_dict(as_series=False)]
    elif one.kind == "feather":
        libraries = [
            lambda: pyarrow.feather.read_table(file).to_pydict(),
            lambda: pl.read_ipc(one.data).to_dict(as_series=False),
        ]
    else:
        libraries = [
            lambda: pyarrow.parquet.read_table(file).to_pydict(),
            lambda: pl.read_parquet(one.data).to_dict(as_series=False),
        ]
    for library in libraries:
        try:
            columns = library()
        except BaseException as error:  # polars panics, which is no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            continue
        for names in reading_sources.NAMES:
            wanted = [columns[name] for name in names if name in columns]
            if names[:3] == tuple(names[n] for n in range(3) if names[n] in columns):
                yield table_rows(wanted)
                break


def check_blocks(path: Path, one: Case, number: int) -> None:
    """Assert that small blocks give what large ones give, from the same beginning of the file.

    A block ends outside quotes, if all quotes are around fields. Otherwise it may end inside of
    them, and the halves of a row are bad rows.
    """
    if b'"' in QUOTED.sub(b"", path.read_bytes()):
        return
    large, small = (
        attempt(lambda size=size: read(path, one.options, size, 400), number)
        for size in (1 << 24, 400)
    )
    # The beginning of a file must have no NUL, a line is whole, and a quote can end a block.
    refusals = [str(one) for one in (large, small) if isinstance(one, DatasetError)]
    if re.search("NUL byte|is longer than|quote is opened", " ".join(refusals)):
        return
    why = other_outcome(large, small)
    assert not why, f"case {number}: small blocks give {why}, options {one.options}"


def other_outcome(one: RawRatings | DatasetError, two: RawRatings | DatasetError) -> str:
    """Return in what way the second of two readings differs from the first; "" if it does not."""
    if isinstance(one, DatasetError) or isinstance(two, DatasetError):
        same = isinstance(one, DatasetError) and isinstance(two, DatasetError)
        return "" if same else f"{two!r:.500} after {one!r:.500}"
    for name, left, right in zip(one._fields, one, two, strict=True):
        if name == "dropped" or left is None or right is None:
            if left != right:
                return f"{name}: {right} after {left}"
        elif left.tolist() != right.tolist() or left.dtype.kind != right.dtype.kind:
            return f"{name}: {right} after {left}"
    return ""


def check_twins(number: int, rng: random.Random, path: Path) -> str:
    """Assert that the same rows give the same ratings in two texts and in a table."""
    columns = reading_sources.frame(rng)
    chosen = {
        **NO_OPTIONS,
        "on_bad_rows": rng.choice(("error", "drop")),
        "missing_rating": rng.choice(("none", -1)),
        "missing_ids": rng.choice((None, ())),
    }
    outcomes = []
    for data, more in reading_sources.twins(columns, rng):
        path.write_bytes(data)
        outcomes.append(attempt(lambda more=more: read(path, {**chosen, **more}), number))
    # In a text, a line end in an id is an open quote.
    outcomes = [one for one in outcomes if "quote is opened" not in str(one)]
    for other in outcomes[1:]:
        why = other_outcome(outcomes[0], other)
        assert not why, f"case {number}: the same rows otherwise give {why}; options {chosen}"
    is_refused = not outcomes or isinstance(outcomes[0], DatasetError)
    return "the same ratings in several files" + (", all refused" if is_refused else "")


def check(raw: RawRatings, chosen: dict[str, Any], number: int) -> None:
    """Assert that ratings are valid."""
    n = len(raw.ratings)
    assert n == len(raw.users) == len(raw.items) > 0, number
    assert raw.ratings.dtype == np.float64, number
    assert np.isfinite(raw.ratings).all(), number
    assert chosen["missing_rating"] not in raw.ratings, number
    assert raw.timestamps is None or (
        len(raw.timestamps) == n and not pd.isna(raw.timestamps).any()
    ), number
    for ids in (raw.users, raw.items):
        strings = isinstance(ids, pd.Categorical) and all(
            type(value) is str and value and "\0" not in value for value in ids.tolist()
        )
        assert strings or ids.dtype in (np.int64, np.uint64), (number, ids)
    assert all(type(count) is int and count > 0 for count in raw.dropped.values()), (
        number,
        raw.dropped,
    )
    assert len(Ratings.from_arrays(raw.users, raw.items, raw.ratings, duplicates="last")) <= n, (
        number
    )


def check_no_row_vanished(
    raw: RawRatings, data: bytes, chosen: dict[str, Any], number: int
) -> None:
    """Assert that every line of a plain text is returned, counted as dropped, empty or a header."""
    packed = not data[:1].isalnum() or data.startswith((b"PAR1", b"ARROW1", b"PK", b"BZh"))
    if packed or b'"' in data or b"\0" in data or chosen["encoding"]:
        return
    lines = [line for line in re.split(rb"\r\n|\n|\r", data) if line.strip(b" \t")]
    assert len(lines) - len(raw.ratings) - sum(raw.dropped.values()) in (0, 1), (
        number,
        raw.dropped,
        len(lines),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="more files to damage")
    parser.add_argument("--keep", type=Path, help="where to store the files of failures")
    given = parser.parse_args()
    outcomes, failures, start = Counter[str](), 0, time.perf_counter()
    files = sources(given.folder)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.csv"
        for number in range(given.first, given.first + given.cases):
            try:
                outcomes[run_case(number, given.seed, files, path)] += 1
            except Exception:  # a finding, whatever it is: show it and go on
                failures += 1
                print(f"case {number}:\n{traceback.format_exc(limit=-2)}", flush=True)
                if given.keep:
                    given.keep.mkdir(parents=True, exist_ok=True)
                    (given.keep / f"{given.seed}-{number}").write_bytes(path.read_bytes())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    seconds = time.perf_counter() - start
    print(f"{given.cases:,} cases in {seconds:.0f} s, {failures} findings, peak memory {peak} MiB")
    for outcome, n in outcomes.most_common():
        print(f"{n:9,} {outcome}")
    raise SystemExit(failures > 0)


if __name__ == "__main__":
    main()
