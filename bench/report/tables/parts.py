"""The table of where speed-ups come from: factors of the engine and of the algorithm."""

from __future__ import annotations

from bench.report.outcome.cases import Case
from bench.report.outcome.parts import Parts, all_parts
from bench.report.outcome.verdict import with_interval

from .table import Table


def parts_table(case: Case) -> Table | None:
    """Return one row per backend whose algorithm is not the yardstick's; None without any."""
    found = all_parts(case)
    if not found or case.yardstick is None:
        return None
    base = case.yardstick.name
    nearly = ""
    if any(parts.between is None for parts in found):
        nearly = (
            " Where no backend of the same engine has that algorithm, the factors are the seconds "
            "per epoch (of the whole fit, preparing included) and the number of epochs. Each is a "
            "median of its own, so that their product may differ a little from the speed-up."
        )
    caption = (
        "Where the speed-up comes from: it is the product of the two factors. The factor of the "
        f"engine compares backends with the algorithm of {base}, the factor of the algorithm two "
        "backends of one engine. If the interval of a factor contains 1, no difference can be "
        f"detected by it.{nearly}"
    )
    header = ["Backend", f"Times as fast as {base} (95 %)", "First factor", "Second factor"]
    rows = [_row(parts, base) for parts in found]
    return Table(caption, [*header, "Epochs"], rows, title="Where the speed-up comes from")


def _row(parts: Parts, base: str) -> list[str]:
    name, between = parts.entry.name, parts.between
    notes = ["", ""]
    if between:
        same = "the same" if between.name == base else f"{between.name} against {base}"
        notes = [f": {same}", f": {name} against {between.name}"]
    factors = [
        f"{with_interval(factor, '')} by {by}{note}"
        for factor, by, note in zip((parts.first, parts.second), parts.by, notes, strict=True)
    ]
    return [name, with_interval(parts.total, ""), *factors, parts.epochs or "the same number"]
