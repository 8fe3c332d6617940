"""Damaged files of every format against the readers.

Nothing but DatasetError may escape, and nothing invalid may be returned.

    python tests/fuzz_readers.py --cases 100000 --seed 0

Not collected by pytest; tests/datasets/test_readers_round_trip.py runs a few hundred cases of it.
A case depends on its number and the seed alone, so ``--first N --cases 1`` repeats a failure. If
RATINGS_DATA is set, its real files are used.
"""

import argparse
import gzip
import io
import os
import random
import re
import resource
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse

from backends import Ratings
from bench.datasets import DatasetError, RawRatings, from_frame, read_ratings
from bench.datasets.reading import blocks

REAL_TEXTS = (
    "anime-slice/rating.csv",
    "anime-5k/ratings.tsv",
    "ml-100k/u.data",
    "ml-latest-small/ratings.csv",
)
QUOTED = (
    "user,item,title,rating,date\r\n"
    '007,"b ""x""","a, b\n c",4.5,2016-01-02\r\n'
    "ann,\u00e9,,3,2016-01-02 10:00:00\r\n"
)
OUR_MISTAKES = (
    AttributeError,
    NameError,
    AssertionError,
    IndexError,
    KeyError,
    TypeError,
    UnboundLocalError,
)
NASTY = (
    *("", "\0", '"', '""', "\n", "\r", "\r\n", "\n\n", ",", "\t", "::", ";", " "),
    *("-1", "0", "007", "nan", "inf", "1e999", "9" * 40),
    *("-9223372036854775808", "18446744073709551615", "1_0", "0x1F", "+5", "4,5", ".", "NA"),
    *("2016-13-45", "user", "rating", "x" * 300, "\x1f", "\x1a", "\ufeff", "\u00e9", "\U0001f600"),
)  # fmt: skip


def sources() -> list[bytes]:
    """Small files of every format, with real ratings where there are any."""
    folder = os.environ.get("RATINGS_DATA")
    texts = [
        QUOTED.encode(),
        b"user,item,rating\n1,2,3\n4,5,6\n" * 1,
        b"".join(b"%d,%d,4\n" % (n, n) for n in range(40)),
    ]
    for name in REAL_TEXTS if folder else ():
        with open(os.path.join(str(folder), name), "rb") as file:
            texts.append(b"".join(file.readline() for _ in range(25)))
    texts += [
        texts[-1].replace(b"\t", b"::"),
        texts[0].replace(b",", b";"),
        texts[-1].replace(b",", b" "),
    ]
    packed = [
        gzip.compress(texts[-2]),
        pa.compress(texts[-3], codec="zstd", asbytes=True),
        zipped("r.csv", texts[-1]),
    ]
    return texts * 3 + packed + typed()


def typed() -> list[bytes]:
    """Files whose columns have types."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(-5, 99, 60), rng.integers(0, 9, 60).astype(str)
    frame = pd.DataFrame(
        {"userId": users, "movieId": items, "rating": rng.random(60), "timestamp": users * 1000}
    )
    out = []
    for write in (frame.to_parquet, frame.to_feather):
        buffer = io.BytesIO()
        write(buffer)
        out.append(buffer.getvalue())
    buffer = io.BytesIO()
    np.savez_compressed(buffer, users=users, items=items.astype("U3"), ratings=rng.random(60))
    out.append(buffer.getvalue())
    for layout in ("csr", "coo", "csc"):
        buffer = io.BytesIO()
        matrix = scipy.sparse.random_array((20, 30), density=0.1, rng=rng).asformat(layout)
        scipy.sparse.save_npz(buffer, matrix, compressed=layout == "csr")
        out.append(buffer.getvalue())
    return out


def zipped(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def mutated(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Apply one damage of a dozen kinds."""
    at, n = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 5, 20))
    lines = data.split(b"\n")
    line = rng.randrange(len(lines))
    kind = rng.choices(range(12), (1, 1, 2, 4, 1, 2, 5, 3, 2, 2, 1, 1))[0]
    if kind == 0:  # bytes flipped
        changed = bytearray(data)
        for _ in range(n if changed else 0):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + data[at + n :]
    if kind == 3:
        return data[:at] + rng.choice(NASTY).encode() + data[at:]
    if kind == 4:
        return data[:at] + rng.randbytes(n) + data[at:]
    if kind == 5:  # a line cut
        lines[line] = lines[line][: rng.randrange(len(lines[line]) + 1)]
    elif kind == 6:  # a field replaced
        fields = re.split(rb"([,;\t ]|::)", lines[line])
        fields[rng.randrange(len(fields))] = rng.choice(NASTY).encode()
        lines[line] = b"".join(fields)
    elif kind == 7:  # fields swapped
        fields = lines[line].split(b",")
        rng.shuffle(fields)
        lines[line] = b",".join(fields)
    elif kind == 8:
        lines.insert(line, rng.choice(lines))
    elif kind == 9:  # formats mixed up
        other = rng.choice(others)
        return data[:at] + other[rng.randrange(len(other)) :]
    elif kind == 10:
        return rng.choice(
            (
                gzip.compress(data, 1),
                zipped("a/b.csv", data),
                b"\xef\xbb\xbf" + data,
                data.replace(b"\n", b"\r"),
            )
        )
    else:
        return data[at:] + data[:at]
    return b"\n".join(lines)


