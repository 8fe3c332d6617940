"""What a case is about, and what it ran on: names and texts that are the same for all its backends, or were not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.records import AnyRecord, CaseFacts, Reference
from bench.report.outcome.cases import Case
from bench.report.outcome.verdict import tuned
from bench.text.wording import DASH, TIMES, mse, number, words

from .table import Table


def case_facts(case: Case) -> list[tuple[str, str]]:
    """Return what a case is about, as names and texts: machine, data, objective, reference, target, baselines."""
    facts, reference = case.facts["case"], case.facts["reference"]
    total = sum(facts[part] for part in ("n_train", "n_validation", "n_test"))
    rows = [
        ("Data", f"{facts['dataset']}: {facts['n_users']:,} users, {facts['n_items']:,} items, {total:,} ratings"),
        (
            "Split",
            f"{facts['split']}: {facts['n_train']:,} training, {facts['n_validation']:,} validation, "
            f"{facts['n_test']:,} test; seed {facts['seed']}",
        ),
        ("Left out", facts["dropped"]),
        ("Objective", _objective(facts)),
        ("Precision", _precision(case)),
        ("Measured apart", _apart(case)),
        (
            "Reference",
            f"validation MSE {mse(reference['validation_mse'])}, test MSE {mse(reference['test_mse'])}: float64 ALS at "
            f"convergence, {_spread(reference)}",
        ),
    ]
    environment = case.facts["environment"]
    machine = [environment.get("cpu"), f"{environment['cores']} cores" if "cores" in environment else None]
    rows.insert(0, ("Machine", ", ".join(str(one) for one in machine if one)))
    target = case.facts["target"]
    factor = f" (reference {TIMES} {target['factor']:g})" if target else "none: the matching rung was dropped"
    rows.append(("Target", f"validation MSE {mse(target['mse'])}{factor}" if target else factor))
    for name, score in case.facts["baselines"].items():
        text = f"validation MSE {mse(score['validation_mse'])}, test MSE {mse(score['test_mse'])}"
        rows.append((f"Baseline {name}", ", ".join(filter(None, [text, tuned(score)]))))
    if case.superseded:
        rows.append(("Not shown", f"{case.superseded} older records of backends that have a newer one here"))
    return [row for row in rows if row[1]]


def _objective(facts: CaseFacts) -> str:
    """Return what J weighs its penalties by; its formula is in `method`."""
    unit = "ratings" if facts["reg_unit"] == "rating" else "the root mean square of r - m"
    scaling = f"{facts['reg_scaling']}, in units of {unit}"
    text = f"rank {facts['rank']}, reg {facts['reg']:g} ({scaling}), damping {facts['damping']:g}"
    if not facts["bias"]:
        return f"{text}; without biases"
    return (
        f"{text}; with biases, bias_reg {facts['bias_reg']:g}, user_bias_damping "
        f"{facts['user_bias_damping']:g}, item_bias_damping {facts['item_bias_damping']:g}"
    )


def _precision(case: Case) -> str:
    found = sorted({one["backend"]["dtype"] for one in case.records if one["rounds"]})
    return f"{found[0]}, in all backends" if len(found) == 1 else words(found)


def _apart(case: Case) -> str:
    """Say what differs between the records of several runs: they were not measured alike then."""
    timed = [one for one in case.records if one["rounds"]]
    if len({one["run"] for one in timed}) < 2:
        return ""
    keys = [one["key"] for one in timed]
    differing = [name for name in ("code", "versions") if len({key.get(name) for key in keys}) > 1]
    return f"with different {words(differing)}: the figures hold that difference too" if differing else ""


def _spread(reference: Reference) -> str:
    if reference["seeds"] == 1:
        return "of one seed"
    return f"median of {reference['seeds']} seeds that lie {number(reference['spread'], 2)} apart"


def environment_tables(records: list[tuple[str, AnyRecord]]) -> list[Table]:
    """Return what was the same wherever it is known, and, apart, what differed between the measured fits."""
    fits = [(case, one["backend"]["name"], dict(_flat("", one["environment"]))) for case, one in records]
    values: dict[str, list[str]] = {}
    for _, _, facts in fits:
        for name, value in facts.items():
            values.setdefault(name, []).append(value)
    same = [[name, found[0]] for name, found in values.items() if len(set(found)) == 1]
    differing = [name for name, found in values.items() if len(set(found)) > 1]
    tables = [Table("The same for all.", ["Fact", "Value"], same)]
    if differing:
        rows = [[who, case, *[facts.get(name, DASH) for name in differing]] for case, who, facts in fits]
        rows = [row for row in rows if set(row[2:]) != {DASH}]
        tables.append(Table("What differed between fits.", ["Backend", "Case", *differing], rows))
    return tables


def _flat(prefix: str, value: Any) -> Iterable[tuple[str, str]]:
    """Yield facts as name and text; an inner dict's names follow its own."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{prefix} {name.replace('_', ' ') if name.islower() else name}".strip(), inner)
    elif isinstance(value, list):
        inner = [
            ", ".join(" ".join(pair) for pair in _flat("", one)) if isinstance(one, dict) else str(one) for one in value
        ]
        yield prefix, "; ".join(inner) or "none"
    elif value is not None:
        yield prefix, number(value) if isinstance(value, float) else str(value)
