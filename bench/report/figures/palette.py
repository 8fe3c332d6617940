"""The look of backends: one colour and one marker each, in all figures and tables of a page.

Together with the markers, the colours can be distinguished by colour-blind readers. Their contrast
with the background is at least 3:1 on white and on the dark page. A record may specify the look of
its backend as text: "grey o".
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

# Okabe and Ito's palette without yellow and black; four colours are darkened for contrast on white.
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
OTHER_MARKERS = "<>ph*"  # for backends without a specified look; the registry uses the rest
GLYPHS = dict(zip("osD^dvPX<>ph*", "●■◆▲♦▼✚✖◀▶⬟⬢★", strict=True))


class Look(NamedTuple):
    """The colour of a backend, and its marker by matplotlib's name."""

    color: str
    marker: str

    @property
    def glyph(self) -> str:
        """The character that looks like the marker."""
        # The selector asks for text: without it, browsers draw part of them as emoji.
        return GLYPHS[self.marker] + "\N{VARIATION SELECTOR-15}"


def read_look(text: str) -> Look | None:
    """Return a look from its text, "grey o"; None if the text is not a look."""
    color, _, marker = text.partition(" ")
    if color in COLORS and marker in GLYPHS:
        return Look(COLORS[color], marker)
    return None


def hashed_look(name: str) -> Look:
    """Return the look of a backend that does not specify one, from a hash of its name.

    Contenders of the same backend, "numpy (1 thread)" and "numpy:learning_rate=0.1", get the same.
    """
    # `hash` of a text differs from process to process; a checksum does not.
    crc = zlib.crc32(_base(name).encode())
    return Look(PALETTE[crc % len(PALETTE)], OTHER_MARKERS[crc // 8 % len(OTHER_MARKERS)])


def styles(looks: Mapping[str, str]) -> dict[str, Look]:
    """Return the look of each backend, all different as long as there are looks left (of 91).

    A backend with a specified look keeps it; its further contenders keep the colour while markers
    are left. A backend without one gets a look from a hash of its name or, if that is taken, the
    next free one. The order of the names makes no difference.

    Parameters
    ----------
    looks
        The look of each backend as text, by name; "" and other texts that are not a look for none.
    """
    own: dict[str, Look] = {}  # specified looks, by the name of the backend without its contender
    for name in sorted(looks):
        look = read_look(looks[name])
        if look:
            own.setdefault(_base(name), look)
    taken = set(own.values())
    found: dict[str, Look] = {}
    # Specified looks first: hashed ones must not take them.
    for name in sorted(looks, key=lambda name: (_base(name) not in own, name)):
        look = own.get(_base(name)) or hashed_look(name)
        if look in found.values():
            candidates = _same_color_first(look) if _base(name) in own else _same_marker_first(look)
            look = next((candidate for candidate in candidates if candidate not in taken), look)
        found[name] = look
        taken.add(look)
    return {name: found[name] for name in looks}


def looks_for(names: Sequence[str], looks: Mapping[str, Look] | None) -> dict[str, Look]:
    """Return the looks of backends by name.

    Parameters
    ----------
    looks
        The known looks, None for new ones. A backend that is not among them looks like its first
        contender.
    """
    known = styles(dict.fromkeys(names, "")) if looks is None else looks
    contenders: dict[str, Look] = {}
    for name, look in known.items():
        contenders.setdefault(_base(name), look)
    return {name: known.get(name) or contenders.get(name) or hashed_look(name) for name in names}


def _base(name: str) -> str:
    """Return the name of a contender's backend."""
    return re.split(r" \(|:", name, maxsplit=1)[0]


def _same_color_first(look: Look) -> Iterator[Look]:
    """Yield all looks, those of the same colour first."""
    for color, marker in product(_rotated(PALETTE, look.color), GLYPHS):
        yield Look(color, marker)


def _same_marker_first(look: Look) -> Iterator[Look]:
    """Yield all looks, those of the same marker first and those of the registry's markers last."""
    markers = _rotated(tuple(OTHER_MARKERS), look.marker)
    markers += tuple(marker for marker in GLYPHS if marker not in OTHER_MARKERS)
    for marker, color in product(markers, _rotated(PALETTE, look.color)):
        yield Look(color, marker)


def _rotated(items: tuple[str, ...], first: str) -> tuple[str, ...]:
    """Return the items in their cyclic order, beginning with ``first``."""
    start = items.index(first)
    return items[start:] + items[:start]
