"""Every registered backend passes the same suite, set up from its registry row and parameters.

`EXCEPTIONS` holds what neither of them says, such as ``any_scale``. `CANNOT_DIVERGE` names the
backends without a learning rate that could be too long. `VARIANTS` lists what is tested of a
backend besides its defaults. Adapters to other libraries, whose objective is another, have tests of
their own in `tests/peers`, and solvers on a cluster in `tests/spark`. This file cannot be collected
if a name there is not in the registry, or if it is not known how a backend diverges.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from backends import Factorizer, get_backend
from backends.registry import _BACKENDS, backend_info, unavailable_reason
from backends.testing import FactorizerConformance

pytestmark = pytest.mark.fits


class Variant(NamedTuple):
    """A backend with parameters, and what `FactorizerConformance` is told because of them."""

    backend: str
    params: Mapping[str, Any]
    told: Mapping[str, Any] = MappingProxyType({})


ADAM: dict[str, Any] = {"learning_rate": 0.05, "batch_size": 64}
MPS = {"dtypes": ("float32",)}
OF_ADAM = {"epochs_to_weigh": 240}
EXCEPTIONS: dict[str, dict[str, Any]] = {
    "torch-cpu": OF_ADAM,
    "torch-cuda": OF_ADAM,
    "torch-mps": OF_ADAM | MPS,
    "torch-mps-gd": MPS,
}
CANNOT_DIVERGE = {"numba-als", "numpy-als", "torch-als", "torch-als-cuda"}
VARIANTS = {
    "numba-als cg": Variant("numba-als", {"method": "cg"}),
    "torch-cpu batches": Variant("torch-cpu", ADAM, {"epochs_to_weigh": 1500}),
    "torch-cpu gather": Variant("torch-cpu", ADAM | {"products": "gather", "batch_size": 10_000}),
    "torch-cpu-gd gather": Variant("torch-cpu-gd", {"products": "gather"}),
    "torch-cuda sparse": Variant("torch-cuda", {"products": "sparse"}),
    "torch-cuda gather": Variant("torch-cuda", {"products": "gather"}),
    "torch-cuda-gd sparse": Variant("torch-cuda-gd", {"products": "sparse"}),
    "torch-cuda-gd gather": Variant("torch-cuda-gd", {"products": "gather"}),
}


def suite(title: str, variant: Variant) -> type[FactorizerConformance]:
    """The conformance suite of one backend or variant."""
    info = backend_info(variant.backend)  # raises UnknownBackend for a misspelt name
    reason = unavailable_reason(info)
    marks = [pytest.mark.gpu] if info.device != "cpu" else []
    if reason:
        marks.append(pytest.mark.skip(reason=reason))
    exploding = {} if reason else explosive(get_backend(variant.backend, **variant.params))
    if not (
        exploding
        or reason
        or variant.backend in CANNOT_DIVERGE
        or "divergent" in EXCEPTIONS.get(variant.backend, {})
    ):
        raise LookupError(
            f"{variant.backend} has no learning_rate: name it in CANNOT_DIVERGE, "
            "or give what makes it diverge as "
            '"divergent" in EXCEPTIONS'
        )
    told = {"minimises": info.minimises, **EXCEPTIONS.get(variant.backend, {}), **variant.told}
    minimises = told["minimises"]

    class Suite(FactorizerConformance):
        pytestmark = marks
        divergent = exploding or None
        deterministic = info.deterministic

        def make(self, **params: Any) -> Factorizer:
            return get_backend(variant.backend, **{**variant.params, **params})

    # A solver that steps through the ratings depends on their order and on repeated rows.
    told = {
        "order_invariant": "rounding" if minimises else "no",
        "epochs_to_weigh": 12 if minimises else 120,
    } | told
    for name, value in told.items():
        setattr(Suite, name, value)
    words = title.replace("-", " ").split()
    Suite.__name__ = Suite.__qualname__ = "Test" + "".join(word.capitalize() for word in words)
    return Suite


def explosive(solver: Factorizer) -> dict[str, Any]:
    """Parameters under which a solver diverges: far too long a rate, and nothing to shorten it."""
    params = solver.get_params()
    exploding = {"learning_rate": 1e6, "safeguard": False}
    return (
        {name: value for name, value in exploding.items() if name in params}
        if "learning_rate" in params
        else {}
    )


OWN = {
    name: Variant(name, {})
    for name, info in _BACKENDS.items()
    if not info.library and "pyspark" not in info.requires
}

for _title, _variant in {**OWN, **VARIANTS}.items():
    _suite = suite(_title, _variant)
    globals()[_suite.__name__] = _suite
