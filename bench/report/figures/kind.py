"""The description of a kind of figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from .figure import Figure

Over = Literal["case", "cases", "roofline", "GPU check"]


@dataclass(frozen=True)
class Kind:
    """A kind of figure.

    Attributes
    ----------
    make
        Returns the figures of a subject; [] if there is nothing to show.
    over
        The subject: "case" for a `Case`, "cases" for the list of all cases, "roofline" for a
        `Roofline`, "GPU check" for such a record.
    order
        The position among the kinds with the same subject, the smallest first.
    stems
        The stems of its figures' files, also of those that only earlier releases wrote: files of
        an earlier report are recognised by them.
    method
        How its numbers were measured, one paragraph each.
    numbered
        Whether a number may follow the stem: "size-2".
    about_times
        Whether it shows measured times, so that warnings about them are shown beside it.
    """

    make: Callable[[Any], list[Figure]]
    over: Over
    order: int
    stems: tuple[str, ...]
    method: tuple[str, ...]
    numbered: bool = False
    about_times: bool = False
