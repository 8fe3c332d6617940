"""The kernels' cache on disk: never stale, the same for all sizes, and not required."""

import ast
import gc
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import ROOT, in_fresh_process

pytest.importorskip("numba")

from backends.kernels import _jit


@pytest.mark.process
@pytest.mark.parametrize("weights", ["None", "np.arange(n) % 3 + 0.5"])
def test_small_and_large_data_share_their_kernels(weights: str) -> None:
    """Otherwise a fit would compile kernels that the small warm-up fit did not."""
    code = f"""
import numpy as np
from backends import Ratings, get_backend
from backends.kernels import _jit
users, items = np.divmod(np.random.default_rng(0).permutation(300**2), 300)
for n in (5, 90_000):
    train = Ratings.from_arrays(users[:n], items[:n], np.arange(n) % 5 + 0.5, weights={weights})
    for name in ("numba-als", "numba-sgd", "numba-gd"):
        get_backend(name, n_jobs=2).fit(train, epochs=1)
counts = {{kernel.py_func.__name__: len(kernel.signatures) for kernel in _jit.KERNELS}}
print({{name: n for name, n in counts.items() if n}})
"""
    compiled = ast.literal_eval(in_fresh_process(code))
    assert {
        "solve_rows",
        "sweep",
        "descend",
        "do_tasks",
        "scatter",
        "count_pairs",
        "place",
    } <= compiled.keys()
    # ALS counts ratings a second time, as fields of the records of the first sort.
    assert compiled.pop("count") == 2
    assert set(compiled.values()) == {1}, compiled


@pytest.mark.process
@pytest.mark.slow
def test_kernels_from_the_cache_compute_the_same_to_the_last_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows span many vectors, so that a different order of summation would show."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    code = """
import numpy as np
from backends import Ratings, get_backend
from backends.kernels import _jit
users, items = np.divmod(np.random.default_rng(0).permutation(300**2)[:5000], 300)
train = Ratings.from_arrays(users, items, np.arange(5000) % 5 + 0.5)
for name in ("numba-als", "numba-sgd", "numba-gd"):
    model = get_backend(name, rank=128, n_jobs=1, dtype="float64").fit(train, epochs=1).model_
    print(name, *(array.tobytes().hex() for array in model.parameters.arrays().values()))
print(sum(sum(kernel.stats.cache_misses.values()) for kernel in _jit.KERNELS))
"""
    *compiling, compiled = in_fresh_process(code).splitlines()
    *cached, compiled_again = in_fresh_process(code).splitlines()
    assert int(compiled) > 0 == int(compiled_again), "it was not cached: the test shows nothing"
    assert len(cached) == 3
    assert cached == compiling


@pytest.mark.process
def test_an_edited_callee_is_not_served_stale(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A kernel in one file calls one in another; the second is edited between two processes."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    package = tmp_path / "kernels"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(ROOT / "backends" / "kernels" / "_jit.py", package)
    callee = "from ._jit import kernel\n@kernel\ndef inner(x):\n    return {}\n"
    caller = "from ._jit import kernel\nfrom .callee import inner\n"
    caller += "@kernel\ndef outer(x):\n    return inner(x) + 1\n"
    (package / "caller.py").write_text(caller)
    # Python's own cache tells files apart by size and whole seconds: it must not serve the callee.
    code = f"import sys; sys.dont_write_bytecode = True; sys.path.insert(0, {str(tmp_path)!r})\n"
    code += "from kernels.caller import outer; print(outer(3.0))"
    for body, expected in (("2 * x", "7.0"), ("3 * x", "10.0")):
        (package / "callee.py").write_text(callee.format(body))
        assert in_fresh_process(code).strip() == expected
    assert list(package.glob("__pycache__/*.nbc")), "nothing was cached: the test shows nothing"


@pytest.mark.process
@pytest.mark.parametrize("variable", ["unset", "set"])
def test_kernels_work_where_no_folder_can_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The backends listed as available work there too, but every process compiles again."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "backends", tmp_path / "backends", ignore=ignore)
    (tmp_path / "backends" / "kernels" / "__pycache__").touch()  # a file, which stops even root
    (tmp_path / "file").touch()
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    if variable == "set":
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "file" / "cache"))
    code = f"""
