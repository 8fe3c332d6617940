"""The registry: names, what is missing and how to get it, presets, backends of other packages."""

import importlib
import importlib.util
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from helpers import in_fresh_process

from backends import (
    BackendUnavailable,
    Factorizer,
    UnknownBackend,
    backend_class,
    get_backend,
    list_backends,
    registry,
)
from backends.registry import _BACKENDS, all_backends, backend_info, unavailable_reason


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call it with a package's name to make it look uninstalled."""

    def hide(package: str) -> None:
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *rest: None if name == package else find_spec(name, *rest),
        )

    return hide


def register(monkeypatch: pytest.MonkeyPatch, **targets: str) -> None:
    """Pretend that another package registered these backends."""
    points = [EntryPoint(name, target, "factorbench.backends") for name, target in targets.items()]
    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda group: points if group == "factorbench.backends" else [],
    )


# ---- names --------------------------------------------------------------------------------------


def test_the_table_is_alphabetical() -> None:
    assert list(_BACKENDS) == sorted(_BACKENDS)


@pytest.mark.parametrize(
    "name", ["numpy", "numba", "torch-cpu", "torch-cuda", "torch-mps", "numpy-als", "torch-cpu-gd"]
)
def test_the_short_names_are_there(name: str) -> None:
    assert name in _BACKENDS


@pytest.mark.parametrize("name", _BACKENDS)
def test_every_target_exists_and_tells_the_truth(name: str) -> None:
    info = backend_info(name)
    for package in info.requires:
        # An adapter's library is imported when a fit begins, and so is Spark.
        if package in ("torch", "triton") or not (info.library or package == "pyspark"):
            pytest.importorskip(package)
    module, _, attribute = info.target.partition(":")
    factorizer = getattr(importlib.import_module(module), attribute)
    assert issubclass(factorizer, Factorizer)
    assert factorizer.steppable == info.steppable
    for _, other in info.optimizers:
        assert backend_info(other).device == info.device
    if info.same_as:
        assert info == backend_info(info.same_as)._replace(same_as=info.same_as)


def test_the_class_of_an_adapter_is_there_without_its_library(without: Any) -> None:
    without("cornac")
    assert backend_class("cornac").__name__ == "Cornac"
    assert backend_class("numba") is backend_class("numba-sgd")
    without("numba")
    with pytest.raises(BackendUnavailable, match="the package numba is not installed"):
        backend_class("numba-sgd")
    with pytest.raises(UnknownBackend, match="did you mean 'cornac'"):
        backend_class("cornack")


def test_a_misspelt_name_gets_a_hint_and_the_list() -> None:
    with pytest.raises(UnknownBackend) as caught:
        get_backend("torch-gpu")
    assert str(caught.value).startswith(
        "no backend is named 'torch-gpu'; did you mean 'torch-cpu'? Known: cmfrec-als, "
    )
    assert str(caught.value).endswith(", ".join(all_backends()))
    with pytest.raises(UnknownBackend) as caught:
        get_backend("zzz")
    assert str(caught.value).startswith("no backend is named 'zzz'. Known: cmfrec-als, ")


# ---- what is missing ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "package"), [("numba-gd", "numba"), ("torch-cpu", "torch"), ("torch-cuda", "torch")]
)
def test_a_missing_package_is_named_with_the_command(without: Any, name: str, package: str) -> None:
    without(package)
    reason = f"the package {package} is not installed; run: pip install 'factorbench[{package}]'"
    assert unavailable_reason(backend_info(name)) == reason
    with pytest.raises(BackendUnavailable) as caught:
        get_backend(name)
    assert str(caught.value) == f"backend {name!r} is not available here: {reason}"


def test_the_list_names_the_reasons(without: Any) -> None:
    without("torch")
    table = list_backends()
    assert table.index.name == "name"
    assert list(table.index) == sorted(table.index)
    assert not table.loc["torch-cpu", "available"]
    assert table.loc["torch-mps", "reason"].startswith(
        "the package torch is not installed; run: pip install"
    )
    assert table.loc["numpy", "available"]
    assert table.loc["numpy", "reason"] == ""
    assert (table["reason"] == "").equals(table["available"])
    assert table.loc["numba", "same_as"] == "numba-sgd"
    assert {"algorithm", "device", "steppable", "deterministic", "minimises"} <= set(table.columns)


@pytest.mark.parametrize("name", ["numba", "numba-gd", "numba-sgd"])
def test_numba_told_not_to_compile_says_so(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    reason = (
        "NUMBA_DISABLE_JIT is set, and the kernels only run compiled; "
        "unset it, and start Python again"
    )
    table = list_backends()
    assert table.loc[name, "reason"] == reason
    assert table.loc["numpy", "available"]
    with pytest.raises(BackendUnavailable) as caught:
        get_backend(name)
    assert str(caught.value) == f"backend {name!r} is not available here: {reason}"
    for value in ("0", "", "no"):  # as numba reads it
        monkeypatch.setenv("NUMBA_DISABLE_JIT", value)
        assert unavailable_reason(backend_info(name)) == ""


@pytest.mark.process
def test_listing_does_not_import_numba() -> None:
    code = """
import sys
from backends import list_backends
list_backends()
print("numba" in sys.modules)
"""
    assert in_fresh_process(code).strip() == "False"


def test_a_build_of_torch_without_cuda_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None, raising=False)
    assert unavailable_reason(backend_info("torch-cuda")) == (
        f"this build of torch ({torch.__version__}) has no CUDA; "
        "on a machine with an NVIDIA GPU install a CUDA build, "
        "see https://pytorch.org/get-started/locally"
    )


