"""Seconds and memory of reading and encoding ratings, beside pyarrow, polars and pandas.

    python tests/reading_speed.py --rows 5000000 --encode 20000000 --memory 100000000

The contenders take turns, and the medians of the rounds are printed as multiples of the first one.
Not collected by pytest: its figures depend on the machine and its load.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from backends import Ratings
from bench.datasets import read_ratings

N_USERS, N_ITEMS = 200_000, 60_000
_PART = 5_000_000  # rows that are generated at a time

_READ_AND_ENCODE = """
import resource, sys
from backends import Ratings
from bench.datasets import read_ratings
raw = read_ratings(sys.argv[1])
print(f"read {len(raw.ratings):,}", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
train = Ratings.from_arrays(*raw[:3], duplicates="last")
print("encoded", train, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000, help="rows of the files")
    parser.add_argument("--encode", type=int, default=20_000_000, help="ratings to encode")
    parser.add_argument("--memory", type=int, default=100_000_000, help="rows read for the memory")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.rows:
            compare_files(Path(folder), given.rows, given.rounds)
        if given.encode:
            compare_encoding(given.encode, given.rounds)
        if given.memory:
            measure_memory(Path(folder), given.memory)


def table_of(n: int, seed: int = 0) -> pa.Table:
    """Ratings with integer ids."""
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "userId": rng.integers(1, N_USERS, n),
            "movieId": rng.integers(1, N_ITEMS, n),
            "rating": rng.integers(1, 11, n) / 2,
            "timestamp": rng.integers(8 * 10**8, 15 * 10**8, n),
        }
    )


def with_texts(table: pa.Table) -> pa.Table:
    """The same ratings with ids of 28 and of 10 characters, such as Amazon's."""
    users = pa.array([f"AE{n * 7919 % 10**9:026d}" for n in range(N_USERS)])
    items = pa.array([f"B{n * 7919 % 10**9:09d}" for n in range(N_ITEMS)])
    taken = [users.take(table["userId"]), items.take(table["movieId"])]
    return table.set_column(0, "userId", taken[0]).set_column(1, "movieId", taken[1])


def compare(title: str, contenders: dict[str, Callable[[], Any]], rounds: int) -> None:
    """Print the median seconds of the contenders, which take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            result = run()
            seconds[name].append(time.perf_counter() - start)
            del result
    print(title)
    first = statistics.median(next(iter(seconds.values())))
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"  {name:44} {median:7.3f} s  {median / first:5.2f}", flush=True)


def compare_files(folder: Path, n: int, rounds: int) -> None:
    """Compare the readers on CSV and Parquet, of integer and of text ids."""
    numbers = table_of(n)
    _compare_formats(folder, numbers, "numbers", rounds)
    _compare_formats(folder, with_texts(numbers), "text ids", rounds)


def _compare_formats(folder: Path, table: pa.Table, kind: str, rounds: int) -> None:
    n, dictionaries = table.num_rows, ["userId", "movieId"] if kind == "text ids" else None
    text, columns = str(folder / "ratings.csv"), str(folder / "ratings.parquet")
    pyarrow.csv.write_csv(table, text, pyarrow.csv.WriteOptions(quoting_style="none"))
    pyarrow.parquet.write_table(table, columns)
    compare(
        f"CSV, {n:,} rows, {kind}",
        {
            "pyarrow.csv": lambda: pyarrow.csv.read_csv(text),
            "polars": lambda: pl.read_csv(text),
            "pandas": lambda: pd.read_csv(text),
            "read_ratings": lambda: read_ratings(text),
        },
        rounds,
    )
    compare(
        f"Parquet, {n:,} rows, {kind}",
        {
            "pyarrow": lambda: pyarrow.parquet.read_table(columns),
            "pyarrow, ids as dictionaries": lambda: pyarrow.parquet.read_table(
                columns, read_dictionary=dictionaries
            ),
            "polars": lambda: pl.read_parquet(columns),
            "pandas": lambda: pd.read_parquet(columns),
            "read_ratings": lambda: read_ratings(columns),
        },
        rounds,
    )


def coded_by_polars(frame: pl.DataFrame, code: Callable[[pl.Series], pl.Series]) -> pl.DataFrame:
    """Codes of users and items."""
    return pl.DataFrame({name: code(frame[name]) for name in ("userId", "movieId")})


def compare_encoding(n: int, rounds: int) -> None:
    """Compare the encoding of distinct pairs in random order."""
    rng = np.random.default_rng(0)
    pairs = rng.permutation(n) * (N_USERS * N_ITEMS // n)
    table = pa.table(
        {
            "userId": rng.permutation(N_USERS)[pairs // N_ITEMS],
            "movieId": rng.permutation(N_ITEMS)[pairs % N_ITEMS],
            "rating": rng.integers(1, 11, n) / 2,
        }
    )
    del pairs
    ways: dict[str, Callable[[pl.Series], pl.Series]] = {
        "integer ids": lambda ids: ids.rank("dense"),
        "text ids": lambda ids: ids.cast(pl.Categorical).to_physical(),
    }
    for kind, code in ways.items():
        frame = pl.from_arrow(table if kind == "integer ids" else with_texts(table))
        assert isinstance(frame, pl.DataFrame)
        _compare_codes(frame, kind, code, rounds)


def _compare_codes(
    frame: pl.DataFrame, kind: str, code: Callable[[pl.Series], pl.Series], rounds: int
) -> None:
    compare(
        f"encoding {len(frame):,} pairs, {kind}",
        {
            "polars, codes alone": lambda: coded_by_polars(frame, code),
            "polars, with a search for duplicates": lambda: (
                coded_by_polars(frame, code).is_duplicated().any()
            ),
            "pandas.factorize": lambda: [
                pd.factorize(frame[name].to_pandas()) for name in ("userId", "movieId")
            ],
            "Ratings.from_frame, which searches as well": lambda: Ratings.from_frame(
                frame, user="userId", item="movieId", rating="rating"
            ),
        },
        rounds,
    )


def measure_memory(folder: Path, n: int) -> None:
    """Print the peak memory of reading and encoding a Parquet file, in gigabytes."""
    path = folder / "large.parquet"
    schema = table_of(1).schema
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for seed, start in enumerate(range(0, n, _PART)):
            writer.write_table(table_of(min(_PART, n - start), seed))
    small = table_of(1)
    pyarrow.parquet.write_table(small, folder / "small.parquet")
    for name in ("small.parquet", "large.parquet"):
        print(f"gigabytes at the peak, {name}", flush=True)
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", _READ_AND_ENCODE, folder / name], check=True)
        print(f"  {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
