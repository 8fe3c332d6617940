"""What a kind of figure is: how its figures are made, and what is known of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from .figure import Figure

Over = Literal["case", "cases", "roofline"]


@dataclass(frozen=True)
class Kind:
    """A kind of figure.

    Attributes
    ----------
    make
        Returns its figures of the subject that ``over`` names; [] where there is nothing to show.
    over
        What it is given: "case" for a `Case`, "cases" for a list of all of them, "roofline" for a
        `Roofline`.
    order
        Its place among the kinds over the same subject, the smallest first.
    stems
        The stems of its figures, by which an earlier report's files are known.
    method
        How its numbers were made, a paragraph each.
    numbered
        Whether a number may follow the stem: "size-2".
    about_times
        Whether it shows times that were measured, so that doubts about them stand beside it.
    """

    make: Callable[[Any], list[Figure]]
    over: Over
    order: int
    stems: tuple[str, ...]
    method: tuple[str, ...]
    numbered: bool = False
    about_times: bool = False
