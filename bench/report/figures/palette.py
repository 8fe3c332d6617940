"""How backends look: one colour and one marker each, in every figure and table of a page.

Colours tell themselves apart for colour-blind eyes, with the marker's help, and stand out from white and from the dark
page's paper by 3:1 or more.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

# Okabe and Ito's palette, yellow and black left out, and four of its colours darkened to be seen on white.
PALETTE = ("#d55e00", "#0072b2", "#009e73", "#c65f9b", "#cf8200", "#3a9bd9", "#6d6f76")
RED, BLUE, GREEN, PINK, ORANGE, SKY, GREY = PALETTE
KNOWN = {
    "numpy": (GREY, "o"),
    "numpy-als": (PINK, "D"),
    "numba": (RED, "s"),  # short for numba-sgd, never in one run with it
    "numba-sgd": (RED, "s"),
    "numba-gd": (ORANGE, "^"),
    "numba-als": (GREEN, "d"),
    "torch-cpu": (BLUE, "v"),
    "torch-cuda": (GREEN, "P"),
    "torch-mps": (SKY, "X"),
    "cmfrec": (BLUE, "<"),
    "cornac": (SKY, ">"),
    "fastai": (GREY, "p"),
    "kernelmf": (ORANGE, "h"),
    "lenskit": (GREEN, "*"),
    "libmf": (PINK, "<"),
    "myfm": (RED, ">"),
    "smurff": (PINK, "p"),
    "spark": (GREY, "*"),
    "surprise": (SKY, "h"),
}
OTHER_MARKERS = ("<", ">", "p", "h", "*")  # none of our own backends' markers, so that a stranger never looks like one
GLYPHS = dict(zip("osD^dvPX<>ph*", "●■◆▲♦▼✚✖◀▶⬟⬢★", strict=True))


class Look(NamedTuple):
    """How a backend looks: a colour, and a marker by matplotlib's name."""

    color: str
    marker: str

    @property
    def glyph(self) -> str:
        """The letter that looks like the marker, as text and not as a picture."""
        return GLYPHS[self.marker] + "\N{VARIATION SELECTOR-15}"


def style(name: str) -> Look:
    """Return how a backend looks where nothing else is known: from the table, or by a hash of the name.

    What tells two contenders of one backend apart, " (1 thread)" or ":learning_rate=0.1", makes no difference.
    """
    name = _base(name)
    crc = zlib.crc32(name.encode())
    return Look(*KNOWN.get(name, (PALETTE[crc % len(PALETTE)], OTHER_MARKERS[crc // 8 % len(OTHER_MARKERS)])))


def glyph(name: str) -> str:
    """Return the letter that looks like a backend's marker."""
    return style(name).glyph


def styles(names: Iterable[str]) -> dict[str, Look]:
    """Return how each of some backends looks, no two the same while there are looks left (91).

    Backends of the table keep theirs; a stranger whose look is taken gets the next that is free; of the contenders of
    one backend, those after the first keep its colour as long as that has markers left. The order of the names makes
    no difference, and none gets another look because it is named twice.
    """
    wanted = sorted(set(names), key=lambda name: (_base(name) not in KNOWN, name))
    looks: dict[str, Look] = {}
    taken = {Look(*look) for look in KNOWN.values()}
    for name in wanted:
        first = style(name)
        fresh = first not in looks.values() and (_base(name) in KNOWN or first not in taken)
        looks[name] = first if fresh else next((look for look in _after(first, name) if look not in taken), first)
        taken.add(looks[name])
    return looks


def looks_for(names: Sequence[str], looks: Mapping[str, Look] | None) -> dict[str, Look]:
    """Return the looks of some backends out of all that are known; one that is not looks like its first contender."""
    known = styles(names) if looks is None else looks
    contenders = {_base(name): look for name, look in reversed(list(known.items()))}
    return {name: known.get(name) or contenders.get(name) or style(name) for name in names}


def _base(name: str) -> str:
    """Return the backend's name of a contender's."""
    return re.split(r" \(|:", name, maxsplit=1)[0]


def _after(first: Look, name: str) -> Iterator[Look]:
    """Yield other looks for a name, the likest first: for a known backend by colour, for a stranger by marker."""
    strange = _base(name) not in KNOWN
    others = PALETTE[(start := PALETTE.index(first.color)) :] + PALETTE[:start]
    if strange:
        at = OTHER_MARKERS.index(first.marker)
        yield from (Look(*look[::-1]) for look in product(OTHER_MARKERS[at:] + OTHER_MARKERS[:at], others))
    yield from (Look(*look) for look in product(others, GLYPHS))
