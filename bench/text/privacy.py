"""What must not be published is taken out of texts: the home folder, passwords, keys and tokens."""

from __future__ import annotations

import re
from pathlib import Path

_HIDDEN = "***"
# Not monkeys and authors.
_SECRET = "PASS|PWD|KEY(?![a-z])|TOKEN|SECRET|CREDENTIAL|AUTH(?!or)|LICEN|SIGNATURE|COOKIE"
_NAME = rf"[\w.-]*(?:{_SECRET}|AUTHORI[SZ]ATION)[\w.-]*"
# A word of a shell's command line, parts of which may be quoted.
_WORD = r"""(?:'[^']*'|"[^"]*"|\S)+"""

# Each with what takes its place, in this order.
_PATTERNS = [
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # scheme://user:password@host
        (r"(\b[a-z][a-z0-9+.-]*://)[^/?#\s]*@", r"\1"),
        # ?name=value&... of an address
        (rf"([?&]{_NAME}=)[^&#\s'\"]+", rf"\1{_HIDDEN}"),
        # '--name=value', the whole of which is quoted
        (rf"'(-*{_NAME}=)[^']*'(?:(?=[\"']){_WORD})?", rf"'\1{_HIDDEN}'"),
        (rf'"(-*{_NAME}=)[^"]*"', rf'"\1{_HIDDEN}"'),
        # "name": "value" of a dict, name: value of a header, and name = value of code
        (rf"(['\"]{_NAME}['\"]:\s*){_WORD}", rf"\1{_HIDDEN}"),
        (rf"(?<![\w.-])({_NAME}:\s+)(?:(?:Basic|Bearer)\s+)?{_WORD}", rf"\1{_HIDDEN}"),
        (rf"(?<![\w.-])({_NAME}\s+=\s+){_WORD}", rf"\1{_HIDDEN}"),
        # name=value and --name=value, with any part of the value quoted
        (rf"(?<!['\"?&\w.-])({_NAME}=){_WORD}", rf"\1{_HIDDEN}"),
        # --name value, also in a list of words
        (rf"(?<![\w.-])(-{{1,2}}{_NAME}['\"]?,?\s+)(?!-){_WORD}", rf"\1{_HIDDEN}"),
    )
]


def scrub(text: str) -> str:
    """Return a text without what is private.

    The home folder becomes ``~``, also in longer words and paths. User and password are taken out
    of addresses. Values become ``***`` where the name of an option, variable or parameter says that
    they are secret: ``--token=...``, ``API_KEY=...``, ``--password ...``.
    """
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    for home in _homes():
        # Not of another folder whose name is longer.
        text = re.sub(re.escape(home) + r"(?![\w@+-]|\.\w)", "~", text)
    return text


def _homes() -> list[str]:
    """Return the paths of the home folder, the longest first; [] where there is none."""
    try:
        home = Path.home()
        homes = {home, home.resolve()}
    except (RuntimeError, OSError):
        return []
    # In some containers the home folder is the root of all.
    kept = {str(path) for path in homes if path.is_absolute() and path.parent != path}
    return sorted(kept, key=len, reverse=True)
