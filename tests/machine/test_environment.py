"""What a result was measured on: the facts, how they are read, and which make another machine."""

import json
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import in_fresh_process
from threadpoolctl import threadpool_limits

from bench.machine import environment, variables
from bench.machine.environment import (
    environment_of,
    machine_facts,
    machine_key,
    process_facts,
    short_hash,
    thread_settings,
    throttle_count,
)
from bench.measure.worker_process import WorkerProcess
from bench.records import Environment, MachineFacts

FACTS: dict[str, Any] = {
    "cpu": "Xeon",
    "cores": 2,
    "cpu_limit": 2.0,
    "caches": "L1 32K",
    "memory_gb": 8.0,
    "system": "Linux 6.8",
    "hypervisor": "yes",
    "governor": "performance",
    "gpus": "NVIDIA H100, 81559 MiB, 550.1",
    "settings": {"OMP_WAIT_POLICY": "ACTIVE"},
    "no_turbo": "0",
}
QUERY = "--query-gpu=name,memory.total,driver_version --format=csv,noheader"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Write files in place of those of the first core."""
    monkeypatch.setattr(environment, "_CPU", tmp_path / "cpu" / "cpu0")

    def write(texts: dict[str, str]) -> None:
        for name, text in texts.items():
            path = tmp_path / "cpu" / "cpu0" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def read_instead(monkeypatch: pytest.MonkeyPatch, texts: dict[str, str]) -> None:
    """Let every file but these be absent."""
    monkeypatch.setattr(environment, "_text", lambda path: texts.get(str(path)))


def fake_smi(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str) -> None:
    """Put a program called nvidia-smi on the path, and nothing else but the shell."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), "/usr/bin", "/bin"]))


def without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name in variables._KNOWN or variables._OURS.match(name):
            monkeypatch.delenv(name)


# ---- which machine ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(FACTS))
def test_each_fact_of_the_machine_makes_another_key(name: str) -> None:
    without = {key: value for key, value in FACTS.items() if key != name}
    keys = {machine_key(FACTS), machine_key(without), machine_key(FACTS | {name: "another"})}
    assert len(keys) == 3


@pytest.mark.parametrize(
    "name", ["git", "packages", "python", "load_average", "throttled", "frequency_driver"]
)
def test_what_is_no_fact_of_the_machine_leaves_the_key(name: str) -> None:
    assert machine_key(FACTS | {name: "another"}) == machine_key(FACTS)


def test_a_key_is_short_and_the_same_in_any_order_and_process() -> None:
    assert machine_key(dict(reversed(FACTS.items()))) == machine_key(FACTS)
    assert short_hash({"b": [1, 2.5, None], "a": "x"}) == "b649bb117135db06"
    assert short_hash({"a": "x", "b": [1, 2.5, None]}) == "b649bb117135db06"


def test_the_key_of_this_machine_stays() -> None:
    facts = machine_facts()
    # The facts as read from a record give the same key.
    assert machine_key(facts) == machine_key(json.loads(json.dumps(facts)))
    unread = {"cpu_limit", "caches", "hypervisor", "governor", "gpus", "memory_gb", "no_turbo"}
    assert set(FACTS) - set(facts) <= unread


def test_where_turbo_is_not_told_older_records_are_of_the_same_machine() -> None:
    older = {name: value for name, value in FACTS.items() if name != "no_turbo"}
    assert machine_key(older) == short_hash(older)


# ---- facts --------------------------------------------------------------------------------------


def test_facts_that_cannot_be_read_are_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read_instead(monkeypatch, {})
    monkeypatch.setattr("backends.cpu_quota", lambda: None)
    for name in ("_git_state", "_memory_gb", "_gpus"):
        monkeypatch.setattr(environment, name, lambda: None)
    monkeypatch.setattr(environment, "_CPU", tmp_path)
    facts = machine_facts()
    assert set(facts) == set(MachineFacts.__annotations__)
    known = {name for name, value in facts.items() if value is not None}
    assert known == {"cpu", "cores", "system", "python", "packages", "settings"}
    everything = environment_of(facts)
    assert set(everything) == set(Environment.__annotations__)
    assert {name for name, value in everything.items() if value is not None} == known


def test_facts_are_read(
    monkeypatch: pytest.MonkeyPatch, files: Callable[[dict[str, str]], None]
) -> None:
    files({"cpufreq/scaling_governor": "powersave\n", "cpufreq/scaling_driver": "intel_pstate\n"})
    files({"../intel_pstate/no_turbo": "1\n"})
    without_settings(monkeypatch)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setattr("backends.cpu_quota", lambda: 1.5)
    facts = machine_facts()
    assert facts["cpu_limit"] == 1.5
    assert (facts["governor"], facts["frequency_driver"], facts["no_turbo"]) == (
        "powersave",
        "intel_pstate",
        "1",
    )
    assert facts["settings"] == {"OPENBLAS_CORETYPE": "Haswell"}
    assert facts["packages"]["numpy"] == np.__version__
    assert facts["python"].endswith(sys.version.split()[0])
    assert "no-such-package" not in facts["packages"]


