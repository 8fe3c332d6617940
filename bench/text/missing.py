"""One line instead of a traceback where a command needs a package that is not installed.

The commands are in the wheel, most of what they need is in extras. `explain_missing` is called by
the package `bench` itself, before a command imports anything: most imports are those of modules.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]  # of a clone
_NAME = "factorbench"
_USUAL = "bench"  # the extra of what is in none: who runs a command needs it
# Modules that are not named like the package that contains them.
_PACKAGES = {"PIL": "pillow", "markupsafe": "jinja2", "vl_convert": "vl-convert-python"}
_COMMAND = re.compile(r"(-\w*m)?bench(\.\w+)*")  # an argument of Python: "bench.report"


def explain_missing() -> None:
    """Let an import that fails end this process in one line, if it runs one of our commands.

    To be called while Python looks for the module that ``-m`` names, which may be another's. Only
    packages that pyproject.toml names count: those of a backend by others are its own business.
    """
    is_script = Path(sys.argv[0]).stem == _NAME
    if not (is_script or any(map(_COMMAND.fullmatch, sys.orig_argv[1:]))):
        return
    usual = sys.excepthook

    def explain(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        advice = _advice(error)
        if advice is None:
            usual(kind, error, trace)
            return
        print(f"error: {advice}", file=sys.stderr)
        sys.exit(2)  # else Python would exit with 1

    sys.excepthook = explain


def how_to_install(package: str) -> str:
    """Return the command that installs a package of an extra, with all others of that extra."""
    sizes = Counter(extra for _, extra in _requirements())
    fitting = [extra for name, extra in _requirements() if name == package and extra]
    extra = min(fitting, key=lambda extra: sizes[extra], default=_USUAL)  # others contain it
    if _project_of_clone():
        return f"pip install -e '.[{extra}]' in {_ROOT}"
    return f"pip install '{_NAME}[{extra}]'"


def _advice(error: BaseException | None) -> str | None:
    """Return what to say of an error; None if no package of ours is missing."""
    while isinstance(error, ImportError):
        if isinstance(error, ModuleNotFoundError):
            module = str(error.name).partition(".")[0]
            package = _PACKAGES.get(module, module.replace("_", "-").lower())
            if any(name == package for name, _ in _requirements()):
                command = how_to_install(package)
                return f"this needs {package}, which is not installed: {command}"
        error = error.__cause__  # pytest's, of a plugin that cannot be imported
    return None


def _requirements() -> Iterator[tuple[str, str]]:
    """Yield the packages that the project can need, each with its extra; "" for none."""
    project = _project_of_clone()
    if project:  # metadata may be missing, or older than the code
        required = list(project["dependencies"])
        for extra, requirements in project["optional-dependencies"].items():
            required += [f"{requirement}; extra == '{extra}'" for requirement in requirements]
    else:
        required = metadata.requires(_NAME) or []
    for requirement in required:
        name = re.match(r"[\w.-]+", requirement)
        of_extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if name:
            yield name[0].lower(), of_extra[1] if of_extra else ""


def _project_of_clone() -> dict[str, Any] | None:
    """Return what pyproject.toml says if this code is in a clone; None if it is of a wheel."""
    try:
        project = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    except (OSError, KeyError, ValueError):
        return None
    is_ours: bool = project.get("name") == _NAME
    return project if is_ours else None
