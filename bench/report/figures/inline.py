"""Pictures drawn by matplotlib as elements of a page: small, and in the colours of its theme.

Nothing of a record can become markup: matplotlib draws letters as paths, and its file is read as
XML and written anew from the few elements that show something.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby
from xml.etree import ElementTree

from markupsafe import Markup

from .style import THEME, TITLES, TITLES_HEIGHT

# What positions are rounded to, in points: at most 0.1 pixels where a page shows a figure large.
_SHAPE, _LINE = 0.01, 0.1
# Matplotlib's units of letters are 1/6400 of their size; this many are 0.02 points where that is 8.
_GLYPH_SCALE = 1 / 64
_GLYPH = 16
_NAMESPACE = re.compile(r"\{.*?\}")
_PATH = re.compile(r"([A-Za-z])([^A-Za-z]*)")
_REFERENCE = re.compile(r"#([\w-]+)")
_ALONG = re.compile(r"translate\((\S+) 0\)")  # how a letter is placed in its line
_ZERO = re.compile(r"(?<![\d.])0\.")
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
# What stands once at the root, instead of in a style sheet that would apply to the whole page.
_ROOT = 'stroke-linejoin="round" stroke-linecap="butt"'


def inline_svg(svg: bytes, prefix: str, alt: str = "") -> Markup:
    """Return a picture for inclusion in a page.

    Coordinates are rounded, and elements and names without use are left out. So are title and
    subject, which the page states.

    Parameters
    ----------
    svg
        A file made by `style.file_of`.
    prefix
        Ids begin with it, so that they are unique in the page.
    alt
        The alternative text; "" if something around the picture has one, so that screen readers
        skip the picture.
    """
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
        element.attrib = {_NAMESPACE.sub("", name): text for name, text in element.attrib.items()}
        element.text = element.tail = None
    shapes = _take_shapes(root)
    cut = _take_titles(root)
    _simplify(root)
    words = _set_words(root, shapes)
    used = _references([*words.values(), root])
    shapes |= words
    names = {name: f"{prefix}_{number}" for number, name in enumerate(used, 1)}
    root.insert(0, ElementTree.Element("defs"))
    root[0][:] = [shapes[name] for name in names]
    for child in root:
        for element in child.iter():
            _rewrite(element, names)
    width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
    box = f"0 {cut:g} {width:g} {height - cut:g}"
    role = Markup('role="img" aria-label="{}"').format(alt) if alt else 'aria-hidden="true"'
    inner = "".join(ElementTree.tostring(child, encoding="unicode") for child in root)
    inner = inner.replace(" />", "/>")
    return Markup(f'<svg viewBox="{box}" {_ROOT} {role}>{inner}</svg>')


def _take_shapes(root: ElementTree.Element) -> dict[str, ElementTree.Element]:
    """Remove all definitions; return the shapes by id: letters, markers and areas to clip to.

    Each is defined where it is first used, which may be a text that the page leaves out.
    """
    shapes: dict[str, ElementTree.Element] = {}
    for parent in list(root.iter()):
        for defs in parent.findall("defs"):
            parent.remove(defs)
            shapes |= {shape.attrib["id"]: shape for shape in defs if "id" in shape.attrib}
    return shapes


def _take_titles(root: ElementTree.Element) -> float:
    """Remove title and subject; return the height that they took, in points."""
    cut = 0.0
    for parent in list(root.iter()):
        for child in list(parent):
            if child.get("id") in TITLES:
                parent.remove(child)
                cut = TITLES_HEIGHT * 72
    return cut


def _references(roots: Iterable[ElementTree.Element]) -> list[str]:
    """Return the ids of all shapes that are referred to, in the order of the references."""
    found: dict[str, None] = {}
    for root in roots:
        for element in root.iter():
            for name in ("href", "clip-path"):
                found |= dict.fromkeys(_REFERENCE.findall(element.get(name, "")))
    return list(found)


_Word = tuple[tuple[str, float], ...]  # each letter, and its place relative to the first


def _set_words(
    root: ElementTree.Element, shapes: Mapping[str, ElementTree.Element]
) -> dict[str, ElementTree.Element]:
    """Draw each word that appears several times as one shape, and leave out blanks.

    Returns
    -------
    words
        The new shapes by id.
    """
    texts = {text: _words(text, shapes) for text in root.iter("g")}
    count = Counter(word for words in texts.values() for _, word in words)
    several = [word for word in count if count[word] > 1 and len(word) > 1]
    ids = {word: f"word-{number}" for number, word in enumerate(several)}
    for text, words in texts.items():
        if not words:
            continue
        text[:] = []
        for x, word in words:
            letters = ((ids[word], 0.0),) if word in ids else word
            text.extend(_set(name, x + along) for name, along in letters)
    made: dict[str, ElementTree.Element] = {}
    for word, id_ in ids.items():
        made[id_] = ElementTree.Element("g", {"id": id_})
        made[id_].extend(_set(*letter) for letter in word)
    return made


def _set(name: str, x: float) -> ElementTree.Element:
    """Return a letter or word at its place in a text, in 1/100 of the text's size."""
    use = ElementTree.Element("use", {"href": f"#{name}"})
    if round(x, 1):
        use.set("x", f"{x:.1f}")
    return use


