"""The performance profile: how often a backend is within a factor of the fastest.

After Dolan and More, "Benchmarking optimization software with performance profiles", Math. Program.
91 (2002). A backend that did not match a case, or was not measured on it, is not within any factor
there. So times longer than a limit need not be estimated.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.report.figures.figure import Axis, Figure, Layer
from bench.report.figures.kind import Kind
from bench.report.figures.shared import tidy
from bench.report.outcome import method
from bench.report.outcome.cases import Case, ratio

_CAPTION = (
    "Performance profile: the share of cases in which a backend is within a factor of the fastest. "
    "At 1: how often it is the fastest. At the far right: how often it was measured and matched. "
    "Only comparisons with the fastest can be read off it, not those between two slower backends."
)
_METHOD = (
    "In each case, the seconds of a backend are divided by those of the fastest. The profile is "
    "the share of cases in which this ratio does not exceed a factor (Dolan and More 2002). A "
    "backend that did not match a case, or was not measured on it, is not within any factor there."
)


def profile_table(cases: Sequence[Case]) -> pd.DataFrame:
    """Return one row per backend and factor at which its share of cases increases.

    Each factor has the bounds of its 95 % interval, if there is one. Cases in which no backend
    matched are left out.
    """
    ranked = [case for case in cases if case.ranked]
    names = sorted({entry.name for case in ranked for entry in case.entries})
    rows = []
    for name in names:
        factors = sorted(
            (
                ratio(entry, case.ranked[0])
                for case in ranked
                for entry in case.ranked
                if entry.name == name
            ),
            key=lambda factor: factor.value,
        )
        # Of equal factors only the last counts, which has the largest share.
        last = {factor.value: (factor, count) for count, factor in enumerate(factors, 1)}
        for factor, count in last.values():
            low, high = factor.interval or (None, None)
            row = {"backend": name, "factor": factor.value, "low": low, "high": high}
            rows.append({**row, "share": count / len(ranked)})
    return tidy(rows, ("backend",), ("factor", "low", "high", "share"))


def profile_figures(cases: Sequence[Case]) -> list[Figure]:
    """Return the profile; [] for a single case, or if no backend matched."""
    table = profile_table(cases)
    if table.empty or len(cases) < 2:
        return []
    most = table.groupby("backend")["share"].max()
    matches = "; ".join(
        f"{name} matches in {100 * share:.0f} % of the cases" for name, share in most.items()
    )
    # Each line begins at a share of 0 and is extended beyond the last step of all lines.
    names = list(most.index)
    last = 1.1 * float(table["factor"].max())
    starts = pd.DataFrame({"backend": names, "factor": 1.0, "share": 0.0})
    ends = pd.DataFrame({"backend": names, "factor": last, "share": list(most)})
    figure = Figure(
        stem="profile",
        title="Performance profile",
        caption=_CAPTION,
        alt=f"Performance profile. {matches}.",
        table=pd.concat([starts, table, ends], ignore_index=True),
        x=Axis("times as long as the fastest", log=True, switchable=True),
        y=Axis("share of cases", limits=(-0.03, 1.03)),
        layers=(Layer("step", "factor", "share"),),
        subject=f"over {len(cases)} cases",
        values={
            "backend": "backend",
            "factor": "times as long",
            "low": "at least",
            "high": "at most",
            "share": "share of cases",
        },
    )
    return [figure]


KIND = Kind(
    make=profile_figures,
    over="cases",
    order=10,
    stems=("profile",),
    method=(_METHOD, method.SEEDS),
)
