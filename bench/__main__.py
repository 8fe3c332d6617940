"""``python -m bench``: run the benchmarks of the installed package.

The options are those of ``pytest bench/``, which does the same in a checkout.
"""

import sys

import pytest

_BENCHMARKS = ("bench.bench_time_to_mse", "bench.bench_roofline")


def main() -> int:
    """Run the benchmarks, then print how to see the report; return pytest's exit status."""
    plugins = ["-p", "bench.plugin", "-p", "no:cacheprovider"]
    benchmarks = ["--pyargs", *_BENCHMARKS, "--benchmark-only"]
    status = int(pytest.main([*plugins, *benchmarks, *sys.argv[1:]]))
    print("The report: python -m bench.report")
    return status


if __name__ == "__main__":
    sys.exit(main())
