"""Roofline records, grouped by case and run."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace

from bench.records import EpochCost, RooflineRecord
from bench.text.wording import words

from .plan import NO_PLAN, Missing, Plan, complete_files, file_of, find_missing, group_of


@dataclass(frozen=True)
class Roofline:
    """The roofline records of one case in one run, which share limits and data.

    Attributes
    ----------
    slug
        The title as part of file names and links.
    records
        One per backend, sorted by name.
    superseded
        The number of records left out because the same backend has a newer one.
    missing
        What a run that has not ended is still to measure; None for nothing.
    """

    title: str
    slug: str
    records: list[RooflineRecord]
    superseded: int = field(default=0)
    missing: Missing | None = field(default=None)

    @property
    def costs(self) -> list[tuple[RooflineRecord, EpochCost]]:
        """All measured costs with their records, in the order in which they are shown."""
        return [(record, cost) for record in self.records for cost in record["costs"]]


def group_rooflines(records: list[RooflineRecord], plan: Plan = NO_PLAN) -> list[Roofline]:
    """Group records by case, run and limits; of several per backend, the newest is shown.

    Parameters
    ----------
    plan
        What runs that have not ended are to measure.
    """
    groups: dict[str, list[RooflineRecord]] = {}
    for record in sorted(records, key=lambda record: record["created"]):
        shared = [record["case"]["name"], record["run"], record["case"], record["limits"]]
        groups.setdefault(json.dumps(shared, sort_keys=True), []).append(record)
    rooflines: list[Roofline] = []
    for place, key in enumerate(sorted(groups), 1):
        newest = {record["backend"]["name"]: record for record in groups[key]}
        facts = groups[key][-1]["case"]
        title = f"{facts['dataset']}, seed {facts['seed']}"
        devices = {record["backend"]["device"] for record in groups[key] if record["costs"]}
        if devices - {"cpu"}:
            title += f", {words(sorted(devices))}"
        if len(groups) > 1:
            title += f" ({place})"
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", title).strip("-.").lower()
        if len(slug) > 60 or any(slug == earlier.slug for earlier in rooflines):
            slug = f"{slug[:50]}-{place}"
        slug = slug or f"roofline-{place}"
        shown = [newest[backend] for backend in sorted(newest)]
        rooflines.append(Roofline(title, slug, shown, len(groups[key]) - len(newest)))
    complete = complete_files(record for roofline in rooflines for record in roofline.records)
    return [
        replace(
            roofline,
            missing=find_missing(plan, group_of(file_of(roofline.records[0])), complete),
        )
        for roofline in rooflines
    ]
