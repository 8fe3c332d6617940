"""Small files and tables of every format, and what can happen to them."""

from __future__ import annotations

import gzip
import io
import os
import random
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse

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
NASTY = (
    *("", "\0", '"', '""', "\n", "\r", "\r\n", "\n\n", ",", "\t", "::", ";", " "),
    *("-1", "0", "007", "nan", "inf", "1e999", "9" * 40),
    *("-9223372036854775808", "18446744073709551615", "1_0", "0x1F", "+5", "4,5", ".", "NA"),
    *("2016-13-45", "user", "rating", "x" * 300, "\x1f", "\x1a", "\ufeff", "\u00e9", "\U0001f600"),
)  # fmt: skip


def sources(more: Path | None = None) -> list[bytes]:
    """Small files of every format, with real ratings where there are any, and those of a folder."""
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
    found = [file.read_bytes() for file in sorted(more.iterdir())] if more else []
    return texts * 3 + packed + typed() + found


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
        matrix = scipy.sparse.csr_array(rng.random((20, 30)) * (rng.random((20, 30)) < 0.1))
        scipy.sparse.save_npz(buffer, matrix.asformat(layout), compressed=layout == "csr")
        out.append(buffer.getvalue())
    return out


def packed(data: bytes, rng: random.Random) -> bytes:
    """Return a text compressed in some way, mostly not at all."""
    kind = rng.randrange(20)
    if kind == 0:
        return gzip.compress(data, 1)
    return zipped("a/b.csv", data) if kind == 1 else data


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


def wild_options(rng: random.Random) -> dict[str, Any]:
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
