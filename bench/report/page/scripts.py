"""Scripts and data within the page, written so that no browser takes them for markup.

The page can run only these scripts, and can neither load nor send anything: see `Scripts.policy`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from bench.report.figures import Look, vega_spec

from .exhibits import Exhibit

_OURS = ("tables.js", "charts.js", "page.js")
_STILL = (*_OURS, "still.js")


class Scripts:
    """The scripts of one page, and the tables of its figures; shared tables are stored once."""

    def __init__(self, looks: dict[str, Look]) -> None:
        self.looks = looks
        drawing, ours = ([bundle()], _OURS) if is_interactive() else ([], _STILL)
        own = "".join((files(__package__) / name).read_text("utf-8") for name in ours)
        self.code = [*drawing, own]
        self.data: dict[str, str] = {}  # the id of each table, by its text

    def figure(self, exhibit: Exhibit) -> Markup:
        """Return the specification of a figure as JSON, with the id of its table."""
        figure = exhibit.figure
        spec: dict[str, Any] = vega_spec(figure, self.looks)
        data, spec["data"] = spec["data"], None  # the page fills it in from the table
        id_ = self.data.setdefault(json.dumps(data), f"data-{len(self.data) + 1}")
        columns = [
            [name, title] for name, title in figure.values.items() if name in figure.table.columns
        ]
        return as_json({"spec": spec, "data": id_, "columns": columns, "stem": exhibit.stem})

    @property
    def tables(self) -> list[tuple[str, str]]:
        """Id and contents of each table: deflated, as data make up most of a large page."""
        return [
            (id_, base64.b64encode(zlib.compress(text.encode(), 9)).decode())
            for text, id_ in self.data.items()
        ]

    @property
    def policy(self) -> str:
        """The content security policy.

        It permits the page's own scripts, by their hashes, its styles, and pictures that it draws.
        """
        hashes = " ".join(f"'sha256-{_digest(code)}'" for code in self.code)
        rest = "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
        return f"default-src 'none'; script-src {hashes}; {rest}"


def is_interactive() -> bool:
    """Return whether vl-convert is installed, without which pages show still pictures."""
    try:
        import vl_convert  # noqa: F401  # only here and below, as it takes 84 MB and is optional
    except ImportError:
        return False
    return True


@cache
def bundle() -> str:
    """Return the JavaScript of Vega-Embed, Vega-Lite and Vega, as installed with vl-convert."""
    import vl_convert

    code: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # Within a script element, "</script" would end it, and "<!--" would begin a comment. Browsers
    # normalise line ends before they compute the hash for the policy.
    return code.replace("\r", "").replace("</script", "<\\/script").replace("<!--", "<\\!--")


def drawn_with() -> str:
    """Return name, version and licence of the libraries that draw the figures."""
    if not is_interactive():
        return f"Matplotlib {version('matplotlib')}"
    import vl_convert

    newest: Sequence[str] = vl_convert.get_vegalite_versions()
    return (
        f"Vega {vl_convert.get_vega_version()}, Vega-Lite {newest[-1]} and Vega-Embed "
        f"{vl_convert.get_vega_embed_version()} (BSD-3-Clause)"
    )


def as_json(value: Any) -> Markup:
    """Return JSON for a script element.

    Characters that could end the element, or a line of JavaScript, are escaped.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def _digest(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
