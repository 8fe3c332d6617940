"""Cases: encoded data, the objective, its reference, and the targets for all backends.

The names below are imported on first use. A worker needs only `case_file` and `targets`; whatever
else it imported would be attributed to its backend, in time and in memory.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .case import Case, build_case
    from .encode import EncodedData, encode
    from .targets import baselines

__all__ = ["Case", "EncodedData", "baselines", "build_case", "encode"]

_MODULES = {
    "Case": "case",
    "EncodedData": "encode",
    "baselines": "targets",
    "build_case": "case",
    "encode": "encode",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
