"""Records of many backends on many cases, as a large run leaves them.

They show what a report of so much takes. Collects no tests.
"""

from __future__ import annotations

import zlib
from typing import Any

from fake_records import TARGET, fake_record

from bench.records import Record

_KNOWN = (
    "numpy",
    "numpy-als",
    "numba-sgd",
    "numba-gd",
    "torch-cpu",
    "libmf",
    "cmfrec",
    "myfm",
    "lenskit",
    "surprise",
)
_SIZES = {"ml-100k": 80_000, "ml-1m": 800_000, "ml-10m": 8_000_000, "anime twin x1": 5_000_000}


def many_records(
    backends: int = 20, ranks: tuple[int, ...] = (16, 64, 128), seeds: int = 5
) -> list[Record]:
    """Return records of that many backends on four data sets, with traces of about 60 epochs."""
    names = [*_KNOWN, *(f"stranger-{at}" for at in range(1, backends))][:backends]
    return [
        _record(name, dataset, ratings, rank, seeds)
        for dataset, ratings in _SIZES.items()
        for rank in ranks
        for name in names
    ]


def _record(name: str, dataset: str, ratings: int, rank: int, seeds: int) -> Record:
    luck = zlib.crc32(f"{name} {dataset} {rank}".encode()) % 1000 / 1000
    case = {
        "name": f"{dataset}, rank {rank}, seed 0",
        "dataset": dataset,
        "rank": rank,
        "n_train": ratings,
    }
    seconds = 0.02 * ratings / 80_000 * (rank / 16) ** 0.7 * 10 ** (2.5 * luck)
    status: Any = "matched"
    if luck > 0.97:
        status = "timed out"
    elif luck > 0.93:
        status = "missed"
    record = fake_record(name, status, seconds, case=case)
    if status == "timed out":
        return record
    record["seeds"] = list(range(seeds))
    (calibration,) = record["calibrations"]
    trace = [_point(epoch, seconds) for epoch in range(1, 61)]
    record["calibrations"] = [
        {
            **calibration,
            "seed": seed,
            "trace": [{**point, "seconds": point["seconds"] * (1 + seed / 50)} for point in trace],
        }
        for seed in range(seeds)
    ]
    rounds = [{**row, "seed": seed} for seed in range(seeds) for row in record["rounds"][:3]]
    record["rounds"] = [
        {**row, "seconds": row["seconds"] * (1 + _noise(name, row["seed"]))} for row in rounds
    ]  # type: ignore[typeddict-item]
    record["rungs"] = [
        {**row, "factor": 1.05, "seconds": row["seconds"] / 2} for row in record["rounds"]
    ]  # type: ignore[typeddict-item]
    return record


def _noise(name: str, seed: int) -> float:
    """Return by what share a seed of a backend is slower, up to 5 %."""
    return zlib.crc32(f"{name} {seed}".encode()) % 100 / 2000


def _point(epoch: int, seconds: float) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "seconds": seconds * epoch / 50,
        "validation_mse": TARGET - 0.002 + 1.3 * 0.9**epoch,
    }
