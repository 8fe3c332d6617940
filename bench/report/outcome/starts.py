"""The start that stands for several of the same state."""

from __future__ import annotations

from typing import Literal

from bench.records.schema import Cold, Record


def median_start(record: Record, caches: Literal["empty", "filled"]) -> Cold | None:
    """Return the start whose total is the median, None if there is none with these caches.

    Of an even number it is the upper median. A start that was measured is returned, instead of the
    median of each phase, as its phases add up to its total.
    """
    starts = [start for start in record["cold"] if start["caches"] == caches]
    starts.sort(key=lambda start: start["total_seconds"])
    return starts[len(starts) // 2] if starts else None
