"""Every backend of the registry passes the same suite; `FACTS` holds what is true of one and not of another.

A name that the registry lacks, and a backend without facts, both fail the collection of this file.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from backends import Factorizer, get_backend
from backends.registry import _BACKENDS, backend_info, unavailable_reason
from backends.testing import FactorizerConformance


class Facts(NamedTuple):
    """What `FactorizerConformance` is told of a backend beyond what the registry says."""

    order_invariant: str
    divergent: dict[str, Any] | None = None
    params: Mapping[str, Any] = MappingProxyType({})
    backend: str = ""  # name in the registry where it is not the key
    minimises: bool | None = None  # None: as the registry says
    dtypes: tuple[str, ...] = ("float32", "float64")
    epochs_to_weigh: int = 12  # more where a repeated row is another step


EXPLODING = {"learning_rate": 1e6, "safeguard": False}
ADAM = {"optimizer": "adam", "learning_rate": 0.05, "batch_size": 64}

FACTS = {
    "numba": Facts("no", {"learning_rate": 1e6}, epochs_to_weigh=120),
    "numba-gd": Facts("rounding", EXPLODING),
    "numba-sgd": Facts("no", {"learning_rate": 1e6}, epochs_to_weigh=120),
    "numpy": Facts("rounding", EXPLODING),
    "numpy-als": Facts("rounding"),
    "torch-cpu": Facts("rounding", EXPLODING),
    "torch-cpu adam": Facts(
        "no", {"learning_rate": 1e6}, ADAM, backend="torch-cpu", minimises=False, epochs_to_weigh=240
    ),
    "torch-cpu gather": Facts("rounding", EXPLODING, {"products": "gather"}, backend="torch-cpu"),
    "torch-cuda": Facts("rounding", EXPLODING),
    "torch-mps": Facts("rounding", EXPLODING, dtypes=("float32",)),
}


def suite(title: str, facts: Facts) -> type[FactorizerConformance]:
    """The conformance suite of one line of `FACTS`."""
    name = facts.backend or title
    info = backend_info(name)  # raises UnknownBackend for a misspelt name
    reason = unavailable_reason(info)

    class Suite(FactorizerConformance):
        pytestmark = [pytest.mark.gpu] * (info.device != "cpu") + [pytest.mark.skip(reason=reason)] * bool(reason)
        divergent = facts.divergent
        order_invariant = facts.order_invariant
        deterministic = info.deterministic
        minimises = info.minimises if facts.minimises is None else facts.minimises
        dtypes = facts.dtypes
        epochs_to_weigh = facts.epochs_to_weigh

        def make(self, **params: Any) -> Factorizer:
            return get_backend(name, **{**facts.params, **params})

    words = title.replace("-", " ").split()
    Suite.__name__ = Suite.__qualname__ = "Test" + "".join(word.capitalize() for word in words)
    return Suite


without_facts = sorted(set(_BACKENDS) - set(FACTS))
if without_facts:
    raise LookupError(f"backends without a line in FACTS: {', '.join(without_facts)}")

for _title, _facts in FACTS.items():
    _suite = suite(_title, _facts)
    globals()[_suite.__name__] = _suite
