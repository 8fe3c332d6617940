"""The rungs of a case's ladder that a backend reached with every seed, and the rounds that timed it."""

from __future__ import annotations

from bench.records import Round
from bench.report.ranking import Case, Entry


def rung_name(factor: float) -> str:
    """Name a rung by how far it is above the reference: "5 %"."""
    return f"{100 * (factor - 1):.3g} %"


def rungs_reached(case: Case, entry: Entry) -> dict[float, list[Round]]:
    """Return the rounds to each rung in use that was reached and timed with every seed, and met in every round."""
    reached: dict[float, list[Round]] = {}
    for factor in case.rungs:
        timed = entry.rounds_to(factor)
        seeds = {one["seed"] for one in timed}
        if timed and seeds == set(entry.record["seeds"]) and all(one["matched"] for one in timed):
            reached[factor] = timed
    return reached
