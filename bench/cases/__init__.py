"""What is measured: data as rows, the objective, its reference, and the targets that every backend is held against.

The names below are imported when they are asked for: a worker reads its case by `case_file`, and whatever else this
package would load counts as the worker's backend's, in time and in memory.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .case import Case, build_case
    from .encode import EncodedData, encode
    from .targets import baselines

__all__ = ["Case", "EncodedData", "baselines", "build_case", "encode"]

_HOMES = {
    "Case": "case",
    "EncodedData": "encode",
    "baselines": "targets",
    "build_case": "case",
    "encode": "encode",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
