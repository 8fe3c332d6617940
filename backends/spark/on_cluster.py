"""Ratings on a Spark cluster: from the driver's memory, or from a Parquet file that it never reads.

Of the latter the driver knows the ids, the number of ratings of each row, and their statistics.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from backends._ids import RowLabels, distinct_ids
from backends.errors import RatingsError
from backends.kernels.layout import ratings_dtype
from backends.objective import Objective
from backends.ratings import RatingEncoder, Ratings, Summary

from . import tasks
from .session import destroy, destroyed, in_words, last_line, n_slots, run_job

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame, SparkSession

# Ratings of a part, at most: what is packed of a part is one value in Spark, of 2 GB at most, and
# a Python process holds it three times.
_RATINGS_PER_PART = 4_000_000
_PARTS_PER_SLOT = 2
_ROWS_PER_PART = 2**28  # bytes of factors and biases of a part's rows, at most
_VALUE_BYTES = 2**31 - 2**20  # of one value in Spark
# Tables of ids of at most so many rows are broadcast to where the ratings are.
_BROADCAST_IDS = 2_000_000

# What Spark says of what it cannot read, and what it means.
_UNREADABLE = {
    "PATH_NOT_FOUND": "there is no such path",
    "UNABLE_TO_INFER_SCHEMA": "it holds no Parquet file",
    "CANNOT_READ_FILE_FOOTER": "it is no Parquet file, or a damaged one",
}

# As in `damped_biases`.
_MAX_SWEEPS, _TOLERANCE = 30, 1e-3


class RatingsOnCluster(Ratings):
    """What the driver knows of ratings in a Parquet file, and the frame that its executors read.

    Attributes
    ----------
    frame
        Columns user and item (row numbers), rating, and weight if there are weights.
    fingerprint
        The same for the same ratings in any order, and hardly for others.
    """

    frame: DataFrame
    fingerprint: str

    def __init__(
        self,
        frame: DataFrame,
        encoder: RatingEncoder,
        summary: Summary,
        counts: tuple[NDArray[np.int64], NDArray[np.int64]],
        row_weights: tuple[NDArray[np.float64], NDArray[np.float64]],
        fingerprint: str,
    ) -> None:
        """Take what `read_parquet` found out; the arrays are of users, and of items."""
        n_users, n_items = encoder.shape
        known = {
            "frame": frame,
            "encoder": encoder,
            "n_users": n_users,
            "n_items": n_items,
            "summary": summary,
            "_counts": counts,
            "_row_weights": row_weights,
            "fingerprint": fingerprint,
        }
        self.__dict__.update(known)

    def __len__(self) -> int:
        return int(self.__dict__["_counts"][0].sum())

    def user_counts(self) -> NDArray[np.int64]:
        """Return the number of ratings of each user row, shape (n_users,)."""
        counts: NDArray[np.int64] = self.__dict__["_counts"][0]
        return counts

    def item_counts(self) -> NDArray[np.int64]:
        """Return the number of ratings of each item row, shape (n_items,)."""
        counts: NDArray[np.int64] = self.__dict__["_counts"][1]
        return counts

    def user_weights(self) -> NDArray[np.float64]:
        """Return the sum of the weights of each user's ratings, shape (n_users,)."""
        weights: NDArray[np.float64] = self.__dict__["_row_weights"][0]
        return weights

    def item_weights(self) -> NDArray[np.float64]:
        """Return the sum of the weights of each item's ratings, shape (n_items,)."""
        weights: NDArray[np.float64] = self.__dict__["_row_weights"][1]
        return weights

    def __getattr__(self, name: str) -> NoReturn:
        if name in ("users", "items", "ratings"):
            raise RatingsError(
                "these ratings stay on the cluster, and this needs them here; read the file, and "
                "make Ratings of it"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def read_parquet(
    session: SparkSession, path: str | os.PathLike[str], columns: Mapping[str, str]
) -> RatingsOnCluster:
    """Return the ratings in a Parquet file or folder, none of which comes to the driver.

    Parameters
    ----------
    path
        A path or an address that the driver and all executors can read.
    columns
        Names of its columns by "user", "item", "rating" and perhaps "weight".

    Raises
    ------
    RatingsError
        For what cannot be read, columns that it lacks or that hold something else, values that are
        missing or not finite, and pairs that occur twice.
    """
    from pyspark.sql import functions as F

    name = os.fspath(path)
    raw = _opened(session, name, columns)
    ids = {role: F.col(f"`{columns[role]}`") for role in ("user", "item")}
    rating = F.col(f"`{columns['rating']}`")
    exact = dict(raw.dtypes)[columns["rating"]]
    rating = rating.cast("float" if exact == "float" else "double")
    selected = [ids["user"].alias("user"), ids["item"].alias("item"), rating.alias("rating")]
    weight = F.lit(1.0)
    if "weight" in columns:
        selected.append(F.col(f"`{columns['weight']}`").cast("double").alias("weight"))
        weight = F.col("weight")
    frame = raw.select(selected)
    summary, fingerprint = _summary(session, frame, name, weighted="weight" in columns)

    def of_side(role: str) -> tuple[RowLabels, NDArray[np.int64], NDArray[np.float64], DataFrame]:
        """Return ids, numbers of ratings, weights, and a table from ids to rows."""
        grouped = frame.groupBy(role).agg(F.count(F.lit(1)).alias("n"), F.sum(weight).alias("w"))
        found = run_job(session, f"counting the ratings of each {role}", grouped.toArrow)
        if pa.types.is_string(found.column(role).type):  # of which one array holds 2 GB at most
            texts = found.column(role).cast(pa.large_string())
            found = found.set_column(found.column_names.index(role), role, texts)
        found = found.sort_by(role)
        labels = distinct_ids(found.column(role), f"{role}s")
        rows = pa.table(
            {role: found.column(role), f"{role}_row": np.arange(len(found), dtype=np.int32)}
        )
        table = run_job(session, f"sending the {role}s", partial(session.createDataFrame, rows))
        if len(found) <= _BROADCAST_IDS:
            table = F.broadcast(table)
        n = found.column("n").to_numpy()
        return labels, n, found.column("w").to_numpy().astype(np.float64), table

    users, items = of_side("user"), of_side("item")
    joined = frame.join(users[3], "user").join(items[3], "item")
    kept = ["rating", "weight"] if "weight" in columns else ["rating"]
    rows = joined.select(
        F.col("user_row").alias("user"), F.col("item_row").alias("item"), *map(F.col, kept)
    )
    encoder = RatingEncoder.of_labels(users[0], items[0])
    counts, weights = (users[1], items[1]), (users[2], items[2])
    return RatingsOnCluster(rows, encoder, summary, counts, weights, fingerprint)


def _opened(session: SparkSession, name: str, columns: Mapping[str, str]) -> DataFrame:
    """Return a Parquet file whose columns are there and hold what they should."""
    try:
        raw = session.read.parquet(name)
    except Exception as error:  # py4j's, or one of pyspark's
        words = str(error)
        if _has_ended(session):
            raise in_words(error, f"opening {name}") from error
        reason = next((why for sign, why in _UNREADABLE.items() if sign in words), "")
        raise RatingsError(
            f"{name} cannot be read by Spark with master {session.sparkContext.master!r} "
            f"({reason or last_line(words)}); give a Parquet file or folder that the driver and "
            "every executor can reach, such as hdfs://... or a shared folder"
        ) from error
    kinds = dict(raw.dtypes)
    for role, column in columns.items():
        if column not in kinds:
            raise RatingsError(
                f"{name} has no column {column!r}; it has {', '.join(kinds)}; "
                f"name those of the ratings by columns={{{role!r}: ...}}"
            )
        kind = kinds[column]
        whole = ("tinyint", "smallint", "int", "bigint")
        wanted = (*whole, "string") if role in ("user", "item") else (*whole, "float", "double")
        if kind not in wanted and not (role not in ("user", "item") and "decimal" in kind):
            what = "integers or text" if role in ("user", "item") else "numbers"
            raise RatingsError(f"the column {column!r} of {name} must hold {what}, got {kind}")
    return raw


def _summary(
    session: SparkSession, frame: DataFrame, name: str, *, weighted: bool
) -> tuple[Summary, str]:
    """Return the statistics of the ratings, and a fingerprint of them in any order.

    What is missing or not finite is an error.
    """
    from pyspark.sql import functions as F

    rating = F.col("rating").cast("double")
    wrong = {
        "users that are missing": F.col("user").isNull(),
        "items that are missing": F.col("item").isNull(),
        "ratings that are missing or not finite": rating.isNull()
        | F.isnan(rating)
        | (F.abs(rating) == float("inf")),
    }
    weight = F.lit(1.0)
    if weighted:
        weight = F.col("weight")
        wrong["weights that are missing, or not between 1e-9 and 1e9"] = ~F.coalesce(
            weight.between(1e-9, 1e9), F.lit(False)
        )
    counts = [F.sum(test.cast("int")).alias(what) for what, test in wrong.items()]
    sums = frame.agg(
        F.count(F.lit(1)).alias("n"),
        F.min(rating).alias("low"),
        F.max(rating).alias("high"),
        F.sum(weight).alias("weight"),
        F.sum(weight * rating).alias("sum"),
        F.bit_xor(F.xxhash64(*frame.columns)).alias("hash"),
        *counts,
    )
    (row,) = run_job(session, f"reading {name}", sums.collect)
    if not row["n"]:
        raise RatingsError(f"{name} has no ratings; at least one is needed")
    for what in wrong:
        if row[what]:
            raise RatingsError(f"{name} has {row[what]} of {row['n']} {what}; drop those before")
    total = float(row["weight"])
    mean = row["sum"] / total
    off = rating - F.lit(mean)
    squares = frame.agg(F.sum(weight * off * off).alias("squares"))
    (second,) = run_job(session, f"reading {name}", squares.collect)
    summary = Summary(row["low"], row["high"], mean, second["squares"] / total, total)
    return summary, f"{row['n']} ratings, {row['hash']}"


def _has_ended(session: SparkSession) -> bool:
    """Return whether Spark was stopped, or its Java is gone."""
    try:
        return bool(session.sparkContext._jsc.sc().isStopped())
    except Exception:
        return True


def fingerprint_of(ratings: Ratings) -> str:
    """Return what is the same for the same ratings and rows, and hardly for others."""
    if isinstance(ratings, RatingsOnCluster):
        return ratings.fingerprint
    found = hashlib.blake2b(repr((ratings.n_users, ratings.n_items)).encode(), digest_size=16)
    for column in (ratings.users, ratings.items, ratings.ratings, ratings.weights):
        if column is not None:
            found.update(np.ascontiguousarray(column).data)
    return found.hexdigest()


def frame_of(session: SparkSession, ratings: Ratings) -> DataFrame:
    """Return a frame of ratings: columns user and item (row numbers), rating, perhaps weight."""
    if isinstance(ratings, RatingsOnCluster):
        return ratings.frame
    columns = {"user": ratings.users, "item": ratings.items, "rating": ratings.ratings}
    if ratings.weights is not None:
        columns["weight"] = ratings.weights
    table = pa.table(columns)
    return run_job(session, "sending the ratings", lambda: session.createDataFrame(table))


@dataclass
class Side:
    """One side of the ratings, packed and kept on the executors; see `tasks`.

    Attributes
    ----------
    packed
        A record per part that has ratings.
    packing
        How it was packed.
    weights
        Sum of the weights of each row's ratings, shape (n_rows,).
    """

    packed: DataFrame
    packing: tasks.Packing
    weights: NDArray[np.float64]

    def gather(self, values: NDArray[Any], part: int, rows: NDArray[Any]) -> None:
        """Put the rows of a part into an array of all rows."""
        values[part :: self.packing.n_parts] = rows


def packed_side(
    session: SparkSession,
    frame: DataFrame,
    ratings: Ratings,
    side: str,
    *,
    n_parts: int | None,
    dtype: str,
    mean: float,
    unit: float,
    objective: Objective,
) -> Side:
    """Return the ratings of the users, or of the items, packed and kept on the executors.

    Parameters
    ----------
    frame, ratings
        The same ratings, on the cluster and as the driver knows them.
    side
        "user" or "item".
    n_parts
        None for two for each task that can run at once, or more: see `_RATINGS_PER_PART` and
        `_ROWS_PER_PART`.
    dtype, mean, unit, objective
        As in `tasks.Packing`.

    Raises
    ------
    RatingsError
        For a row with more ratings than a part can have, and for pairs of a Parquet file that
        occur twice.
    """
    from pyspark import StorageLevel
    from pyspark.sql import functions as F

    is_user = side == "user"
    n_rows = ratings.n_users if is_user else ratings.n_items
    counts = ratings.user_counts() if is_user else ratings.item_counts()
    if n_parts is None:
        row_bytes = (objective.rank + 1) * np.dtype(dtype).itemsize
        n_parts = max(
            _PARTS_PER_SLOT * n_slots(session),
            -(-len(ratings) // _RATINGS_PER_PART),
            -(-n_rows * row_bytes // _ROWS_PER_PART),
        )
    n_parts = min(int(n_parts), n_rows)
    weighted = "weight" in frame.columns
    check_fits_parts(counts, n_parts, ratings_dtype(dtype, weighted=weighted).itemsize, side)
    total = ratings.summary.weight
    packing = tasks.Packing(
        side=side,
        n_rows=n_rows,
        n_parts=n_parts,
        dtype=dtype,
        mean=mean,
        unit=unit,
        weight_unit=total / len(ratings),
        total_weight=total,
        objective=objective,
        objective_unit=objective.unit(ratings),
    )
    row, opposite = ("user", "item") if side == "user" else ("item", "user")
    columns = [F.col(row).alias("row"), F.col(opposite).alias("opposite"), "rating"]
    if weighted:
        columns.append("weight")
    packed = (
        frame.select(*columns)
        .withColumn("part", F.col("row") % F.lit(n_parts))
        .repartitionById(n_parts, "part")
        .drop("part")
        .mapInArrow(partial(tasks.pack, packing=packing), tasks.PACKED)
        .persist(StorageLevel.MEMORY_AND_DISK)
    )
    made = Side(packed, packing, np.zeros(n_rows))
    weakref.finalize(made, forget, packed)
    seen = packed.select("part", "weights", "repeated")
    repeated = 0
    for record in run_job(session, f"packing the ratings by {side}", seen.toArrow).to_pylist():
        made.gather(made.weights, record["part"], np.frombuffer(record["weights"], np.float64))
        repeated += record["repeated"]
    if repeated and isinstance(ratings, RatingsOnCluster):
        raise repeated_pairs(repeated)
    return made


def check_fits_parts(counts: NDArray[np.int64], n_parts: int, rating_bytes: int, side: str) -> None:
    """Raise RatingsError if what is packed of a part may be too large for one value in Spark.

    Parameters
    ----------
    counts
        Number of ratings of each row.
    rating_bytes
        Of one packed rating. Up to 4 more are its opposite row, and a row has 24 of its own.
    """
    own = 24
    most = (_VALUE_BYTES - own) // (rating_bytes + 4)
    if counts.max() > most:
        raise RatingsError(
            f"one {side} has {counts.max():,} ratings, and at most {most:,} of one can be packed; "
            "keep a sample of them"
        )
    for part in range(n_parts):
        rows = counts[part::n_parts]
        if int(rows.sum()) * (rating_bytes + 4) + own * len(rows) > _VALUE_BYTES:
            raise RatingsError(
                f"the ratings by {side} are cut into {n_parts} parts, of which one has "
                f"{rows.sum():,} ratings, and at most {most:,} can be packed; give another number "
                "of parts, such as twice as many and one more"
            )


def forget(packed: DataFrame) -> None:
    """Free what the executors keep, if they are still there."""
    with contextlib.suppress(Exception):
        if packed.sparkSession.sparkContext._jsc is not None:
            packed.unpersist()


def broadcast_blocks(
    session: SparkSession, factors: NDArray[Any], bias: NDArray[Any], block_bytes: int
) -> list[Broadcast[tasks.Block]]:
    """Broadcast the rows of a side in blocks of about so many bytes."""
    rows = max(1, block_bytes // max(1, factors[:1].nbytes + bias[:1].nbytes))
    blocks: list[Broadcast[tasks.Block]] = []
    try:
        for start in range(0, len(bias), rows):
            part = slice(start, start + rows)
            blocks.append(shared(session, tasks.Block(factors[part], bias[part])))
    except BaseException:
        destroy(*blocks)
        raise
    return blocks


def shared(session: SparkSession, value: Any) -> Broadcast[Any]:
    """Broadcast a value.

    Raises
    ------
    ClusterError
        If Spark has ended, or the driver's disk is full.
    """
    return run_job(session, "broadcasting", partial(session.sparkContext.broadcast, value))


def damped_biases_on(
    session: SparkSession, users: Side, items: Side, std: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the damped biases of packed ratings, in rating units; see `damped_biases`.

    Parameters
    ----------
    std
        Standard deviation of the ratings: when to stop is measured by it.
    """
    unit = users.packing.unit

    def solve(side: Side, opposite: NDArray[np.float64]) -> NDArray[np.float64]:
        sent = shared(session, opposite)
        task = partial(tasks.solve_biases, dtype=side.packing.dtype, opposite_bias=sent)
        found = side.packed.mapInArrow(task, tasks.BIASES)
        bias = np.zeros(side.packing.n_rows)
        with destroyed(sent):
            records = run_job(session, "fitting damped biases", found.toArrow).to_pylist()
        for record in records:
            side.gather(bias, record["part"], np.frombuffer(record["bias"], np.float64))
        return bias

    b = np.zeros(users.packing.n_rows)
    c = np.zeros(items.packing.n_rows)
    for _ in range(_MAX_SWEEPS):
        c = solve(items, b)
        before, b = b, solve(users, c)
        if not float(np.abs(b - before).max()) * unit > _TOLERANCE * std:
            break
    return b * unit, c * unit


def residuals_of(
    session: SparkSession, users: Side, user_bias: NDArray[Any], item_bias: NDArray[Any]
) -> DataFrame:
    """Return a frame of ratings minus mean and biases: columns user, item and target.

    It is computed from ``users``, which has to live as long.
    """
    sent = [shared(session, bias / users.packing.unit) for bias in (user_bias, item_bias)]
    weakref.finalize(users, destroy, *sent)
    task = partial(
        tasks.residuals,
        dtype=users.packing.dtype,
        n_parts=users.packing.n_parts,
        unit=users.packing.unit,
        own_bias=sent[0],
        opposite_bias=sent[1],
    )
    return users.packed.mapInArrow(task, tasks.TRIPLETS)


def check_distinct(session: SparkSession, ratings: RatingsOnCluster) -> None:
    """Raise RatingsError if a pair of user and item occurs twice."""
    from pyspark.sql import functions as F

    pairs = ratings.frame.groupBy("user", "item").count()
    repeated = pairs.agg(F.sum(F.col("count") - 1).alias("n"))
    (row,) = run_job(session, "looking for pairs that occur twice", repeated.collect)
    if row["n"]:
        raise repeated_pairs(row["n"])


def repeated_pairs(n: int) -> RatingsError:
    """Return the error for ratings of pairs that have another one."""
    return RatingsError(
        f"{n} ratings are of a pair of user and item that has another one; keep one of each, as by "
        "dropDuplicates"
    )
