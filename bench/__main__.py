"""``python -m bench``: the benchmark, wherever the package is installed; options as of ``pytest bench/``."""

import sys

import pytest


def main() -> int:
    """Run the benchmarks of the installed package, then say how to see the report."""
    here = ["-p", "bench.plugin", "--pyargs", "bench.bench_time_to_mse", "--benchmark-only", "-p", "no:cacheprovider"]
    status = int(pytest.main([*here, *sys.argv[1:]]))
    print("The report: python -m bench.report")
    return status


if __name__ == "__main__":
    sys.exit(main())
