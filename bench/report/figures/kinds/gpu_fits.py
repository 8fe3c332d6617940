"""The figure of a check of a GPU: seconds to the target against the number of ratings."""

from __future__ import annotations

import pandas as pd

from bench.records import GPUCheck
from bench.report.figures.figure import Axis, Figure, Layer
from bench.report.figures.kind import Kind
from bench.report.figures.shared import SECONDS, tidy, words_of
from bench.text.wording import number

_METHOD = "How the seconds are measured is explained below the tables."
_CAPTION = (
    "Seconds of one fit to the target on this device, with copying and ordering the ratings, "
    "against the number of training ratings. Fits that ended above the target are left out."
)


def gpu_figures(check: GPUCheck) -> list[Figure]:
    """Return the figure, [] if no fit reached its target."""
    table = gpu_table(check)
    if table.empty:
        return []
    points = words_of(
        table, lambda row: f"{row.backend} {number(row.seconds)} s with {row.ratings:,.0f}"
    )
    figure = Figure(
        stem="gpu_fits",
        title="Seconds to the target on the GPU",
        caption=_CAPTION,
        alt=f"Seconds: {points}.",
        table=table,
        x=Axis("training ratings", log=True, switchable=True),
        y=Axis(SECONDS, log=True, switchable=True),
        layers=(Layer("line", "ratings", "seconds"), Layer("point", "ratings", "seconds")),
        subject=check["device"],
        values={"backend": "backend", "ratings": "training ratings", "seconds": "seconds"},
    )
    return [figure]


def gpu_table(check: GPUCheck) -> pd.DataFrame:
    """Return one row per fit that reached its target."""
    rows = [
        {
            "backend": fit["backend"],
            "ratings": fit["n"],
            "seconds": fit["seconds"],
            "prepare_seconds": fit["prepare_seconds"],
            "epochs": fit["epochs"],
        }
        for fit in check["fits"]
        if fit["reached"]
    ]
    table = tidy(rows, ("backend",), ("ratings", "seconds", "prepare_seconds", "epochs"))
    return table.sort_values(["backend", "ratings"], ignore_index=True)


KIND = Kind(
    make=gpu_figures,
    over="GPU check",
    order=10,
    stems=("gpu_fits",),
    method=(_METHOD,),
)
