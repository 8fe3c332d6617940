"""``python -m bench``: the benchmark, wherever the package is installed; options as of ``pytest bench/``."""

import sys

import pytest

_BENCHMARKS = ("bench.bench_time_to_mse", "bench.bench_roofline")


def main() -> int:
    """Run the benchmarks of the installed package, then say how to see the report."""
    here = ["-p", "bench.plugin", "-p", "no:cacheprovider", "--pyargs", *_BENCHMARKS, "--benchmark-only"]
    status = int(pytest.main([*here, *sys.argv[1:]]))
    print("The report: python -m bench.report")
    return status


if __name__ == "__main__":
    sys.exit(main())
