"""Records of rooflines by case and run."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from bench.records import EpochCost, RooflineRecord


@dataclass(frozen=True)
class Roofline:
    """The rooflines of one case in one run: limits and data are the same in all of them."""

    title: str
    slug: str
    records: list[RooflineRecord]  # one per backend, by name
    superseded: int = field(default=0)  # older records of a backend that is here with a newer one

    @property
    def costs(self) -> list[tuple[RooflineRecord, EpochCost]]:
        """All that was measured, in the order in which it is shown."""
        return [(record, cost) for record in self.records for cost in record["costs"]]


def group_rooflines(records: list[RooflineRecord]) -> list[Roofline]:
    """Sort records by case, run and limits; of several records of one backend the newest is shown."""
    groups: dict[str, list[RooflineRecord]] = {}
    for record in sorted(records, key=lambda record: record["created"]):
        same = [record["case"]["name"], record["run"], record["case"], record["limits"]]
        groups.setdefault(json.dumps(same, sort_keys=True), []).append(record)
    rooflines: list[Roofline] = []
    for number_, name in enumerate(sorted(groups), 1):
        newest = {record["backend"]["name"]: record for record in groups[name]}
        facts = groups[name][-1]["case"]
        title = f"{facts['dataset']}, seed {facts['seed']}" + (f" ({number_})" if len(groups) > 1 else "")
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", title).strip("-.").lower()
        if len(slug) > 60 or any(slug == other.slug for other in rooflines):
            slug = f"{slug[:50]}-{number_}"
        slug = slug or f"roofline-{number_}"
        shown = [newest[backend] for backend in sorted(newest)]
        rooflines.append(Roofline(title, slug, shown, len(groups[name]) - len(newest)))
    return rooflines