def _words(
    text: ElementTree.Element, shapes: Mapping[str, ElementTree.Element]
) -> list[tuple[float, _Word]]:
    """Return the words of a text, each with its place; [] if the element is not a text."""
    words: list[tuple[float, _Word]] = []
    letters: list[tuple[str, float]] = []
    for use in [*text, None]:
        name = "" if use is None else use.get("href", "").removeprefix("#")
        if use is not None and (name not in shapes or not _is_letter(shapes[name])):
            return []
        if name and "d" in shapes[name].attrib:
            along = _ALONG.fullmatch(use.get("transform", ""))
            letters.append((name, float(along[1]) if along else 0.0))
        elif letters:  # a blank, or the end
            first = letters[0][1]
            words.append((first, tuple((name, round(x - first, 1)) for name, x in letters)))
            letters = []
    return words


def _is_letter(shape: ElementTree.Element) -> bool:
    return shape.get("transform") == f"scale({_GLYPH_SCALE})"


def _simplify(parent: ElementTree.Element) -> None:
    """Remove ids, and paths and groups that draw nothing themselves, below an element."""
    children: list[ElementTree.Element] = []
    for child in parent:
        child.attrib.pop("id", None)
        _simplify(child)
        if child.tag == "g" and not child.attrib:
            children += child
        elif child.tag != "path" or "d" in child.attrib:
            children.append(child)
    parent[:] = children
    _share(parent, "clip-path", "style")


def _share(parent: ElementTree.Element, name: str, *others: str) -> None:
    """Put neighbours that have the same value of an attribute into a group that has it instead.

    Then the same is done within these groups for the other attributes. Matplotlib's styles have no
    "opacity", which would be another one for a group than for its elements.
    """
    children: list[ElementTree.Element] = []
    for value, run in groupby(parent, key=lambda child: _shareable(child, name)):
        same = list(run)
        if value and len(same) > 2:
            for child in same:
                del child.attrib[name]
            group = ElementTree.Element("g", {name: value})
            group[:] = same
            if others:
                _share(group, *others)
            same = [group]
        children += same
    parent[:] = children
    if others:
        _share(parent, *others)


def _shareable(element: ElementTree.Element, name: str) -> str:
    # An area to clip to moves with the element.
    is_moved = name == "clip-path" and "transform" in element.attrib
    return "" if is_moved else element.get(name, "")


def _rewrite(element: ElementTree.Element, names: dict[str, str]) -> None:
    """Shorten an element's attributes, and put in colours and ids of the page."""
    is_glyph = _is_letter(element)
    for name, text in element.attrib.items():
        if name == "d":
            is_line = "fill: none" in element.get("style", "")
            text = _path(text, _GLYPH if is_glyph else _LINE if is_line else _SHAPE)
        elif name == "style":
            text = _style(text)
        elif name == "id":
            text = names[text]
        elif name in ("x", "y", "width", "height"):
            text = f"{float(text):.5g}"
        elif name == "transform":
            text = _NUMBER.sub(lambda found: f"{float(found[0]):.5g}", text)
        elif name in ("href", "clip-path"):
            text = _REFERENCE.sub(lambda found: f"#{names[found[1]]}", text)
        element.set(name, text)
    if is_glyph:
        element.set("transform", f"scale({_GLYPH_SCALE * _GLYPH:g})")


def _style(style: str) -> str:
    for name, color in THEME.items():
        style = style.replace(color, f"var(--{name})")
    return style.replace(": ", ":").replace("; ", ";")


def _path(path: str, unit: float) -> str:
    """Return a path with relative coordinates, rounded to multiples of a unit.

    Not the distances are rounded but the positions, so that errors do not add up.
    """
    pieces: list[str] = []
    at = start = (0, 0)
    for command, text in _PATH.findall(path):
        if command == "z":
            pieces.append("z")
            at = start
            continue
        numbers = [round(float(number) / unit) for number in text.split()]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        moved = [number for x, y in points for number in (x - at[0], y - at[1])]
        scale = 1 if unit > 1 else unit
        pieces.append(_command(command.lower(), [f"{scale * number:.12g}" for number in moved]))
        at = points[-1]
        if command == "M":
            start = at
    return "".join(pieces)


def _command(name: str, numbers: list[str]) -> str:
    """Return a command of a path as short as it can be written."""
    if name == "l" and numbers[1] == "0":
        return f"h{numbers[0]}"
    if name == "l" and numbers[0] == "0":
        return f"v{numbers[1]}"
    # A minus sign separates numbers too, and 0.5 can be written as .5.
    return name + _ZERO.sub(".", " ".join(numbers).replace(" -", "-"))
