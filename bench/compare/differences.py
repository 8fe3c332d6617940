"""Whether the records of two runs are comparable, and what changed between the runs.

Data, objective, target and machine must be the same. Code and versions may differ, as these are
usually what is compared.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.machine.environment import machine_key
from bench.records import Measured

_OLD_OBJECTIVE = (
    "objective: {} was measured with a release before 0.2, which penalised factors and biases by "
    "the same reg, in units of ratings and without damping; measure it again with this release"
)

# Facts by which machines are compared if a record does not contain the machine's hash.
_MACHINE = ("cpu", "cores", "memory_gb")

_LONGEST = 80  # characters of a value


def find_differences(old: Measured, new: Measured) -> tuple[str, ...]:
    """Return why two records are not comparable, one phrase each; () if they are."""
    return (
        *_different_penalties(old, new),
        *_changes(_facts(old), _facts(new)),
        *_different_machines(old, new),
    )


def with_places(found: list[tuple[str, tuple[str, ...]]]) -> list[str]:
    """Return each difference once, with the pairs that have it.

    Parameters
    ----------
    found
        The name of each pair, and its differences.
    """
    places: dict[str, list[str]] = {}
    for pair, differences in found:
        for difference in differences:
            places.setdefault(difference, []).append(pair)
    return [f"{difference} ({_places(pairs, len(found))})" for difference, pairs in places.items()]


def header(old: Path, new: Path, pairs: Sequence[tuple[Measured, Measured]]) -> list[str]:
    """Return lines about the two runs, and about changes of code and versions between them."""
    before = [record for record, _ in pairs]
    now = [record for _, record in pairs]
    changed = "; ".join(_changed(before, now)) or "neither code nor versions, as far as recorded"
    return [
        f"OLD {old}: {_runs(before)}, git {_versions(before, 'git')}",
        f"NEW {new}: {_runs(now)}, git {_versions(now, 'git')}",
        f"Changed: {changed}",
    ]


def _facts(record: Measured) -> dict[str, Any]:
    """Return the facts that must be the same, by their names in words."""
    case, backend = record["case"], record["backend"]
    facts: dict[str, Any] = {"data hash": case["data_hash"]}
    if record["kind"] == "time to MSE":  # rooflines are paired by the number of factors instead
        facts["factors"] = case["rank"]
        facts["seeds"] = record["seeds"]
        facts["target MSE"] = record["target"]["mse"] if record["target"] else None
    facts["reg scaling"] = case["reg_scaling"]
    facts["bias"] = case["bias"]
    facts["dtype"] = backend["dtype"]
    facts["device"] = backend["device"]
    for name, value in backend["params"].items():
        facts[f"parameter {name}"] = value
    return facts


def _different_penalties(old: Measured, new: Measured) -> list[str]:
    """Return the penalties that differ, or one phrase if only one record is older than 0.2."""
    before, now = _penalties(old), _penalties(new)
    if before.get("reg unit") != now.get("reg unit"):
        return [_OLD_OBJECTIVE.format("OLD" if before["reg unit"] == "rating" else "NEW")]
    return _changes(before, now)


def _penalties(record: Measured) -> dict[str, Any]:
    """Return the parameters of the penalties, by their names in words.

    For rooflines there are none, as the time of an epoch does not depend on them.
    """
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


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [
        _change(name, before, now)
        for name in before | now
        if not _same(before.get(name), now.get(name))
    ]


def _change(name: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    return f"{name}: {_text(old.get(name))} before, {_text(new.get(name))} now"


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, float) and isinstance(new, float):
        return math.isclose(old, new, rel_tol=1e-9)
    return bool(old == new)


def _text(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value)
    return textwrap.shorten(text, _LONGEST, placeholder="...") or "..."


def _different_machines(old: Measured, new: Measured) -> list[str]:
    """Return the facts in which two machines differ.

    If both records contain the machine's hash, these are all facts that the hash covers.
    Otherwise only a few are compared.
    """
    old_hash, new_hash = old["key"].get("machine"), new["key"].get("machine")
    before: dict[str, Any] = {**old["environment"]}
    now: dict[str, Any] = {**new["environment"]}
    if old_hash is None or new_hash is None:
        known = [
            name for name in _MACHINE if before.get(name) is not None and now.get(name) is not None
        ]
        if not known:
            return ["machine: not recorded in at least one of the runs"]
        return [_change(name, before, now) for name in known if before[name] != now[name]]
    if old_hash == new_hash:
        return []
    # A fact is covered by the hash if the hash of this fact alone differs.
    changes = [
        _change(name, before, now)
        for name in before | now
        if machine_key(_only(name, before)) != machine_key(_only(name, now))
    ]
    if changes:
        return changes
    hashes = {"machine": f"hash {old_hash}"}, {"machine": f"hash {new_hash}"}
    return [_change("machine", *hashes)]


def _only(name: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {name: facts[name]} if name in facts else {}


def _places(pairs: list[str], n_pairs: int) -> str:
    """Return the pairs that have a difference, in few words."""
    if len(pairs) == n_pairs > 1:
        return f"all {n_pairs} pairs"
    if len(pairs) > 1:
        return f"{pairs[0]}, and {len(pairs) - 1} more"
    return pairs[0]


def _changed(old: Sequence[Measured], new: Sequence[Measured]) -> list[str]:
    """Return what changed in code and versions."""
    names = {"git", "python"}
    for record in [*old, *new]:
        names |= _packages(record).keys()
    found = []
    versions_changed = False
    for name in ["git", "python", *sorted(names - {"git", "python"})]:
        before, now = _versions(old, name), _versions(new, name)
        if before != now:
            found.append(f"{name} {before}, now {now}")
            versions_changed |= name != "git"
    # The key covers packages of backends that the environment does not list.
    if _keys(old, "versions") != _keys(new, "versions") and not versions_changed:
        found.append("a backend of another package")
    if _keys(old, "code") != _keys(new, "code"):
        found.append("source of the solvers or of the benchmark")
    return found


def _packages(record: Measured) -> dict[str, Any]:
    packages = record["environment"].get("packages")
    return packages if isinstance(packages, dict) else {}


def _versions(records: Iterable[Measured], name: str) -> str:
    """Return a version in the records of a folder; several if it contains several runs."""
    found = set()
    for record in records:
        version = {**_packages(record), **record["environment"]}.get(name)
        found.add("not recorded" if version is None else str(version))
    return " or ".join(sorted(found))


def _keys(records: Iterable[Measured], name: str) -> set[str]:
    return {record["key"].get(name, "") for record in records}


def _runs(records: Iterable[Measured]) -> str:
    runs = sorted({record["run"] for record in records})
    return f"run {runs[0]}" if len(runs) == 1 else f"{len(runs)} runs, {runs[0]} to {runs[-1]}"
