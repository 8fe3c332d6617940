"""What two runs have in common: whether their records can be compared at all, and what changed between them.

Data, objective, target and machine have to be the same; code and versions may differ, that is what is compared.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.machine.environment import machine_key
from bench.records import AnyRecord

_ANOTHER_OBJECTIVE = (
    "objective: {} was measured with a release before 0.2, which penalised factors and biases by "
    "one reg, in the ratings' own unit and without damping; measure it again with this release"
)
_UNKNOWN_MACHINE = ("cpu", "cores", "memory_gb")  # facts that stand for the machine where its hash is not recorded


def find_differences(old: AnyRecord, new: AnyRecord) -> tuple[str, ...]:
    """Return what makes two records not comparable, a phrase each."""
    differences = _differences(_facts(old), _facts(new))
    return (*_objectives(old, new), *differences, *_machines(old, new))


def with_places(found: list[tuple[str, tuple[str, ...]]]) -> list[str]:
    """Return each difference once, with where it is."""
    places: dict[str, list[str]] = {}
    for who, differences in found:
        for difference in differences:
            places.setdefault(difference, []).append(who)
    return [f"{difference} ({_where(where, len(found))})" for difference, where in places.items()]


def header(old: Path, new: Path, pairs: Sequence[tuple[AnyRecord, AnyRecord]]) -> list[str]:
    """Say which runs these are, and what changed in code and versions."""
    before, now = zip(*pairs, strict=True)
    changed = "; ".join(_changed(before, now)) or "neither code nor versions, as far as recorded"
    return [
        f"OLD {old}: {_runs(before)}, git {_of(before, 'git')}",
        f"NEW {new}: {_runs(now)}, git {_of(now, 'git')}",
        f"Changed: {changed}",
    ]


def _facts(record: AnyRecord) -> dict[str, Any]:
    """Return what has to be the same, by its name in words; ranks of rooflines are paired instead."""
    case, backend = record["case"], record["backend"]
    facts: dict[str, Any] = {"data hash": case["data_hash"]}
    if record["kind"] == "time to MSE":
        facts |= {"rank": case["rank"], "seeds": record["seeds"]}
        facts["target MSE"] = record["target"]["mse"] if record["target"] else None
    facts |= {"reg scaling": case["reg_scaling"], "bias": case["bias"]}
    facts |= {"dtype": backend["dtype"], "device": backend["device"]}
    return facts | {f"parameter {name}": value for name, value in backend["params"].items()}


def _objectives(old: AnyRecord, new: AnyRecord) -> list[str]:
    """Say which penalties differ, or that all do where one record is older than release 0.2."""
    before, now = _penalties(old), _penalties(new)
    if before.get("reg unit") != now.get("reg unit"):
        return [_ANOTHER_OBJECTIVE.format("OLD" if before["reg unit"] == "rating" else "NEW")]
    return _differences(before, now)


def _penalties(record: AnyRecord) -> dict[str, Any]:
    """Return what the penalties depend on, as `_facts`; an epoch costs the same whatever it is."""
    if record["kind"] == "roofline":
        return {}
    case = record["case"]
    return {
        "reg": case["reg"],
        "reg unit": case["reg_unit"],
        "damping": case["damping"],
        "bias reg": case["bias_reg"],
        "user bias damping": case["user_bias_damping"],
        "item bias damping": case["item_bias_damping"],
    }


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    changed = [name for name in before | now if not _same(before.get(name), now.get(name))]
    return [_difference(name, before, now) for name in changed]


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, float) and isinstance(new, float):
        return math.isclose(old, new, rel_tol=1e-9)
    return bool(old == new)


def _machines(old: AnyRecord, new: AnyRecord) -> list[str]:
    """Say in which facts the machines differ: all that make another machine, or the few where a hash is missing."""
    keys = [record["key"].get("machine") for record in (old, new)]
    before: dict[str, Any] = {**old["environment"]}
    now: dict[str, Any] = {**new["environment"]}
    if None in keys:
        common = [name for name in _UNKNOWN_MACHINE if before.get(name) is not None and now.get(name) is not None]
        changed = [name for name in common if before[name] != now[name]]
        return [_difference(name, before, now) for name in changed] if common else ["machine: not recorded of both"]
    if keys[0] == keys[1]:
        return []
    names = [name for name in before | now if machine_key(_only(name, before)) != machine_key(_only(name, now))]
    unseen = {"machine": f"hash {keys[0]}"}, {"machine": f"hash {keys[1]}"}
    return [_difference(name, before, now) for name in names] or [_difference("machine", *unseen)]


def _only(name: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {name: facts[name]} if name in facts else {}


def _difference(name: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    return f"{name}: {_text(old.get(name))} before, {_text(new.get(name))} now"


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return textwrap.shorten(value if isinstance(value, str) else json.dumps(value), 80, placeholder="...") or "..."


def _where(places: list[str], of: int) -> str:
    if len(places) == of > 1:
        return f"all {of} pairs"
    return places[0] + (f", and {len(places) - 1} more" if len(places) > 1 else "")


def _changed(old: Sequence[AnyRecord], new: Sequence[AnyRecord]) -> list[str]:
    names = ["git", "python", *sorted({name for record in (*old, *new) for name in _packages(record)})]
    found = [f"{name} {_of(old, name)}, now {_of(new, name)}" for name in names if _of(old, name) != _of(new, name)]
    if _keys(old, "versions") != _keys(new, "versions") and not [one for one in found if not one.startswith("git ")]:
        found.append("a backend of another package")
    if _keys(old, "code") != _keys(new, "code"):
        found.append("source of the solvers or of the measuring")
    return found


def _packages(record: AnyRecord) -> dict[str, Any]:
    packages = record["environment"].get("packages")
    return packages if isinstance(packages, dict) else {}


def _of(records: Iterable[AnyRecord], name: str) -> str:
    """Return a version in all records of a run: one, or several where the folder holds several runs."""
    facts = ({**_packages(record), **record["environment"]} for record in records)
    return " or ".join(sorted({str("not recorded" if one.get(name) is None else one[name]) for one in facts}))


def _keys(records: Iterable[AnyRecord], name: str) -> set[str]:
    return {record["key"].get(name, "") for record in records}


def _runs(records: Iterable[AnyRecord]) -> str:
    runs = sorted({record["run"] for record in records})
    return f"run {runs[0]}" if len(runs) == 1 else f"{len(runs)} runs, {runs[0]} to {runs[-1]}"