def test_what_a_worker_is_given_in_any_case_makes_no_other_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A worker sees the same machine as the process that started it."""
    without_settings(monkeypatch)
    given: dict[str, str] = {}

    class Stopped(Exception):
        pass

    def seen(*_: Any, env: dict[str, str], **__: Any) -> None:
        given.update(env)
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr("bench.measure.worker_process.subprocess.Popen", seen)
        with pytest.raises(Stopped):
            WorkerProcess(3, tmp_path / "stderr.txt", caches=tmp_path)
    outside = machine_facts()
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert process_facts()["variables"]["OMP_NUM_THREADS"] == "3"
    assert machine_facts()["settings"] == outside["settings"] == {}
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")  # which workers inherit
    assert machine_key(machine_facts()) != machine_key(outside)


def test_packages_that_are_not_installed_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_PACKAGES", ("numpy", "no-such-package"))
    monkeypatch.setattr(environment, "_gpus", lambda: None)
    assert machine_facts()["packages"] == {"numpy": np.__version__}


@pytest.mark.parametrize(
    ("flags", "said"), [("fpu sse2 hypervisor lahf", "yes"), ("fpu sse2 lahf", None)]
)
def test_a_hypervisor_is_seen_by_its_flag(
    monkeypatch: pytest.MonkeyPatch, flags: str, said: str | None
) -> None:
    cpuinfo = (
        "processor\t: 0\n"
        "model name\t: Xeon: the fast one\n"
        f"flags\t\t: {flags}\n"
        "\n"
        "model name\t: second\n"
    )
    read_instead(monkeypatch, {"/proc/cpuinfo": cpuinfo})
    facts = machine_facts()
    assert facts["cpu"] == "Xeon: the fast one"
    assert facts.get("hypervisor") == said


def test_caches_are_those_that_hold_data(files: Callable[[dict[str, str]], None]) -> None:
    assert environment._caches() is None
    for index, (level, kind, size) in enumerate(
        [(1, "Data", "32K"), (1, "Instruction", "64K"), (2, "Unified", "1M")]
    ):
        names = {"level": f"{level}\n", "type": f"{kind}\n", "size": f"{size}\n"}
        files({f"cache/index{index}/{name}": text for name, text in names.items()})
    files({"cache/index3/level": "3\n"})  # of no size
    assert environment._caches() == "L1 32K, L2 1M"


def test_how_often_the_processor_was_throttled(files: Callable[[dict[str, str]], None]) -> None:
    assert throttle_count() is None
    files({"thermal_throttle/core_throttle_count": "12\n"})
    assert throttle_count() == 12
    files({"thermal_throttle/core_throttle_count": "unknown\n"})
    assert throttle_count() is None


# ---- GPUs ---------------------------------------------------------------------------------------


def test_gpus_are_what_nvidia_smi_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_smi(
        monkeypatch,
        tmp_path,
        f'[ "$*" = "{QUERY}" ] || exit 3\necho "H100, 81559 MiB, 550.1"\necho "T4, 1 MiB, 2"',
    )
    assert environment._gpus() == "H100, 81559 MiB, 550.1; T4, 1 MiB, 2"
    assert machine_facts()["gpus"] == "H100, 81559 MiB, 550.1; T4, 1 MiB, 2"


def test_gpus_of_amd_are_what_rocm_smi_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_smi(monkeypatch, tmp_path, "exit 9")
    program = tmp_path / "rocm-smi"
    lines = "device,Card Series,Card Model", "card0,AMD Instinct MI300X,0x74a1", "card1,MI250,"
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    program.chmod(0o755)
    assert environment._gpus() == "AMD Instinct MI300X; MI250"


@pytest.mark.parametrize("body", ["echo 'NVIDIA-SMI has failed'; exit 9", "exit 0", "kill -9 $$"])
def test_an_nvidia_smi_that_fails_or_finds_nothing_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str
) -> None:
    fake_smi(monkeypatch, tmp_path, body)
    assert environment._gpus() is None


def test_without_nvidia_smi_there_are_no_gpus(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment._gpus() is None
    (tmp_path / "nvidia-smi").write_text("not a program")  # nor may it be run
    assert environment._gpus() is None


# ---- this process -------------------------------------------------------------------------------


def test_thread_settings_are_read_back_from_the_libraries() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            settings = thread_settings()
            pools = [
                pool
                for pool in process_facts()["thread_pools"]
                if pool["internal_api"] == "openblas"
            ]
        if "openblas" not in settings:
            pytest.skip("this NumPy has no OpenBLAS")
        assert settings["openblas"] == threads
        assert [pool["num_threads"] for pool in pools] == [threads] * len(pools)


def test_of_several_copies_of_a_library_the_largest_setting_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import threadpoolctl

    pools = [{"internal_api": "openblas", "num_threads": n} for n in (2, 5, 3)]
    monkeypatch.setattr(
        threadpoolctl,
        "threadpool_info",
        lambda: [*pools, {"internal_api": "mkl", "num_threads": 4}],
    )
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    assert thread_settings() == {"openblas": 5, "mkl": 4}


def test_settings_of_torch_and_numba_are_read_where_they_are_loaded() -> None:
    torch = pytest.importorskip("torch")
    numba = pytest.importorskip("numba")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        settings = thread_settings()
    finally:
        torch.set_num_threads(before)
    assert (settings["torch"], settings["numba"]) == (3, numba.config.NUMBA_NUM_THREADS)


def test_facts_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    without_settings(monkeypatch)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    facts = process_facts()
    assert facts["variables"] == {"OMP_NUM_THREADS": "7"}
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.process
def test_the_peak_of_the_memory_counts_what_was_freed() -> None:
    code = """
from bench.machine.environment import peak_memory_mb
before = peak_memory_mb()
block = b"x" * 2**26
del block
print(before, peak_memory_mb())
"""
    before, after = in_fresh_process(code).split()
    assert float(after) == pytest.approx(float(before) + 64, abs=8)


@pytest.mark.process
def test_importing_threadpoolctl_makes_no_other_machine() -> None:
    """It sets a variable, in this process and in those that it starts."""
    code = """
        from bench.machine.environment import machine_facts, machine_key
        before = machine_key(machine_facts())
        import threadpoolctl
        print(machine_key(machine_facts()) == before)
    """
    assert in_fresh_process(textwrap.dedent(code)).strip() == "True"
