"""``python -m bench``: run the benchmarks of the installed package.

The options are those of ``pytest bench/``, which does the same in a checkout. The run does not
depend on the folder that it is started in, which may be one with tests of its own: pytest's
configuration there, its conftest.py, plugins that happen to be installed, and what the environment
says to pytest are for other tests.
"""

import os
import sys
import warnings
from importlib import import_module
from pathlib import Path

import pytest

from bench.text import command

_BENCHMARKS = ("bench.bench_time_to_mse", "bench.bench_roofline")
# What the plugins import: where a package is missing, pytest would show the traceback of a plugin.
_NEEDED = ("pytest_benchmark", "bench.measure.turns", "bench.roofline.measure")
_PLUGINS = ("pytest_benchmark.plugin", "bench.plugin", "no:cacheprovider")


def main() -> int:
    """Run the benchmarks, then print how to see the report; return pytest's exit status."""
    _forget_other_tests()
    for name in _NEEDED:
        import_module(name)
    configuration = Path(__file__).with_name("standalone.ini")
    options = [f"--config-file={configuration}", f"--rootdir={Path.cwd()}", "--noconftest"]
    # pytest's other modes put the folder of the package, which may be site-packages, in front of
    # sys.path: workers would import other modules than this process has.
    options += ["--import-mode=importlib"]
    options += [f"-p{name}" for name in _PLUGINS]
    benchmarks = ["--pyargs", *_BENCHMARKS, "--benchmark-only"]
    status = int(pytest.main([*options, *benchmarks, *sys.argv[1:]]))
    print("The report: python -m bench.report")
    return status


def _forget_other_tests() -> None:
    """Leave nothing in this process that tells pytest, or warnings, how to treat other tests.

    Workers inherit the environment.
    """
    for name in list(os.environ):
        if name.startswith("PYTEST_") or name == "PYTHONWARNINGS":
            del os.environ[name]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # Python's own filters, whatever -W says: as errors, warnings would fail backends.
    sys.warnoptions.clear()
    warnings.resetwarnings()
    for category in (
        DeprecationWarning,
        PendingDeprecationWarning,
        ImportWarning,
        ResourceWarning,
    ):
        warnings.simplefilter("ignore", category)


if __name__ == "__main__":
    command.run(main)
