"""What a page carries inside itself: scripts, styles, specifications and data that no browser takes for markup.

The page may run these scripts and no others, and can load and send nothing: see `policy`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import vl_convert
from markupsafe import Markup

from bench.report.figures import Look, vega_spec

from .exhibits import Exhibit

_OURS = ("tables.js", "charts.js", "page.js")


class Scripts:
    """The scripts of one page, and the data of its figures, each once however many figures show it."""

    def __init__(self, looks: dict[str, Look]) -> None:
        self.looks = looks
        self.code = [bundle(), "".join((files(__package__) / name).read_text("utf-8") for name in _OURS)]
        self.data: dict[str, str] = {}  # text of a table, and its id

    def figure(self, exhibit: Exhibit) -> Markup:
        """Return the specification of a figure as JSON, with an id in place of its data."""
        figure = exhibit.figure
        spec: dict[str, Any] = vega_spec(figure, self.looks)
        data, spec["data"] = spec["data"], None
        used = [[name, title] for name, title in figure.values.items() if name in figure.table.columns]
        name = self.data.setdefault(json.dumps(data), f"data-{len(self.data) + 1}")
        return as_json({"spec": spec, "data": name, "columns": used, "stem": exhibit.stem})

    @property
    def tables(self) -> list[tuple[str, str]]:
        """Return id and contents of all data: deflated, as it is most of what a large page holds, in base 64."""
        return [(name, base64.b64encode(zlib.compress(text.encode(), 9)).decode()) for text, name in self.data.items()]

    @property
    def policy(self) -> str:
        """Return what the page may do: run its own scripts, style itself, draw pictures that it made itself."""
        hashes = " ".join(f"'sha256-{_digest(code)}'" for code in self.code)
        rest = "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
        return f"default-src 'none'; script-src {hashes}; {rest}"


@cache
def bundle() -> str:
    """Return the JavaScript of Vega-Embed, Vega-Lite and Vega, as installed with vl-convert."""
    code: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return code.replace("\r", "").replace("</script", "<\\/script").replace("<!--", "<\\!--")


def drawn_with() -> str:
    """Return names, versions and licence of what draws the figures of the page."""
    newest: Sequence[str] = vl_convert.get_vegalite_versions()
    return (
        f"Vega {vl_convert.get_vega_version()}, Vega-Lite {newest[-1]} and Vega-Embed "
        f"{vl_convert.get_vega_embed_version()} (BSD-3-Clause)"
    )


def as_json(value: Any) -> Markup:
    """Return JSON to stand in a script element: nothing in it ends the element, or a line where JavaScript is read."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def _digest(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