def test_a_machine_without_a_device_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert unavailable_reason(backend_info("torch-cuda")) == (
        "torch finds no CUDA device; check the GPU and its driver with: nvidia-smi"
    )
    assert unavailable_reason(backend_info("torch-mps")) == (
        "torch finds no MPS device; it needs an Apple-silicon Mac with macOS 12.3 or later"
    )


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_the_name_decides_the_device(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(registry, "unavailable_reason", lambda info: "")
    assert get_backend(f"torch-{device}").device == device
    assert get_backend(f"torch-{device}", preset="article").device == device


def test_a_device_that_contradicts_the_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # a run recorded as torch-cuda must not have run on the CPU
    pytest.importorskip("torch")
    monkeypatch.setattr(registry, "unavailable_reason", lambda info: "")
    with pytest.raises(ValueError, match="device"):
        get_backend("torch-cuda", device="cpu")


@pytest.mark.process
def test_a_broken_package_does_not_break_the_list(tmp_path: Path) -> None:
    """A torch that fails on import (a missing shared library, say) is a reason, not a traceback."""
    (tmp_path / "torch.py").write_text(
        "raise OSError('libtorch.so: cannot open shared object file')"
    )
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from backends import list_backends
print(list_backends().loc["torch-cuda", "reason"])
"""
    assert "cannot open shared object file" in in_fresh_process(code, str(tmp_path))


# ---- parameters and presets ---------------------------------------------------------------------


def test_parameters_override_the_preset() -> None:
    solver = get_backend("numpy", preset="article", learning_rate=0.5)
    assert (solver.learning_rate, solver.rank, solver.bias) == (0.5, 3, False)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError) as caught:  # compared below
        get_backend("numpy", preset="paper")
    assert str(caught.value) == "backend 'numpy' has no preset 'paper'; it has 'article'"
    with pytest.raises(ValueError) as caught:  # compared below
        get_backend("numpy-als", preset="article")
    assert str(caught.value) == "backend 'numpy-als' has no preset 'article'; it has none"


def test_the_preset_of_the_article_stays_gradient_descent() -> None:
    pytest.importorskip("torch")
    for name in ("torch-cpu", "torch-cpu-gd"):
        solver = get_backend(name, preset="article", rank=5)
        assert (type(solver).__name__, solver.rank, solver.momentum) == ("TorchGD", 5, 0.9)
    other = r'write get_backend\("torch-cpu-gd", preset="article"\)'
    refused = pytest.raises(
        ValueError, match=f"backend 'torch-cpu' has no preset 'article'; {other}"
    )
    with refused, pytest.warns(DeprecationWarning):  # which names Adam
        get_backend("torch-cpu", preset="article", optimizer="adam")
    with pytest.raises(ValueError) as caught:  # compared below
        get_backend("torch-cpu", preset="paper")
    assert str(caught.value) == "backend 'torch-cpu' has no preset 'paper'; it has 'article'"


@pytest.mark.parametrize(
    ("optimizer", "name", "solver"),
    [("adam", "torch-cpu", "TorchAdam"), ("gd", "torch-cpu-gd", "TorchGD")],
)
def test_an_optimizer_is_accepted_for_a_release(optimizer: str, name: str, solver: str) -> None:
    pytest.importorskip("torch")
    with pytest.warns(DeprecationWarning, match=f'write get_backend\\("{name}"\\)'):
        assert type(get_backend("torch-cpu", optimizer=optimizer)).__name__ == solver
    assert type(get_backend(name)).__name__ == solver
    assert get_backend("torch-cpu", preset="article", batch_size=None).epochs == 800
    with pytest.warns(DeprecationWarning):  # None was the default of the two of them
        get_backend("torch-cpu", optimizer=optimizer, batch_size=None)
    with pytest.raises(ValueError, match="has no parameter 'optimizer'"):
        get_backend("torch-cpu-gd", optimizer=optimizer)


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^NumpyGD has no parameter 'n_factors'; it has rank, reg, "
    ):
        get_backend("numpy", n_factors=3)


def test_each_call_returns_a_new_solver() -> None:
    assert get_backend("numpy") is not get_backend("numpy")


# ---- backends of other packages -----------------------------------------------------------------


def test_another_package_registers_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, mine="backends.numpy_als:NumpyALS", aaa="backends.numpy_gd:NumpyGD")
    assert type(get_backend("mine", rank=2)).__name__ == "NumpyALS"
    assert list_backends().loc["mine", "available"]
    assert list(all_backends()) == sorted([*_BACKENDS, "aaa", "mine"])
    with pytest.raises(UnknownBackend, match="did you mean 'mine'"):
        get_backend("mien")


def test_another_package_cannot_replace_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, numpy="backends.numpy_als:NumpyALS")
    assert type(get_backend("numpy")).__name__ == "NumpyGD"
    assert all_backends()["numpy"] == _BACKENDS["numpy"]


@pytest.mark.parametrize("target", ["no_such_module:Mine", "backends.numpy_als:NoSuchClass"])
def test_a_broken_registration_names_its_owner(
    monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    register(monkeypatch, mine=target)
    with pytest.raises(BackendUnavailable, match="'mine'.*" + target.partition(":")[0]):
        get_backend("mine")
    with pytest.raises(UnknownBackend):
        get_backend("nonsense")  # and the others still work
    assert type(get_backend("numpy")).__name__ == "NumpyGD"


@pytest.mark.process
def test_asking_for_names_imports_no_accelerator() -> None:
    code = """
import sys
from backends.registry import all_backends
all_backends()
print("torch" in sys.modules)
"""
    assert in_fresh_process(code).strip() == "False"
