"""The facts about a case and about the machine, shared by all its backends or not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.records import TUNED, CaseFacts, Environment, Measured, Reference
from bench.report.outcome.cases import Case, ratio
from bench.report.outcome.verdict import tuned as tuned_values
from bench.report.outcome.verdict import with_interval
from bench.text.wording import DASH, mse, number, plural, words

from .table import Table

_SHOWN = 6  # columns of the differences between fits, unless more are asked for
# Libraries with threads of their own, by the names of threadpoolctl.
_LIBRARIES = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS", "openmp": "OpenMP"}


def case_facts(case: Case) -> list[tuple[str, str]]:
    """Return the facts about a case as pairs of name and text; unknown ones are left out."""
    facts = case.facts["case"]
    total = facts["n_train"] + facts["n_validation"] + facts["n_test"]
    data = (
        f"{facts['dataset']}: {facts['n_users']:,} users, {facts['n_items']:,} items, "
        f"{total:,} ratings"
    )
    split = (
        f"{facts['split']}: {facts['n_train']:,} training, {facts['n_validation']:,} validation, "
        f"{facts['n_test']:,} test; seed {facts['seed']}"
    )
    rows = [
        ("Data", data),
        ("Split", split),
        ("Left out", facts["dropped"]),
        ("Objective", _objective(facts)),
        ("Precision", _precision(case)),
        ("Order", _order(case)),
        ("Several runs", _measured_apart(case)),
        ("Reference", _reference(case.facts["reference"])),
        ("Tuning", _tuning(case)),
    ]
    for name, score in case.facts["baselines"].items():
        text = f"validation MSE {mse(score['validation_mse'])}, test MSE {mse(score['test_mse'])}"
        rows.append((f"Baseline {name}", ", ".join(filter(None, [text, tuned_values(score)]))))
    if case.superseded:
        text = f"{case.superseded} older records of backends that have a newer one here"
        rows.append(("Not shown", text))
    return [(name, text) for name, text in rows if text]


def _objective(facts: CaseFacts) -> str:
    """Return the parameters of the objective J, whose formula is in `method`."""
    unit = "ratings" if facts["reg_unit"] == "rating" else "the root mean square of r - m"
    text = (
        f"{plural(facts['rank'], 'factor')}, reg {facts['reg']:g} "
        f"({facts['reg_scaling']}, in units of {unit}), damping {facts['damping']:g}"
    )
    if not facts["bias"]:
        return f"{text}; without biases"
    return (
        f"{text}; with biases, bias_reg {facts['bias_reg']:g}, user_bias_damping "
        f"{facts['user_bias_damping']:g}, item_bias_damping {facts['item_bias_damping']:g}"
    )


def _precision(case: Case) -> str:
    dtypes = sorted({record["backend"]["dtype"] for record in case.records if record["rounds"]})
    return f"{dtypes[0]}, in all backends" if len(dtypes) == 1 else words(dtypes)


def _order(case: Case) -> str:
    """Return whether the backends took turns, "" for a single backend."""
    timed = [entry for entry in case.entries if entry.record["rounds"]]
    if len(timed) < 2:
        return ""
    uncovered = "intervals do not cover changes of the machine's speed"
    alone = [entry.name for entry in timed if entry.record["order"] == "sequential"]
    if len(alone) == len(timed):
        return f"one backend after the other; {uncovered} from one to the next"
    if alone:
        others = [entry.name for entry in timed if entry.name not in alone]
        return (
            f"{words(others)} took turns, {words(alone)} did not; where one of the latter is "
            f"compared, {uncovered}"
        )
    if len({entry.record["run"] for entry in timed}) > 1:
        return f"the backends of each run took turns; between runs, {uncovered}"
    return (
        "the backends took turns, in blocks with one round of each in random order, so that slow "
        "changes of the machine's speed cancel"
    )


def _measured_apart(case: Case) -> str:
    """Return what changed between the runs that the records come from, "" for nothing."""
    if not case.changed:
        return ""
    return f"with different {words(case.changed)}: the figures include the effect of that"


def _reference(reference: Reference) -> str:
    scores = (
        f"validation MSE {mse(reference['validation_mse'])}, test MSE {mse(reference['test_mse'])}"
    )
    seeds = "of one seed"
    if reference["seeds"] > 1:
        spread = number(reference["spread"], 2)
        seeds = f"median of {reference['seeds']} seeds that differ by {spread}"
    note = f"; {reference['note']}" if reference.get("note") else ""
    return f"{scores}: float64 ALS at convergence, {seeds}{note}"


def _tuning(case: Case) -> str:
    """Return which backends were tuned, for how long, and what that gained."""
    # By the name of the backend and its threads; the shown names may have the threads added.
    entries = {
        (entry.record["backend"]["name"], entry.record["backend"]["threads"]): entry
        for entry in case.entries
        if "tuning" in entry.record
    }
    searches = {
        (name.removesuffix(TUNED), threads): entry.record["tuning"]
        for (name, threads), entry in entries.items()
    }
    if not searches:
        return "none; python -m bench.tune gives each backend the same number of trials"
    trials = words(sorted({str(tuning["trials"]) for tuning in searches.values()}))
    seconds = sum(tuning["seconds"] for tuning in searches.values())
    names = words(sorted({name for name, _ in searches}))
    clauses = [f"{names}: {trials} trials each, {seconds:,.0f} s"]
    gains = []
    for name, threads in searches:
        default, tuned = entries.get((name, threads)), entries.get((name + TUNED, threads))
        if default in case.ranked and tuned in case.ranked:
            gains.append(f"{name} {with_interval(ratio(default, tuned))}")
    if gains:
        clauses.append(f"times as fast as before: {', '.join(gains)}")
    kept = sorted({name for (name, _), found in searches.items() if not found["params"]})
    if kept:
        clauses.append(f"no trial was clearly better than the first for {words(kept)}")
    return "; ".join(clauses)


def environment_tables(
    records: list[tuple[str, Measured]], machines: list[tuple[str, Environment]]
) -> list[Table]:
    """Return tables of the facts about the machine that all fits share, and of the others.

    Parameters
    ----------
    records
        Pairs of a case's title and a record.
    machines
        Pairs of a title and an environment of several backends.
    """
    fits = [
        (case, record["backend"]["name"], dict(_flattened("", record["environment"])))
        for case, record in records
    ]
    fits += [(title, DASH, dict(_flattened("", facts))) for title, facts in machines]
    values: dict[str, list[str]] = {}
    for _, _, facts in fits:
        for name, value in facts.items():
            values.setdefault(name, []).append(value)
    same = [[name, found[0]] for name, found in values.items() if len(set(found)) == 1]
    differing = [name for name, found in values.items() if len(set(found)) > 1]
    tables = [Table("The same for all.", ["Fact", "Value"], same, title="Environment of all fits")]
    if differing:
        rows = [
            [backend, case, *[facts.get(name, DASH) for name in differing]]
            for case, backend, facts in fits
        ]
        rows = [row for row in rows if set(row[2:]) != {DASH}]
        header = ["Backend", "Case", *differing]
        more = frozenset(range(_SHOWN, len(header)))
        title = "Differences between fits"
        tables.append(Table(f"{title}.", header, rows, more=more, title=title))
    return tables


def _flattened(prefix: str, value: Any) -> Iterable[tuple[str, str]]:
    """Yield pairs of name and text; names in nested dicts begin with the outer name."""
    if isinstance(value, dict):
        for name, nested in value.items():
            shown = name.replace("_", " ") if name.islower() else name
            yield from _flattened(f"{prefix} {shown}".strip(), nested)
    elif isinstance(value, list):
        yield prefix, "; ".join(_list_item(item) for item in value) or "none"
    elif isinstance(value, float):
        yield prefix, number(value)
    elif value is not None:
        yield prefix, str(value)


def _list_item(item: Any) -> str:
    if isinstance(item, dict) and item.get("num_threads"):
        return _thread_pool(item)
    if isinstance(item, dict):
        return ", ".join(f"{name} {text}" for name, text in _flattened("", item))
    return str(item)


def _thread_pool(pool: dict[str, Any]) -> str:
    """Return a library that has threads of its own: "OpenBLAS 0.3.30 (SkylakeX): 2 threads"."""
    api = pool.get("internal_api") or pool.get("user_api") or "unknown library"
    name = " ".join(filter(None, [_LIBRARIES.get(api, api), pool.get("version")]))
    details = words(
        [str(pool[what]) for what in ("architecture", "threading_layer") if pool.get(what)]
    )
    text = f"{name} ({details})" if details else name
    return f"{text}: {plural(pool['num_threads'], 'thread')}"
