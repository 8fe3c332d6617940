"""The backend that a measurement is of, and the limits at which it is given up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from backends import BackendUnavailable, backend_class, get_backend, list_backends
from bench.records import Backend

from . import peers


@dataclass(frozen=True)
class Limits:
    """The limits at which a measurement is given up.

    Attributes
    ----------
    max_epochs, max_seconds, patience
        Most epochs of a calibration, most seconds of its training, and most epochs without a new
        best score.
    total_seconds
        Most seconds of training of all fits of a calibration, where a solver starts again for every
        number of epochs; five times ``max_seconds`` when None, since finding how many epochs a fit
        takes is about that many fits.
    timeout
        Most seconds that a single request to a worker may take.
    memory_mb
        Most resident memory that a worker may use; nine tenths of what there is when None.
    """

    max_epochs: int = 2000
    max_seconds: float = 180.0
    patience: int = 100
    timeout: float = 600.0
    memory_mb: float | None = None
    total_seconds: float | None = None

    @property
    def of_all_fits(self) -> float:
        """``total_seconds``, or what it is when None."""
        return 5 * self.max_seconds if self.total_seconds is None else self.total_seconds


@dataclass(frozen=True)
class BackendRow:
    """A backend's row in the table of `backends.list_backends`."""

    name: str
    algorithm: str
    device: str
    steppable: bool
    deterministic: bool
    minimises: bool
    same_as: str  # the backend that this name is short for, "" if it is not short for another
    library: str  # of another project, which does the work; "" for this project's own
    work: str  # name of its work model for the roofline, "" if it has none
    look: str  # colour and marker in figures, "" if it has none of its own
    available: bool
    reason: str
    interpreter: Path | None = None  # the Python that it runs in, if not this one


@dataclass(frozen=True)
class Contender:
    """A backend to measure, with the settings that were asked for.

    Attributes
    ----------
    row
        The backend.
    threads
        Thread budget of every library.
    dtype
        Precision of the factors.
    params
        Hyper-parameters in addition to those of the case's objective.
    label
        Name for the record, needed when the same backend is measured with different settings; ""
        for the backend's name.

    Raises
    ------
    ValueError
        For a hyper-parameter that a record cannot contain, such as an infinite number.
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
                    f"{name} must be a value that a record can contain (a finite number, a string, "
                    f"True, False or None), got {value!r}"
                ) from None

    def facts(self) -> Backend:
        """Return the backend's entry for a record."""
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
    """Return the rows of all backends by name, those that cannot run here included.

    An adapter whose library has an environment of its own runs there; see `peers`.
    """
    table = list_backends().reset_index()
    columns = [column.name for column in fields(BackendRow) if column.name in table]
    rows = [BackendRow(*values) for values in table[columns].itertuples(index=False, name=None)]
    return {row.name: _in_its_environment(row) if row.library else row for row in rows}


def check_backend(
    name: str, rows: Mapping[str, BackendRow], params: Mapping[str, Any] | None = None
) -> None:
    """Raise an error for a backend that cannot run here, and for wrong hyper-parameters.

    Raises
    ------
    UnknownBackend, BackendUnavailable, ValueError
        As `backends.get_backend`, except that an adapter may run in its library's environment.
    """
    row = rows.get(name)
    if row is None or not row.library:
        get_backend(name, **params or {})
    elif not row.available:
        raise BackendUnavailable(f"backend {name!r} is not available here: {row.reason}")
    else:
        backend_class(name)().set_params(**params or {}).check_params()


def _in_its_environment(row: BackendRow) -> BackendRow:
    """Return the row of an adapter, with the interpreter of its library's environment."""
    interpreter = peers.interpreter(row.name)
    if interpreter is not None:
        return replace(row, available=True, reason="", interpreter=interpreter)
    if row.available:
        return row
    if peers.environment_of(row.name) is None:
        return row
    remedy = f"or, for benchmarks: python -m bench.peers install {row.name}"
    return replace(row, reason=peers.problem(row.name) or f"{row.reason}; {remedy}")
