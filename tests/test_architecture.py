"""Rules about the source as a whole, read from it; who may import whom is in pyproject.toml."""

import ast
import importlib
import inspect
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from helpers import ROOT, in_fresh_process

import backends
from backends.registry import _BACKENDS

SOURCES = sorted(
    path
    for package in ("backends", "bench")
    for path in (ROOT / package).rglob("*.py")
    if "__pycache__" not in path.parts
)
HEAVY = ("scipy", "torch", "numba", "pandas", "pyarrow", "matplotlib", "threadpoolctl", "pytest")

# The only words for devices in the torch modules, and why each is there.
DEVICE_LITERALS = {"cpu": "default of the `device` parameter"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_torch(path: Path) -> bool:
    return any(
        "torch"
        in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module])
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    )


ON_DEVICES = [
    path for path in SOURCES if path.is_relative_to(ROOT / "backends") and imports_torch(path)
]


def test_the_files_were_found() -> None:
    names = {module_name(path) for path in SOURCES}
    assert {"backends", "backends.kernels.sgd", "bench.records", "bench.measure.worker"} <= names
    assert {"backends._engine.torch_products", "backends.torch_gd"} <= {
        module_name(path) for path in ON_DEVICES
    }


KERNELS_MAY_IMPORT = {
    "collections",
    "gc",
    "hashlib",
    "llvmlite",
    "math",
    "numba",
    "numpy",
    "operator",
    "os",
    "pathlib",
    "threading",
    "typing",
}
SOLVERS = {info.target.partition(":")[0] for info in _BACKENDS.values()}
EARLIER_NAMES = {"backends.torch_embedding"}  # kept for a release; they know what they stand for


def imported_by(path: Path) -> set[str]:
    """Absolute names of what a file imports, anywhere: a name may be a module or in one."""
    package = (
        module_name(path).split(".")
        if path.stem == "__init__"
        else module_name(path).split(".")[:-1]
    )
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join(base + ([node.module] if node.module else []))
            found |= {source} | {f"{source}.{alias.name}" for alias in node.names}
    return found


def test_a_solver_imports_no_other_and_nothing_shared_imports_one() -> None:
    assert len(SOLVERS) >= 6
    wrong = []
    for path in SOURCES:
        name = module_name(path)
        if name.startswith("backends.") and name not in EARLIER_NAMES:
            wrong += [(name, solver) for solver in imported_by(path) & SOLVERS - {name}]
    assert wrong == []


def test_every_file_beside_the_solvers_is_in_a_contract() -> None:
    """A module of backends/ is a registered solver or in a contract: none is without a rule."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [
        contract["layers"] for contract in contracts if contract.get("containers") == ["backends"]
    ]
    floors = {f"backends.{name}" for layer in layers for name in re.split(r"\s*[|:]\s*", layer)}
    modules = {".".join(module_name(path).split(".")[:2]) for path in SOURCES} - {
        "backends",
        "bench",
    }
    unruled = {name for name in modules if name.startswith("backends.")} - floors - SOLVERS
    assert unruled == set()


def test_kernels_know_arrays_and_their_accelerator() -> None:
    wrong = []
    for path in SOURCES:
        name = module_name(path)
        if name.startswith("backends.kernels"):
            allowed = KERNELS_MAY_IMPORT | ({"triton", "torch"} if ".triton" in name else set())
            ours = {module for module in imported_by(path) if module.startswith("backends.")}
            wrong += [
                (name, module) for module in ours if not module.startswith("backends.kernels")
            ]
            others = {module.partition(".")[0] for module in imported_by(path) - ours} - {
                "__future__",
                "backends",
            }
            wrong += [(name, module) for module in others - allowed]
    assert wrong == []


def test_every_folder_is_a_package_that_contracts_see() -> None:
    folders = {path.parent for path in SOURCES}
    assert [
        str(folder.relative_to(ROOT))
        for folder in folders
        if not (folder / "__init__.py").is_file()
    ] == []
    # Every import from the package runs its __init__.
    assert imported_by(ROOT / "bench" / "__init__.py") == {
        "os",
        "sys",
        "importlib.util",
        "importlib.util.find_spec",
        # Only where a command is run:
        "bench.text.missing",
        "bench.text.missing.explain_missing",
    }


def test_nothing_imports_tests() -> None:
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found.append(node.module or "")
    assert len(found) > 500
    assert [
        name for name in found if name.partition(".")[0] in ("tests", "helpers", "conftest")
    ] == []


def test_numpy_is_never_allowed_to_unpickle() -> None:
    allowing, files = [], 0
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                files += 1
                if getattr(node.value, "value", True) is not False:
                    allowing.append(module_name(path))
    assert files
    assert allowing == []


@pytest.mark.parametrize("path", ON_DEVICES, ids=module_name)
def test_no_device_is_written_into_the_torch_backend(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and ast.get_docstring(node) is not None
    }
    devices = ("cpu", "cuda", "mps", "xpu", "hip", "meta")
    literals = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documentation
        if node.value.split(":")[0] in devices
    }
    assert literals <= set(DEVICE_LITERALS)
    moves = [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in ("cuda", "mps", "xpu")
    ]
    assert moves == []
    copies = [
        node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "cpu"
    ]
    in_parameters = [
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name == "parameters"
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr == "cpu"
    ]
    # The model comes to the host in parameters() and nowhere else.
    assert len(copies) == len(in_parameters)


@pytest.mark.process
def test_importing_backends_loads_nothing_heavy() -> None:
    code = f"""
import json, sys
import backends
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""
    assert json.loads(in_fresh_process(code)) == []


@pytest.mark.process
def test_numpy_backends_need_neither_torch_nor_numba() -> None:
    code = """
import sys
from backends import Ratings, get_backend
ratings = Ratings.from_arrays([1, 2], [1, 1], [1.0, 2.0])
for name in ("numpy", "numpy-als"):
    get_backend(name, rank=2, n_jobs=1).fit(ratings, epochs=1)
print([name for name in ("torch", "numba", "matplotlib") if name in sys.modules])
"""
    assert in_fresh_process(code).strip() == "[]"


# ---- documentation ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", backends.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    thing = getattr(backends, name)
    assert thing.__doc__
    # dataclass and NamedTuple write such a docstring by themselves.
    assert not thing.__doc__.startswith(f"{name}(")
    if inspect.isclass(thing):
        public = [
            (key, value)
            for key, value in vars(thing).items()
            if not key.startswith("_") and callable(value)
        ]
        assert [key for key, value in public if not inspect.getdoc(value)] == []


def test_public_names_are_sorted_and_there() -> None:
    assert backends.__all__ == sorted(backends.__all__)
    assert [name for name in backends.__all__ if not hasattr(backends, name)] == []


def test_every_module_says_what_lives_there() -> None:
    silent = [
        module_name(path)
        for path in SOURCES
        if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert silent == []


def test_every_example_in_a_docstring_works() -> None:
    import doctest

    modules: list[ModuleType] = [
        importlib.import_module(name) for name in ("backends", "backends.registry")
    ]
    for module in modules:
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0


@pytest.mark.process
def test_a_worker_imports_nothing_that_would_count_as_its_backends() -> None:
    heavy = "numba", "pandas", "pyarrow", "scipy", "torch", "matplotlib"
    code = f"""
import sys
import bench.measure.worker
print([name for name in {heavy} if name in sys.modules])
"""
    assert in_fresh_process(code).strip() == "[]"
