"""Who may import whom, and other rules about the source as a whole, read from the source itself."""

import ast
import importlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from helpers import ROOT, in_fresh_process

import backends

SOURCES = sorted(
    path
    for package in ("backends", "bench")
    for path in (ROOT / package).rglob("*.py")
    if "__pycache__" not in path.parts
)
SHARED = {  # modules of backends/ that any backend may use, besides those whose names start with an underscore
    "backends.biases",
    "backends.errors",
    "backends.factorizer",
    "backends.model",
    "backends.momentum_gd",
    "backends.objective",
    "backends.ratings",
    "backends.stopping",
}
KERNEL_IMPORTS = {"collections", "hashlib", "llvmlite", "math", "numba", "numpy", "operator", "pathlib", "typing"}
HEAVY = ("scipy", "torch", "numba", "pandas", "matplotlib", "threadpoolctl", "pytest")

# The only words for devices in the torch modules, and why each is there.
DEVICE_LITERALS = {"cpu": "default of the `device` parameter"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, at_import_time_only: bool = False) -> Iterator[str]:
    """Absolute names of the modules that a file imports; of ``from package import name``, ``package.name``."""
    name = module_name(path)
    package = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body if at_import_time_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join(base + ([node.module] if node.module else []))
            yield from (f"{source}.{alias.name}" for alias in node.names)


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def files_under(*parts: str) -> list[Path]:
    folder = ROOT.joinpath(*parts)
    return [path for path in SOURCES if path == folder.with_suffix(".py") or folder in path.parents]


ENTRANCES = ("backends", "backends.registry", "backends.testing")


def is_shared(name: str) -> bool:
    return name.startswith("backends._") or within(name, SHARED | {"backends.kernels"})


BACKENDS = [
    path for path in files_under("backends") if not is_shared(module_name(path)) and module_name(path) not in ENTRANCES
]


def test_the_files_were_found() -> None:
    names = {module_name(path) for path in SOURCES}
    assert {"backends", "backends.kernels.sgd", "bench.records"} <= names
    assert {"backends.numpy_gd", "backends.torch_embedding"} <= {module_name(path) for path in BACKENDS}
    assert names >= SHARED


@pytest.mark.parametrize("path", files_under("backends", "kernels"), ids=module_name)
def test_kernels_know_arrays_and_their_accelerator(path: Path) -> None:
    allowed = KERNEL_IMPORTS | {"backends.kernels"}
    assert [name for name in imports(path) if not within(name, allowed)] == []


@pytest.mark.parametrize("path", BACKENDS, ids=module_name)
def test_a_backend_never_imports_a_sibling(path: Path) -> None:
    mine = {module_name(path)} | ({"backends.peers"} if "peers" in path.parts else set())
    ours = [name for name in imports(path) if within(name, {"backends", "bench"})]
    assert [name for name in ours if not is_shared(name) and not within(name, mine)] == []


@pytest.mark.parametrize("path", [path for path in files_under("backends") if path not in BACKENDS], ids=module_name)
def test_what_is_shared_imports_no_backend(path: Path) -> None:
    solvers = {module_name(backend) for backend in BACKENDS} - {"backends.peers"}
    assert [name for name in imports(path) if within(name, solvers)] == []


@pytest.mark.parametrize("path", files_under("backends"), ids=module_name)
def test_backends_know_nothing_of_bench(path: Path) -> None:
    assert [name for name in imports(path) if within(name, {"bench"})] == []


@pytest.mark.parametrize("path", files_under("bench"), ids=module_name)
def test_bench_uses_public_names_only(path: Path) -> None:
    public = {f"backends.{name}" for name in backends.__all__} | {"backends", "backends.testing"}
    ours = [name for name in imports(path) if within(name, {"backends"})]
    assert [name for name in ours if name not in public and not name.startswith("backends.testing.")] == []


@pytest.mark.parametrize("path", files_under("bench", "records") + files_under("bench", "report"), ids=module_name)
def test_a_report_needs_no_backend(path: Path) -> None:
    assert [name for name in imports(path) if within(name, {"backends"})] == []


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_nothing_imports_tests(path: Path) -> None:
    assert [name for name in imports(path) if within(name, {"tests", "helpers", "conftest"})] == []


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_nothing_pickles(path: Path) -> None:
    assert [name for name in imports(path) if within(name, {"pickle", "cPickle", "joblib", "dill", "shelve"})] == []
    allowing = [
        node
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.keyword)
        and node.arg == "allow_pickle"
        and getattr(node.value, "value", True) is not False
    ]
    assert allowing == []


@pytest.mark.parametrize("path", sorted((ROOT / "backends").glob("*torch*.py")), ids=lambda path: path.name)
def test_no_device_is_written_into_the_torch_backend(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None
    }
    devices = ("cpu", "cuda", "mps", "xpu", "hip", "meta")
    literals = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
        if node.value.split(":")[0] in devices
    }
    assert literals <= set(DEVICE_LITERALS)
    moves = [
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in ("cuda", "mps", "xpu")
    ]
    assert moves == []
    copies = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "cpu"]
    in_parameters = [
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name == "parameters"
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr == "cpu"
    ]
    assert len(copies) == len(in_parameters)  # the model comes to the host in parameters() and nowhere else


def test_importing_backends_loads_nothing_heavy() -> None:
    code = f"import sys, json, backends; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    assert json.loads(in_fresh_process(code)) == []


def test_numpy_backends_need_neither_torch_nor_numba() -> None:
    code = """
import sys
from backends import Ratings, get_backend
for name in ("numpy", "numpy-als"):
    get_backend(name, rank=2, n_jobs=1).fit(Ratings.from_arrays([1, 2], [1, 1], [1.0, 2.0]), epochs=1)
print([name for name in ("torch", "numba", "matplotlib") if name in sys.modules])
"""
    assert in_fresh_process(code).strip() == "[]"


# ---- documentation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", backends.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    thing = getattr(backends, name)
    assert thing.__doc__
    assert not thing.__doc__.startswith(f"{name}(")  # what dataclass and NamedTuple write by themselves
    if inspect.isclass(thing):
        public = [(key, value) for key, value in vars(thing).items() if not key.startswith("_") and callable(value)]
        assert [key for key, value in public if not inspect.getdoc(value)] == []


def test_public_names_are_sorted_and_there() -> None:
    assert backends.__all__ == sorted(backends.__all__)
    assert [name for name in backends.__all__ if not hasattr(backends, name)] == []


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_every_module_says_what_lives_there(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


def test_every_example_in_a_docstring_works() -> None:
    import doctest

    modules: list[ModuleType] = [importlib.import_module(name) for name in ("backends", "backends.registry")]
    for module in modules:
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0


def test_a_worker_imports_nothing_that_would_count_as_its_backends() -> None:
    heavy = "numba", "pandas", "pyarrow", "scipy", "torch", "matplotlib"
    code = f"import sys, bench.worker; print([name for name in {heavy} if name in sys.modules])"
    assert in_fresh_process(code).strip() == "[]"
