"""What a case is about, for readers who have not seen it: data, target, machine, code to repeat."""

from __future__ import annotations

import re
from keyword import iskeyword
from typing import Any

from bench.records import CaseFacts, Library, Record
from bench.text.wording import mse, number, one_line, plural, words

from .cases import Case, Entry
from .verdict import answers

# What the items of data sets are, by how their names begin; of a file nobody knows.
_ITEMS = {
    "anime": "anime",
    "book-crossing": "books",
    "goodbooks": "books",
    "jester": "jokes",
    "ml-": "movies",
    "netflix": "movies",
}
_WITHOUT_FACTORS = {"global mean": "the mean rating"}
_SYNTHETIC = "anime twin"
_MILLION = 1_000_000
# What is said of rows that were left out, by the policy about pairs that are rated several times.
_DUPLICATES = {"last": "a later row rates the same pair", "mean": "in the mean of the pair"}
# Settings of the objective that are the solvers' defaults too, so that code need not state them.
DEFAULTS: dict[str, Any] = {"bias": True, "reg_scaling": "per_rating", "reg_unit": "rms"}
_SETTINGS = (
    *("rank", "reg", "damping", "bias_reg", "user_bias_damping", "item_bias_damping"),
    *DEFAULTS,
)


def about(case: Case) -> list[tuple[str, str]]:
    """Return data, target and machine in words, as pairs of name and text."""
    pairs = [
        ("Data", data_in_words(case.facts["case"])),
        ("Target", target_in_words(case)),
        ("Machine", machine_in_words(case)),
        ("Not watched here", _not_watched(case)),
    ]
    return [(name, text) for name, text in pairs if text]


def data_in_words(facts: CaseFacts) -> str:
    """Return the data: "1.27 million ratings by 13,771 users of 4,333 anime, synthetic"."""
    total = facts["n_train"] + facts["n_validation"] + facts["n_test"]
    ratings = f"{number(total / _MILLION)} million" if total >= _MILLION else f"{total:,}"
    name = facts["dataset"].lower()
    items = next((what for start, what in _ITEMS.items() if name.startswith(start)), "items")
    synthetic = ", synthetic" if name.startswith(_SYNTHETIC) else ""
    counts = f"{facts['n_users']:,} users of {facts['n_items']:,} {items}"
    return f"{ratings} ratings by {counts}{synthetic} ({one_line(facts['dataset'])})"


def target_in_words(case: Case) -> str:
    """Return what the target means, beside what is reached without factors; "" without one."""
    target, reference = case.facts["target"], case.facts["reference"]
    if not target:
        return ""
    above = 100 * (target["factor"] - 1)
    text = (
        f"a mean squared error (MSE) of {mse(target['mse'])} on ratings held out for validation, "
        f"{above:.3g} % above where exact least squares with factors ends "
        f"({mse(reference['validation_mse'])})"
    )
    without = [
        f"{_WITHOUT_FACTORS.get(name, name)}: {mse(score['validation_mse'])}"
        for name, score in sorted(
            case.facts["baselines"].items(), key=lambda item: item[1]["validation_mse"]
        )
    ]
    return "; ".join([text, *without])


def machine_in_words(case: Case) -> str:
    """Return the processor, the number of cores, and the GPUs if there are any; "" if unknown."""
    environment = case.facts["environment"]
    cores = environment.get("cores")
    facts = (
        environment.get("cpu"),
        plural(cores, "core") if cores else "",
        environment.get("gpus"),
    )
    return ", ".join(fact for fact in facts if fact)


def _not_watched(case: Case) -> str:
    """Return what the system did not show of backends, "" for nothing or in older records."""
    known = [record for record in case.records if record["environment"].get("watched")]
    backends: dict[str, list[str]] = {}
    for record in known:
        watched = str(record["environment"]["watched"])
        if watched != "all":
            of = backends.setdefault(watched.removeprefix("all but "), [])
            of.append(record["backend"]["name"])
    return "; ".join(
        unseen if len(names) == len(known) else f"{unseen} (of {words(sorted(set(names)))})"
        for unseen, names in sorted(backends.items())
    )


def snippet(case: Case) -> str:
    """Return code that fits the backends to take, with what was measured; "" for none.

    There is one line per backend, with the uses that it is the one to take for. Names and values
    from records are literals, so that the code does nothing else, whatever they contain.
    """
    uses: dict[str, list[str]] = {}
    for use, found in answers(case):
        others = f" (or {words(found.names[1:], 'or')})" if found.names[1:] else ""
        uses.setdefault(found.names[0], []).append(f"{use.name.lower()}{others}")
    fits = {entry.name: _arguments(entry.record) for entry in case.ranked if entry.name in uses}
    names = {name for found in fits.values() for name in found}
    if not fits or not all(name.isidentifier() and not iskeyword(name) for name in names):
        return ""
    shared = {
        name: value
        for name, value in next(iter(fits.values())).items()
        if all(name in found and found[name] == value for found in fits.values())
    }
    lines = [
        "from backends import Ratings, get_backend",
        "",
        "# frame: a data frame with the columns user, item and rating",
        _train(case.facts["case"]),
        f"settings = dict({_keywords(shared)})",
    ]
    for entry in case.ranked:
        if entry.name in fits:
            own = {name: value for name, value in fits[entry.name].items() if name not in shared}
            comment = (
                f"# {words(uses[entry.name])}: {plural(_epochs(entry), 'epoch')} to the target"
            )
            library = entry.record.get("library")
            needs = [f"# pip install {_pin(library)}"] if library else []
            lines += ["", comment, *needs, f"solver = {_call(entry, own)}"]
    return "\n".join(lines)


def _train(facts: CaseFacts) -> str:
    """Return code that makes the ratings, where pairs were rated twice as the benchmark did."""
    settings = {name: name for name in ("user", "item", "rating")}
    for policy, said in _DUPLICATES.items():
        if said in facts["dropped"]:
            settings["duplicates"] = policy
    return f"train = Ratings.from_frame(frame, {_keywords(settings)})"


def _pin(library: Library) -> str:
    """Return the requirement of a library as it was measured, with no line end from a record."""
    return "==".join(
        re.sub(r"[^\w.+-]", "", part) for part in (library["name"], library["version"])
    )


def _call(entry: Entry, own: dict[str, Any]) -> str:
    """Return code that makes and fits a backend as in its timed rounds."""
    name = entry.record["backend"]["name"].partition(" (")[0].partition(":")[0]
    arguments = ", ".join(filter(None, [_literal(name), "**settings", _keywords(own)]))
    return f"get_backend({arguments}).fit(train, epochs={_epochs(entry)})"


def _epochs(entry: Entry) -> int:
    """Return how many epochs reach the target with all seeds."""
    return max(entry.epochs, default=1)


def _keywords(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={_literal(value)}" for name, value in values.items())


def _literal(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[\w.-]*", value, re.ASCII):
        return f'"{value}"'
    return repr(value).removesuffix(".0") if isinstance(value, float) else repr(value)


def _arguments(record: Record) -> dict[str, Any]:
    """Return the hyper-parameters of a backend that are not the defaults of all solvers."""
    case: dict[str, Any] = dict(record["case"])
    objective = {name: case[name] for name in _SETTINGS if case[name] != DEFAULTS.get(name)}
    if "library" in record:  # it has its own objective, of which the case says nothing
        objective = {"rank": case["rank"]}
    backend = record["backend"]
    # Solvers differ in their defaults of these.
    own = {"dtype": backend["dtype"], "n_jobs": backend["threads"]}
    return objective | own | backend["params"]
