"""Which environment variables make another machine, and what of them a record shows."""

import json
import os
from typing import Any

import pytest

from bench.machine import environment, variables
from bench.machine.environment import machine_facts, machine_key, process_facts
from bench.machine.variables import UNLISTED, library_variables, worker_settings


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no variable of a library set."""
    monkeypatch.setattr(environment, "_gpus", lambda: None)
    for name in list(os.environ):
        if name in variables._KNOWN or variables._OURS.match(name):
            monkeypatch.delenv(name)


def key_with(monkeypatch: pytest.MonkeyPatch, **values: str) -> str:
    """The key of this machine with these variables set."""
    with monkeypatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        return machine_key({"settings": worker_settings()})


SETTINGS = """
ATEN_CPU_CAPABILITY BLIS_NUM_THREADS CUBLAS_WORKSPACE_CONFIG CUDA_LAUNCH_BLOCKING
CUDA_VISIBLE_DEVICES DNNL_MAX_CPU_ISA GLIBC_TUNABLES GOMP_CPU_AFFINITY GOMP_SPINCOUNT KMP_AFFINITY
KMP_BLOCKTIME MALLOC_ARENA_MAX MALLOC_TRIM_THRESHOLD_ MKL_CBWR MKL_DEBUG_CPU_TYPE MKL_DYNAMIC
MKL_ENABLE_INSTRUCTIONS MKL_THREADING_LAYER NPY_DISABLE_CPU_FEATURES NUMBA_CPU_FEATURES
NUMBA_CPU_NAME NUMBA_DISABLE_INTEL_SVML NUMBA_DISABLE_JIT NUMBA_ENABLE_AVX NUMBA_OPT
NUMBA_THREADING_LAYER NUMPY_MADVISE_HUGEPAGE NVIDIA_TF32_OVERRIDE OMP_DYNAMIC OMP_PLACES
OMP_PROC_BIND OMP_SCHEDULE OMP_THREAD_LIMIT OMP_WAIT_POLICY ONEDNN_MAX_CPU_ISA OPENBLAS_CORETYPE
PYTORCH_CUDA_ALLOC_CONF PYTORCH_NO_CUDA_MEMORY_CACHING TORCHINDUCTOR_MAX_AUTOTUNE
TORCH_ALLOW_TF32_CUBLAS_OVERRIDE TORCH_BLAS_PREFER_CUBLASLT VECLIB_MAXIMUM_THREADS XLA_FLAGS
"""


@pytest.mark.parametrize("name", SETTINGS.split())
def test_a_variable_that_changes_how_libraries_run_makes_another_machine(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = machine_facts()
    assert before["settings"] == {}
    monkeypatch.setenv(name, "1")
    after = machine_facts()
    assert after["settings"] == {name: "1"}
    assert machine_key(after) != machine_key(before)


SILENT = """
NUMBA_CACHE_DIR TORCHINDUCTOR_CACHE_DIR TORCH_HOME TORCH_EXTENSIONS_DIR TRITON_CACHE_DIR
PYTORCH_KERNEL_CACHE_PATH CUDA_CACHE_PATH CUDA_HOME PATH HOME COMPOSE_FILE ROMP_X TORCH_HUB_TOKEN
MKL_LICENSE_KEY MKL_LICENCE PYTORCH_AUTHORIZATION TORCH_SECRET_1 NPY_PASSWORD
"""


@pytest.mark.parametrize(
    "name",
    SILENT.split(),
)
def test_what_names_a_folder_or_is_secret_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "hunter2")
    assert worker_settings() == library_variables() == {}


@pytest.mark.parametrize("name", ["MKL_NOTES", "OMP_NEW", "TORCHX_Y", "PYTORCH_INTERNAL_URL"])
def test_an_unknown_variable_makes_another_machine_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plain, first = key_with(monkeypatch), key_with(monkeypatch, **{name: "hunter2"})
    assert len({plain, first, key_with(monkeypatch, **{name: "hunter3"})}) == 3
    assert key_with(monkeypatch, **{f"{name}_2": "hunter2"}) != first
    assert key_with(monkeypatch, **{name: "hunter2"}) == first
    monkeypatch.setenv(name, "hunter2")
    shown = json.dumps([machine_facts()["settings"], process_facts()])
    assert list(worker_settings()) == [UNLISTED]
    assert "hunter2" not in shown
    assert name not in shown


def test_several_unknown_variables_are_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"OMP_NEW": "1", "MKL_NEW": "2", "OMP_WAIT_POLICY": "ACTIVE"}
    one = key_with(monkeypatch, OMP_NEW="1", OMP_WAIT_POLICY="ACTIVE")
    assert key_with(monkeypatch, **both) != one
    for name, value in both.items():
        monkeypatch.setenv(name, value)
    assert sorted(worker_settings()) == ["OMP_WAIT_POLICY", UNLISTED]


@pytest.mark.parametrize("name", ["LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT", "XLA_FLAGS"])
def test_paths_are_not_shown_but_make_another_machine(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    first, second = "--x=/site/acme/lib", "--x=/site/other/lib"
    keys = {key_with(monkeypatch, **{name: value}) for value in (first, second)}
    assert len(keys | {key_with(monkeypatch)}) == 3
    monkeypatch.setenv(name, first)
    assert worker_settings()[name].startswith("set (hash ")
    assert "acme" not in json.dumps([worker_settings(), library_variables()])


def test_a_path_variable_without_separator_is_not_shown_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "libacme.so")
    assert "acme" not in worker_settings()["LD_PRELOAD"]


def test_values_are_scrubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_fast=1 --xla_token=hunter2")
    assert worker_settings() == {"XLA_FLAGS": "--xla_fast=1 --xla_token=***"}


def test_without_variables_a_machine_has_the_key_of_older_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    older: dict[str, Any] = {"cpu": "Xeon", "cores": 2, "settings": {}}
    assert machine_key(older | {"settings": worker_settings()}) == machine_key(older)
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    older["settings"] = {"OMP_PROC_BIND": "close"}
    assert machine_key(older | {"settings": worker_settings()}) == machine_key(older)


def test_names_are_listed_once_and_are_no_secrets() -> None:
    assert len(variables._NAMES.split()) == len(variables._KNOWN)
    hidden = {name for name in variables._KNOWN if variables._LEFT_OUT.search(name)}
    assert hidden == {"LD_LIBRARY_PATH"}  # whose value is not shown
