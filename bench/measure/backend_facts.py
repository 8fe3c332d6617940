"""What a measurement is told of its backend, and when it is given up."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

from backends import list_backends
from bench.records import Backend


@dataclass(frozen=True)
class Limits:
    """When a measurement is given up.

    Attributes
    ----------
    max_epochs, max_seconds, patience
        Of a calibration: epochs, seconds of training, and epochs without a new best.
    timeout
        Seconds that any one request may take.
    memory_mb
        Resident memory that a worker may take; nine tenths of what there is when None.
    """

    max_epochs: int = 2000
    max_seconds: float = 180.0
    patience: int = 100
    timeout: float = 600.0
    memory_mb: float | None = None


@dataclass(frozen=True)
class BackendRow:
    """A backend's row of `backends.list_backends`."""

    name: str
    algorithm: str
    device: str
    deterministic: bool
    minimises: bool
    same_as: str  # the backend that a short name stands for
    work: str  # name of its work model for the roofline, "" where its work has not been counted
    look: str  # colour and marker in figures, "" where it has none of its own
    available: bool
    reason: str


@dataclass(frozen=True)
class Contender:
    """A backend that is to be measured, as it was asked for.

    Attributes
    ----------
    params
        Hyper-parameters beside those of the case's objective.
    dtype, threads
        Precision, and the one thread budget of all libraries.
    label
        What to call it in the record, where the name of the backend would not tell it from another; "" for its name.

    Raises
    ------
    ValueError
        For a hyper-parameter that no record can hold, such as an infinite number.
    """

    row: BackendRow
    threads: int
    dtype: str = "float32"
    params: dict[str, Any] = field(default_factory=dict)
    label: str = ""

    def __post_init__(self) -> None:
        for name, value in self.params.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError):
                raise ValueError(
                    f"{name} must be a value that a record can hold (a finite number, a text, True, False or None), "
                    f"got {value!r}"
                ) from None

    def facts(self) -> Backend:
        """Return what a record says of it."""
        row = self.row
        facts = Backend(
            name=self.label or row.name,
            params=self.params,
            algorithm=row.algorithm,
            device=row.device,
            dtype=self.dtype,
            threads=self.threads,
            deterministic=row.deterministic,
            minimises=row.minimises,
        )
        if row.look:
            facts["look"] = row.look
        return facts


def backend_rows() -> dict[str, BackendRow]:
    """Return what is known of each backend, by name."""
    table = list_backends().reset_index()
    columns = [column.name for column in fields(BackendRow)]
    rows = [BackendRow(*values) for values in table[columns].itertuples(index=False, name=None)]
    return {row.name: row for row in rows}
