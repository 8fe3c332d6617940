"""What runs on Spark's executors: packing the ratings of a side, and solving for its rows.

A side is cut into parts by row number modulo the number of parts, so that popular rows, which often
have neighbouring numbers, are spread. Row r is row r // n_parts of part r % n_parts. The ratings of
a part are packed once, sorted by row, into one record of Spark's cache. From then on a half-epoch
is a pass over these records, each of which takes those rows of the other side that occur in it.
Nothing is kept in a Python process that Spark could not compute again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from backends._arrays import Float
from backends._engine.row_solver import RowSolver, Table
from backends._engine.sorting import Blocks
from backends._engine.threads import Threads, one_blas_thread
from backends.kernels.layout import LOOK_AHEAD, aligned_zeros, ratings_dtype
from backends.objective import Objective

# The schemas of what the functions below yield, as Spark declares them.
PACKED = (
    "part int, ratings binary, ends binary, opposites binary, weights binary, penalty binary, "
    "bias_penalty binary, repeated long"
)
SOLVED = "part int, factors binary, bias binary, squared_error double"
BIASES = "part int, bias binary"
TRIPLETS = "user int, item int, target float"

_ARROW_TYPES = {
    "int": pa.int32(),
    "long": pa.int64(),
    "binary": pa.binary(),
    "float": pa.float32(),
    "double": pa.float64(),
}


class Packing(NamedTuple):
    """How the ratings of a side are packed; targets, biases and weights are in units."""

    side: str  # "user" or "item"
    n_rows: int
    n_parts: int
    dtype: str
    mean: float
    unit: float  # of the ratings
    weight_unit: float
    total_weight: float
    objective: Objective
    objective_unit: float  # see `Objective.unit`


class Solving(NamedTuple):
    """What a half-epoch does."""

    rank: int
    n_rows: int
    n_parts: int
    dtype: str
    solves_for_biases: bool
    fixed_bias: bool
    with_errors: bool


class Block(NamedTuple):
    """Neighbouring rows of the other side, as they are broadcast."""

    factors: Float  # shape (n, rank)
    bias: Float  # shape (n,)


def n_rows_of(part: int, n_rows: int, n_parts: int) -> int:
    """Return how many of a side's rows a part has."""
    return len(range(part, n_rows, n_parts))


# ---- packing ------------------------------------------------------------------------------------


def pack(batches: Iterator[pa.RecordBatch], packing: Packing) -> Iterator[pa.RecordBatch]:
    """Yield a record for each part whose ratings the batches hold.

    Columns of the batches: row, opposite, rating and perhaps weight.
    """
    received = [batch for batch in batches if len(batch)]
    if not received:
        return
    table = pa.Table.from_batches(received)
    del received
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    del table
    parts = columns["row"] % packing.n_parts
    for part in np.unique(parts).tolist():
        mine = parts == part
        yield _packed(part, {name: column[mine] for name, column in columns.items()}, packing)


def _packed(part: int, columns: dict[str, NDArray[Any]], packing: Packing) -> pa.RecordBatch:
    rows, dtype = columns["row"] // packing.n_parts, np.dtype(packing.dtype)
    # By row and opposite row: then the result does not depend on the order in which they came.
    order = np.lexsort([columns["opposite"], rows])
    rows = rows[order]
    opposites, places = np.unique(columns["opposite"][order], return_inverse=True)
    repeated = int(((np.diff(rows) == 0) & (np.diff(places) == 0)).sum())
    n = n_rows_of(part, packing.n_rows, packing.n_parts)
    weights = columns["weight"][order] if "weight" in columns else None
    records = np.zeros(len(rows) + LOOK_AHEAD, ratings_dtype(dtype, weighted=weights is not None))
    records["opposite"][: len(rows)] = places
    # In float64, since close numbers are subtracted.
    targets = np.subtract(columns["rating"][order], packing.mean, dtype=np.float64)
    records["target"][: len(rows)] = targets / packing.unit
    if weights is not None:
        records["weight"][: len(rows)] = weights / packing.weight_unit
    row_weights = np.bincount(rows, weights, n).astype(np.float64)
    penalties = packing.objective.row_penalties(
        packing.side, row_weights, packing.total_weight, packing.objective_unit
    )
    penalty, bias_penalty = penalties.in_units(packing.unit, packing.weight_unit, dtype)
    ends = np.cumsum(np.bincount(rows, minlength=n))
    arrays = (
        records,
        ends.astype(np.int64),
        opposites.astype(np.int32),
        row_weights,
        penalty,
        bias_penalty,
    )
    return _batch(PACKED, part, *(array.tobytes() for array in arrays), repeated)


