"""The backend that CONTRIBUTING.md tells newcomers to write passes the conformance suite."""

import re
from pathlib import Path
from typing import Any

from backends import Factorizer
from backends.testing import FactorizerConformance

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8")


def code(containing: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (found,) = [block for block in blocks if containing in block and "Conformance" not in block]
    return found


NAMES: dict[str, Any] = {"__name__": __name__}
exec(code("class PlainDescent"), NAMES)


class TestPlainDescent(FactorizerConformance):
    minimises = False
    any_scale = False
    divergent = {"learning_rate": 1e6}  # noqa: RUF012  # as on the page

    def make(self, **params: Any) -> Factorizer:
        solver: Factorizer = NAMES["PlainDescent"](**params)
        return solver