import sys; sys.dont_write_bytecode = True; sys.path.insert(0, {str(tmp_path)!r})
import numpy as np
from backends import get_backend, list_backends
for name in ("numba", "numba-gd", "numba-sgd"):
    assert list_backends().loc[name, "available"]
    get_backend(name)
from backends.kernels.grouping import count
counts = np.zeros(2, np.int64)
count(np.array([1, 1, 0], np.int32), 0, 3, counts)
print(counts, count.stats.cache_path)
"""
    assert in_fresh_process(code).strip() == "[1 2] None"


def test_another_error_of_numba_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**options: Any) -> Any:
        raise RuntimeError("numba is broken")

    monkeypatch.setattr(_jit, "njit", broken)
    with pytest.raises(RuntimeError, match="numba is broken"):
        _jit.kernel(lambda x: x)


@pytest.mark.process
@pytest.mark.slow
def test_a_numba_that_is_too_new_compiles_kernels_in_its_own_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What shortens compiling is not promised by numba, so that it may stop working."""
    code = """
import numba, sys
if sys.argv[1:]:
    numba.__version__ = sys.argv[1]
import numpy as np
from backends import Ratings, get_backend
from backends.kernels import _jit
assert bool(_jit._pipeline(_jit._KernelCompiler)) == (len(sys.argv) == 1)
users, items = np.divmod(np.random.default_rng(0).permutation(300**2)[:5000], 300)
train = Ratings.from_arrays(users, items, users % 5 + items % 3)
for name in ("numba-als", "numba-sgd", "numba-gd"):
    model = get_backend(name).fit(train, epochs=3).model_
    print(model.parameters.user_factors.astype(float).tolist())
"""

    def factors(*version: str) -> list[np.ndarray]:
        lines = in_fresh_process(code, *version).splitlines()
        return [np.array(ast.literal_eval(line)) for line in lines]

    usual = factors()  # from the cache, if other tests have compiled these kernels
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))  # and these are for no other test
    plain = factors("99.0")
    assert len(usual) == len(plain) == 3
    for one, other in zip(usual, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_garbage_is_collected_again_when_the_last_kernel_is_compiled() -> None:
    """In a child that is forked meanwhile, too: no thread of it compiles."""
    paused = _jit._NO_COLLECTION
    was = gc.isenabled()
    try:
        for before in (True, False):
            (gc.enable if before else gc.disable)()
            with paused:
                assert not gc.isenabled()
                with paused:  # another thread
                    pass
                assert not gc.isenabled()
                child = os.fork() if hasattr(os, "fork") else 1
                if not child:
                    os._exit(gc.isenabled() + 2 * paused._inside)
            assert gc.isenabled() == before
            if child != 1:
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == int(before)
    finally:
        (gc.enable if was else gc.disable)()


def test_a_numba_without_a_version_is_taken_for_one_that_is_too_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _jit._pipeline(_jit._KernelCompiler)
    for version in ("0+untagged.1.g123", "1", "0.999.0", "0.99.0dev0"):
        monkeypatch.setattr(_jit.numba, "__version__", version)
        assert _jit._pipeline(_jit._KernelCompiler) == {}


FORKS_WHILE_COMPILING = """
import os, sys, threading, time
import numpy as np
from numba import njit
from backends import Ratings, get_backend

rng = np.random.default_rng(0)
train = Ratings(rng.integers(30, size=500), rng.integers(20, size=500), rng.normal(size=500))
first = threading.Thread(target=lambda: get_backend("numba-als", rank=3).fit(train, epochs=1))
first.start()
children = []
while first.is_alive():
    time.sleep(0.2)
    if len(children) < 4 and first.is_alive():
        child = os.fork()
        if not child:
            assert njit(lambda x: x + 1)(1) == 2
            os._exit(0)
        children.append(child)
statuses = [os.waitpid(child, 0)[1] for child in children]
print(len(children), set(statuses))
"""


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_children_that_are_forked_while_a_thread_compiles_can_compile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of numba's compiler, which the thread holds, is free in the child."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore::DeprecationWarning")  # of forks beside threads
    n_children, statuses = in_fresh_process(FORKS_WHILE_COMPILING, timeout=170).split(maxsplit=1)
    assert int(n_children) > 0
    assert statuses.strip() == "{0}"
