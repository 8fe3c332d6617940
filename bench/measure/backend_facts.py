"""What a measurement is told of its backend, and when it is given up."""

from __future__ import annotations

from typing import Any

from bench.records import Backend


class Limits:
    """When a measurement is given up."""

    def __init__(
        self,
        max_epochs: int = 2000,
        max_seconds: float = 180.0,
        patience: int = 100,
        timeout: float = 600.0,
        memory_mb: float | None = None,
    ) -> None:
        self.max_epochs = max_epochs  # of a calibration
        self.max_seconds = max_seconds  # of training, in a calibration
        self.patience = patience  # epochs without a new best, in a calibration
        self.timeout = timeout  # seconds that any one request may take
        self.memory_mb = memory_mb  # resident memory that a worker may take; nine tenths of what there is when None


def backend_facts(
    row: dict[str, Any],
    dtype: str,
    threads: int,
    params: dict[str, Any] | None = None,
    label: str | None = None,
) -> Backend:
    """Return what a record says of a backend, from its row of `backends.list_backends`, with ``name``."""
    return Backend(
        name=label or str(row["name"]),
        params=params or {},
        algorithm=str(row["algorithm"]),
        device=str(row["device"]),
        dtype=dtype,
        threads=threads,
        deterministic=bool(row["deterministic"]),
        minimises=bool(row["minimises"]),
    )