class Part:
    """A packed record, read again.

    Attributes
    ----------
    number
        Of the part.
    ends
        Where the ratings of each row end, shape (n_rows,).
    opposites
        Rows of the other side that occur, ascending.
    ratings
        Records of `ratings_dtype`, whose "opposite" is a position in ``opposites``.
    penalty, bias_penalty
        Of each row, shape (n_rows,), in units.
    """

    def __init__(self, record: dict[str, Any], dtype: np.dtype[Any]) -> None:
        self.number: int = record["part"]
        self.dtype = dtype
        self.ends = np.frombuffer(record["ends"], np.int64).copy()
        self.opposites = np.frombuffer(record["opposites"], np.int32)
        self.n = int(self.ends[-1])
        itemsize = len(record["ratings"]) // (self.n + LOOK_AHEAD)
        self.weighted = itemsize > ratings_dtype(dtype).itemsize
        # Copies, since kernels are compiled for arrays that can be written to.
        kind = ratings_dtype(dtype, weighted=self.weighted)
        self.ratings = np.frombuffer(record["ratings"], kind).copy()[: self.n]
        self.penalty = np.frombuffer(record["penalty"], dtype).copy()
        self.bias_penalty = np.frombuffer(record["bias_penalty"], dtype).copy()

    @property
    def rows(self) -> NDArray[np.int64]:
        """The row of each rating, shape (n_ratings,)."""
        return np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=0))

    def opposite_rows(self, blocks: Sequence[Any], rank: int, width: int) -> Table:
        """Return the rows of the other side that occur, from the broadcast blocks of all.

        Only one of several blocks is in memory at a time.
        """
        n = max(len(self.opposites), 1)
        table = Table(aligned_zeros(n, width, self.dtype), np.zeros(n, self.dtype))
        start = 0
        for block in blocks:
            factors, bias = block.value
            low, high = np.searchsorted(self.opposites, (start, start + len(bias)))
            mine = self.opposites[low:high] - start
            table.factors[low:high, :rank], table.bias[low:high] = factors[mine], bias[mine]
            start += len(bias)
            del factors, bias
            if len(blocks) > 1 and hasattr(block, "_path"):  # from which it can be read again
                vars(block).pop("_value", None)
        return table


# ---- solving ------------------------------------------------------------------------------------


def solve(
    batches: Iterator[pa.RecordBatch], solving: Solving, blocks: Sequence[Any], own_bias: Any
) -> Iterator[pa.RecordBatch]:
    """Yield a record for each packed one: its rows, solved for.

    Parameters
    ----------
    blocks
        Broadcast `Block`s, together all rows of the other side.
    own_bias
        Broadcast biases of this side, if they stay fixed; else None.
    """
    from pyspark import TaskContext

    context = TaskContext.get()
    solver = RowSolver(
        rank=solving.rank,
        dtype=np.dtype(solving.dtype),
        solves_for_biases=solving.solves_for_biases,
        fixed_bias=solving.fixed_bias,
        cg_steps=0,
        threads=Threads(context.cpus() if context else 1),
    )
    with one_blas_thread():
        for part in _parts(batches, solving.dtype):
            bias = None if own_bias is None else own_bias.value[part.number :: solving.n_parts]
            opposites = part.opposite_rows(blocks, solving.rank, solver.width)
            yield _solved(part, solving, solver, opposites, bias)


def _solved(
    part: Part, solving: Solving, solver: RowSolver, opposites: Table, bias: Float | None
) -> pa.RecordBatch:
    cell = Blocks(np.array([[0, part.n]]), part.ends[None], part.ratings)
    side = solver.side(cell, part.penalty, part.bias_penalty)
    n = len(part.ends)
    start = np.zeros(n, solver.dtype) if bias is None else bias.astype(solver.dtype)
    rows = solver.table(np.zeros((n, solving.rank), solver.dtype), start)
    error = solver.solve(side, opposites, rows, rows, with_errors=solving.with_errors)
    factors = np.ascontiguousarray(rows.factors[:, : solving.rank])
    return _batch(SOLVED, part.number, factors.tobytes(), rows.bias.tobytes(), error)


# ---- damped biases ------------------------------------------------------------------------------


def solve_biases(
    batches: Iterator[pa.RecordBatch], dtype: str, opposite_bias: Any
) -> Iterator[pa.RecordBatch]:
    """Yield a record for each packed one: the biases of its rows, given those of the other side.

    See `damped_biases`; ``opposite_bias`` is broadcast, and in float64 as the result is.
    """
    for part in _parts(batches, dtype):
        weights = part.ratings["weight"].astype(np.float64) if part.weighted else np.ones(part.n)
        residuals = part.ratings["target"] - opposite_bias.value[part.opposites][_places(part)]
        sums = np.bincount(part.rows, weights * residuals, len(part.ends))
        size = np.bincount(part.rows, weights, len(part.ends)) + part.bias_penalty
        bias = np.divide(sums, size, out=np.zeros_like(sums), where=size > 0)
        yield _batch(BIASES, part.number, bias.tobytes())


def residuals(
    batches: Iterator[pa.RecordBatch],
    dtype: str,
    n_parts: int,
    unit: float,
    own_bias: Any,
    opposite_bias: Any,
) -> Iterator[pa.RecordBatch]:
    """Yield the ratings minus mean and biases, which are broadcast, with their rows again."""
    for part in _parts(batches, dtype):
        rows = part.rows * n_parts + part.number
        opposites = part.opposites[_places(part)]
        targets = part.ratings["target"] - own_bias.value[rows] - opposite_bias.value[opposites]
        columns = rows.astype(np.int32), opposites, (targets * unit).astype(np.float32)
        yield pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=_schema(TRIPLETS))


def _places(part: Part) -> NDArray[np.int32]:
    return np.ascontiguousarray(part.ratings["opposite"])


# ---- records ------------------------------------------------------------------------------------


def _parts(batches: Iterator[pa.RecordBatch], dtype: str) -> Iterator[Part]:
    for batch in batches:
        for record in batch.to_pylist():
            yield Part(record, np.dtype(dtype))


def _schema(declared: str) -> pa.Schema:
    fields = [field.split() for field in declared.split(", ")]
    return pa.schema([(name, _ARROW_TYPES[kind]) for name, kind in fields])


def _batch(declared: str, *values: Any) -> pa.RecordBatch:
    """Return a batch of one record, exactly of the declared types: Spark insists on them."""
    schema = _schema(declared)
    columns = [pa.array([value], field.type) for value, field in zip(values, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
