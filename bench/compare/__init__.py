"""Two runs compared: what became slower, faster, worse or better. Run ``python -m bench.compare OLD NEW``.

`differences` says what makes two records not comparable, `comparison` compares those that are, `__main__` prints it.
"""

from .comparison import Comparison, compare

__all__ = ["Comparison", "compare"]
