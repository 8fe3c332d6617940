"""The performance profile: how often a backend is within a factor of the fastest, over several cases.

After Dolan and More, Benchmarking optimization software with performance profiles, Math. Program. 91 (2002). A backend
that did not match a case, or was not measured on it, is within no factor there, so that censored times need no guess.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from .ranking import Case
from .style import Picture, key, legend, log_axis, plain, render, style
from .verdict import TIMES

_CAPTION = (
    "Performance profile: the share of cases in which a backend is within a factor of the fastest. At 1: how often it "
    "is the fastest; far right: how often it matches at all. It says nothing of who beats whom but for the fastest."
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


def draw_profile(cases: Sequence[Case]) -> Picture:
    """Draw the profile over all cases."""
    table = profile_table(cases)
    most = table.groupby("backend")["share"].max()
    said = "; ".join(f"{name} matches in {100 * share:.0f} % of the cases" for name, share in most.items())

    def draw(axes: Axes) -> None:
        last = float(table["factor"].max()) if len(table) else 1.0
        for name, steps in table.groupby("backend"):
            color, marker = style(str(name))
            x, y = [1.0, *steps["factor"], 1.1 * last], [0.0, *steps["share"], steps["share"].max()]
            axes.plot(x, y, color=color, marker=marker, markersize=4.5, lw=1.4, mew=0, drawstyle="steps-post")
        axes.set(
            ylim=(-0.03, 1.03), xlabel=f"times as long as the fastest ({TIMES}, log scale)", ylabel="share of cases"
        )
        log_axis(axes, [1.0, 1.1 * last], room=1.0)
        legend(axes, [(plain(str(name)), key(*style(str(name)), "-")) for name in sorted(set(table["backend"]))])

    height = 3.4 + 0.2 * (len(set(table["backend"])) // 3)
    return render("profile", draw, height, f"over {len(cases)} cases", (_CAPTION, f"Performance profile. {said}."))
