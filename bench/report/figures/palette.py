"""How backends look: one colour and one marker each, in every figure and table of a page.

Colours tell themselves apart for colour-blind eyes, with the marker's help, and stand out from white and from the dark
page's paper by 3:1 or more. A record may say how its backend looks, as text: "grey o".
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

# Okabe and Ito's palette, yellow and black left out, and four of its colours darkened to be seen on white.
COLORS = {
    "red": "#d55e00",
    "blue": "#0072b2",
    "green": "#009e73",
    "pink": "#c65f9b",
    "orange": "#cf8200",
    "sky": "#3a9bd9",
    "grey": "#6d6f76",
}
RED, BLUE, GREEN, PINK, ORANGE, SKY, GREY = PALETTE = tuple(COLORS.values())
OTHER_MARKERS = "<>ph*"  # of backends without a look of their own; those of registry rows are others
GLYPHS = dict(zip("osD^dvPX<>ph*", "●■◆▲♦▼✚✖◀▶⬟⬢★", strict=True))


class Look(NamedTuple):
    """How a backend looks: a colour, and a marker by matplotlib's name."""

    color: str
    marker: str

    @property
    def glyph(self) -> str:
        """The letter that looks like the marker, as text and not as a picture."""
        return GLYPHS[self.marker] + "\N{VARIATION SELECTOR-15}"


def read_look(text: str) -> Look | None:
    """Read a look, "grey o": the name of a colour and a marker; None where it is not one."""
    color, _, marker = text.partition(" ")
    return Look(COLORS[color], marker) if color in COLORS and marker in GLYPHS else None


def hashed_look(name: str) -> Look:
    """Return how a backend looks that has no look of its own: by a hash of its name alone.

    What tells two contenders of one backend apart, " (1 thread)" or ":learning_rate=0.1", makes no
    difference.
    """
    crc = zlib.crc32(_base(name).encode())
    return Look(PALETTE[crc % len(PALETTE)], OTHER_MARKERS[crc // 8 % len(OTHER_MARKERS)])


def styles(looks: Mapping[str, str]) -> dict[str, Look]:
    """Return how each of some backends looks, no two the same while there are looks left (91).

    A backend with a look of its own keeps it, and its contenders after the first keep its colour as
    long as that has markers left. A backend without one gets its look by a hash of its name, and where
    that look is taken, the next that is free. The order of the names makes no difference.

    Parameters
    ----------
    looks
        The names, and the look of each as text; a text that is no look, "" for one, counts as none.
    """
    own: dict[str, Look] = {}
    for name in sorted(looks):
        look = read_look(looks[name])
        if look:
            own.setdefault(_base(name), look)
    taken = set(own.values())
    made: dict[str, Look] = {}
    for name in sorted(looks, key=lambda name: (_base(name) not in own, name)):
        look = first = own.get(_base(name)) or hashed_look(name)
        if first in made.values():
            others = _alike(first) if _base(name) in own else _strange(first)
            look = next((other for other in others if other not in taken), first)
        made[name] = look
        taken.add(look)
    return {name: made[name] for name in looks}


def looks_for(names: Sequence[str], looks: Mapping[str, Look] | None) -> dict[str, Look]:
    """Return the looks of some backends out of all that are known; one that is not looks like its first contender."""
    known = styles(dict.fromkeys(names, "")) if looks is None else looks
    contenders = {_base(name): look for name, look in reversed(list(known.items()))}
    return {name: known.get(name) or contenders.get(name) or hashed_look(name) for name in names}


def _base(name: str) -> str:
    """Return the backend's name of a contender's."""
    return re.split(r" \(|:", name, maxsplit=1)[0]


def _alike(first: Look) -> Iterator[Look]:
    """Yield all looks, those of the same colour first."""
    yield from (Look(*look) for look in product(_from(PALETTE, first.color), GLYPHS))


def _strange(first: Look) -> Iterator[Look]:
    """Yield all looks, those of the same marker first and those of registry rows' markers last."""
    others = _from(tuple(OTHER_MARKERS), first.marker)
    last = tuple(marker for marker in GLYPHS if marker not in OTHER_MARKERS)
    colors = _from(PALETTE, first.color)
    yield from (Look(color, marker) for marker, color in product(others + last, colors))


def _from(items: tuple[str, ...], first: str) -> tuple[str, ...]:
    """Return the items in their order, from the first on and round to it."""
    at = items.index(first)
    return items[at:] + items[:at]
