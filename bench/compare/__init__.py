"""Comparison of two runs. Run ``python -m bench.compare OLD NEW``.

`differences` finds out whether two records are comparable, `comparison` compares those that are,
and `__main__` prints the results.
"""

from .comparison import Comparison, compare

__all__ = ["Comparison", "compare"]
