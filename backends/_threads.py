"""Threads of one fit, for kernels that release the GIL."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any


class Threads:
    """Runs calls side by side on ``n`` threads, of which the caller's is one.

    They belong to one fit and end with it: fits in several threads or after a fork do not meet, which numba's own
    thread pool, one for the process, does not bear. Nor do they spin while they wait.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._others = ThreadPoolExecutor(n - 1, "factorbench") if n > 1 else None

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call ``function`` once with each tuple of arguments and return the results in their order."""
        if self._others is None:
            return [function(*one) for one in arguments]
        futures = [self._others.submit(function, *one) for one in arguments[1:]]
        try:
            first = function(*arguments[0])
        finally:
            wait(futures)
        return [first, *(future.result() for future in futures)]

    def cut(self, n: int, longest: int = 10_000_000) -> list[list[tuple[int, int]]]:
        """Cut ``range(n)`` into one run per thread, and each run into as many pieces, none over ``longest``.

        Returns
        -------
        pieces
            The first piece of each thread, then the second of each, and so on: a Ctrl-C is heard between them.
        """
        runs = [(n * part // self.n, n * (part + 1) // self.n) for part in range(self.n)]
        n_pieces = max(1, -(-max(last - first for first, last in runs) // longest))
        return [
            [
                (first + (last - first) * piece // n_pieces, first + (last - first) * (piece + 1) // n_pieces)
                for first, last in runs
            ]
            for piece in range(n_pieces)
        ]
