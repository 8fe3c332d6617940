"""The performance profile: how often a backend is within a factor of the fastest, over several cases.

After Dolan and More, Benchmarking optimization software with performance profiles, Math. Program. 91 (2002). A backend
that did not match a case, or was not measured on it, is within no factor there, so that censored times need no guess.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.report.figures.figure import Axis, Figure, Layer
from bench.report.figures.kind import Kind
from bench.report.outcome import method
from bench.report.outcome.cases import Case

_CAPTION = (
    "Performance profile: the share of cases in which a backend is within a factor of the fastest. At 1: how often it "
    "is the fastest; far right: how often it matches at all. It says nothing of who beats whom but for the fastest."
)
_WITHIN_A_FACTOR = (
    "For each case, the seconds of a backend are divided by those of the fastest there; the profile counts the cases "
    "in which the ratio is at most so large (Dolan and More 2002). A backend that did not match is within no factor."
)


def profile_table(cases: Sequence[Case]) -> pd.DataFrame:
    """One row per backend and factor at which its share of cases rises; cases in which nobody matched are left out."""
    ranked = [case for case in cases if case.ranked]
    names = sorted({entry.name for case in ranked for entry in case.entries})
    rows = []
    for name in names:
        factors = sorted(
            entry.median / case.ranked[0].median for case in ranked for entry in case.ranked if entry.name == name
        )
        shares = {factor: (index + 1) / len(ranked) for index, factor in enumerate(factors)}
        rows += [{"backend": name, "factor": factor, "share": share} for factor, share in shares.items()]
    return pd.DataFrame(rows, columns=["backend", "factor", "share"])


def profile_figures(cases: Sequence[Case]) -> list[Figure]:
    """Return the profile; none of a single case, or where nobody matched."""
    table = profile_table(cases)
    if table.empty or len(cases) < 2:
        return []
    most = table.groupby("backend")["share"].max()
    said = "; ".join(f"{name} matches in {100 * share:.0f} % of the cases" for name, share in most.items())
    last = 1.1 * float(table["factor"].max())
    ends = [pd.DataFrame({"backend": list(most.index), "factor": 1.0, "share": 0.0})]
    ends += [table, pd.DataFrame({"backend": list(most.index), "factor": last, "share": list(most)})]
    steps = pd.concat(ends, ignore_index=True)
    layers = (Layer("step", "factor", "share"),)
    x = Axis("times as long as the fastest", log=True, switchable=True)
    y = Axis("share of cases", limits=(-0.03, 1.03))
    values = {"backend": "backend", "factor": "times as long", "share": "share of cases"}
    alt, subject = f"Performance profile. {said}.", f"over {len(cases)} cases"
    return [Figure("profile", "Performance profile", _CAPTION, alt, steps, x, y, layers, subject, values=values)]


KIND = Kind(
    make=profile_figures,
    over="cases",
    order=10,
    stems=("profile",),
    method=(_WITHIN_A_FACTOR, method.SEEDS),
)