def options(rng: random.Random) -> dict[str, Any]:
    """Some of the reader's options, mostly none."""
    choices: dict[str, list[Any]] = {
        "on_bad_rows": ["error", "drop", "drop"],
        "missing_rating": [None, -1, 3.0],
        "columns": [
            *[None] * 16, (0, 1, 2), (1, 0, 2), ("userId", "movieId", "rating"),
            (0, 1, 9), ("x",), (0, 1, 3),
        ],
        "header": [None] * 8 + [True, False],
        "separator": [None] * 20 + [",", "\t", "::", "", "\n"],
        "encoding": [None] * 60 + ["latin-1", "utf-16", "utf-8", "cp1252", "no-such"],
    }  # fmt: skip
    return {name: rng.choice(values) for name, values in choices.items()}


def run_case(number: int, seed: int, files: list[bytes], path: Path) -> str:
    """Read one damaged file, and return what became of it.

    Raises
    ------
    AssertionError
        For anything but valid ratings or a deliberate DatasetError.
    """
    rng = random.Random(f"{seed}/{number}")
    data = rng.choice(files)
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        data = mutated(data, rng, files)
    path.write_bytes(data)
    chosen = options(rng)
    try:
        if rng.random() < 0.03:
            raw = from_frame(
                damaged_frame(rng),
                on_bad_rows=chosen["on_bad_rows"],
                missing_rating=chosen["missing_rating"],
            )
            data = b'"'  # nothing to compare line counts with
        else:
            with mock.patch.object(blocks, "BLOCK_BYTES", rng.choice((250, 1 << 24))):
                raw = read_ratings(path, **chosen)
    except DatasetError as error:
        cause = error.__cause__
        if isinstance(cause, OUR_MISTAKES):
            culprit = traceback.extract_tb(cause.__traceback__)[-1].filename
            assert "datasets" not in culprit, f"case {number}: {cause!r} in {culprit}"
        assert len(str(error)) < 4000, f"case {number}: an error of {len(str(error))} characters"
        return "refused" if cause is None else f"refused ({type(cause).__name__})"
    check(raw, chosen, number)
    check_no_row_vanished(raw, data, chosen, number)
    return "read"


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


def damaged_frame(rng: random.Random) -> pd.DataFrame:
    """A data frame with columns of all sorts."""
    odd = (True, b"x", pd.Timestamp(0), [1], "7", 1e300)
    sorts: list[Any] = [1, "a", "", None, float("nan"), 2.5, 2**63, -1, *odd]
    few = [
        sorts[:1],
        sorts[:2],
        sorts[3:6],
        sorts[:1] + sorts[6:8],
        [1, 2, None],
        ["a", "b"],
        sorts,
    ]
    columns = ["user", "item", "rating", *rng.choice(([], ["timestamp"], ["x", "y"], ["item"]))]
    values = [[rng.choice(kind) for _ in range(8)] for kind in (rng.choice(few) for _ in columns)]
    frame = pd.concat([pd.Series(column) for column in values], axis=1)
    frame.columns = pd.Index(columns if rng.random() < 0.9 else range(len(columns)))
    return frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    outcomes, failures, files, start = Counter[str](), 0, sources(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.first, arguments.first + arguments.cases):
            try:
                outcomes[run_case(number, arguments.seed, files, Path(folder) / "ratings.csv")] += 1
            except Exception:  # a finding, whatever it is: show it and go on
                failures += 1
                print(f"case {number}:\n{traceback.format_exc()}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    seconds = time.perf_counter() - start
    print(
        f"{arguments.cases:,} cases in {seconds:.0f} s, {failures} findings, peak memory {peak} MiB"
    )
    for outcome, n in outcomes.most_common():
        print(f"{n:9,} {outcome}")
    raise SystemExit(failures > 0)


if __name__ == "__main__":
    main()
