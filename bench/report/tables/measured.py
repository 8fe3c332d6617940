"""The tables below a ranking: warnings, targets, phases of a fit, starts, memory and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.records import ListMetrics, Round
from bench.report.outcome.cases import Case, Entry
from bench.report.outcome.starts import median_start
from bench.report.outcome.uses import LOOP, USES
from bench.stats import by_seed, seed_range, summary
from bench.text.wording import DASH, TIMES, mse, number, words

from .table import Table

_PHASES = ("prepare_seconds", "first_epoch_seconds", "epoch_seconds")


def measured_tables(case: Case) -> list[Table]:
    """Return the tables that have rows."""
    tables = [
        _warnings(case),
        _targets(case),
        _libraries(case),
        _tuning(case),
        _seconds_to_targets(case),
        _lists(case),
        _phases(case),
        _starts(case),
        _memory(case),
        _seeds(case),
    ]
    return [table for table in tables if table.rows]


def seconds_or_more(entry: Entry, digits: int = 3) -> str:
    """Return the seconds to the target as text: "> T" if the fit was stopped after T seconds."""
    if not entry.why:
        return number(entry.median, digits)
    gave_up = entry.record["gave_up_after"]
    return DASH if gave_up is None else f"> {number(gave_up, digits)}"


def extent(values: Sequence[str]) -> str:
    """Return the range of numbers written as text: "4 to 5", or "4" if all are the same."""
    if len(set(values)) == 1:
        return values[0]
    return f"{min(values, key=float)} to {max(values, key=float)}"


def warning_id(case: Case, entry: Entry) -> str:
    """Return the identifier of the row with a backend's warnings on the page."""
    return f"warning-{case.entries.index(entry) + 1}--{case.slug}"


def _table(title: str, caption: str, header: list[str], rows: list[list[str]]) -> Table:
    """Return a table in which all columns but the first are numbers."""
    return Table(caption, header, rows, frozenset(range(1, len(header))), title=title)


def _warnings(case: Case) -> Table:
    entries = [entry for entry in case.entries if entry.warnings]
    return Table(
        "Warnings: reasons to be careful with a result.",
        ["Backend", "Warnings"],
        [[entry.name, "; ".join(entry.warnings)] for entry in entries],
        ids=tuple(warning_id(case, entry) for entry in entries),
        title="Warnings",
    )


def _targets(case: Case) -> Table:
    matching = case.facts["target"]
    rows = []
    for level in case.facts["ladder"]:
        if level["dropped"]:
            state = f"dropped: {level['dropped']}"
        elif matching is not None and level["factor"] == matching["factor"]:
            state = "the matching target"
        else:
            state = "in use"
        rows.append([f"{TIMES} {level['factor']:g}", mse(level["mse"]), state])
    caption = "The targets, as multiples of the reference."
    return Table(
        caption, ["Target", "Validation MSE", "State"], rows, frozenset({1}), title="Targets"
    )


def _seconds_to_targets(case: Case) -> Table:
    """Return seconds and epochs to each target in use; no rows without one."""
    rows: list[list[str]] = []
    if case.targets:
        rows = [
            [entry.name, *[_to_target(entry, factor) for factor in case.targets]]
            for entry in case.entries
        ]
    caption = (
        "Seconds to each target and the epochs that they take. The matching target is timed with "
        "each seed, the others in one fit each. "
        f"{DASH}: not reached before the fit was given up, or not measured."
    )
    header = ["Backend", *[f"{TIMES} {f:g}" for f in case.targets]]
    return _table("Seconds to each target", caption, header, rows)


def _to_target(entry: Entry, factor: float) -> str:
    """Return seconds and epochs of a backend to one target, given by its factor."""
    found = [
        level["epochs"]
        for calibration in entry.record["calibrations"]
        for level in calibration["rungs"]
        if level["factor"] == factor
    ]
    counts = [str(epochs) for epochs in found if epochs is not None]
    if len(counts) < len(entry.record["seeds"]):  # some seed did not reach it
        return DASH
    epochs = f"{extent(counts)} {'epoch' if set(counts) == {'1'} else 'epochs'}"
    timed = entry.rounds_to(factor)
    if not timed:
        return f"{DASH}, {epochs}"
    if not all(round_["matched"] for round_ in timed):
        return f"missed, {epochs}"
    return f"{number(summary(timed))} s, {epochs}"


def _tuning(case: Case) -> Table:
    """Return what the hyper-parameters of each tuned backend were chosen by, and the cost."""
    header = ["Backend", "Trials", "Cost in s", "First trial", "Best trial", "Chosen"]
    rows = []
    notes: list[str] = []
    for entry in case.entries:
        tuning = entry.record.get("tuning")
        if tuning is None or entry.record["backend"]["params"] != tuning["params"]:
            continue
        show = number if tuning["score"].startswith("seconds") else mse
        chosen = ", ".join(f"{name} {value}" for name, value in tuning["params"].items())
        cells = [str(tuning["trials"]), f"{tuning['seconds']:,.0f}"]
        cells += [show(tuning["default"]), show(tuning["best"]), chosen or "the first trial"]
        rows.append([entry.name, *cells])
        notes.append(f"scored on {tuning['split']} by the {tuning['score']}")
    caption = f"Tuning: trials of each backend, {words(sorted(set(notes)))}."
    return Table(caption, header, rows, frozenset({1, 2, 3, 4}), title="Tuning")


def _libraries(case: Case) -> Table:
    """Return the libraries of other projects, and what their adapters declare of them."""
    header = ["Backend", "Library", "Minimises", "Biases", "Start", "More epochs", "Threads"]
    header += ["Seed", "Precision", "Licence"]
    rows = []
    for entry in case.entries:
        found = entry.record.get("library")
        if found:
            library = f"{found['name']} {found['version']}"
            shown = [found["minimises"], found["biases"], found["start"], found["stepping"]]
            hidden = [found["seed"], found["precision"], found["licence"]]
            rows.append([entry.name, library, *shown, found["threads"], *hidden])
    caption = (
        "Libraries of other projects, behind adapters with the interface of all backends. The "
        "target is one of this project's objective, which no library has; each is held to the same "
        "validation MSE. Unless the report says how they were tuned, they have their own defaults, "
        "while this project's regularisation suits the case. Their seconds include converting the "
        "ratings. Where more epochs mean starting again, the fewest epochs that reach the target "
        "are found to a twentieth, and other targets are not searched for."
    )
    return Table(caption, header, rows, more=frozenset(range(7, 10)), title="Other libraries")


def _lists(case: Case) -> Table:
    """Return the metrics of each backend's lists and of lists without a model."""
    header = ["Lists by", "NDCG@10", "Precision@10", "Recall@10", "Coverage", "Rare items"]
    listed = [entry for entry in case.entries if entry.record.get("lists")]
    if not listed:
        return _table("Lists of ten", "", header, [])
    rows = [[entry.name, *_list_cells(entry.record["lists"])] for entry in listed]
    record = listed[0].record
    baselines = record.get("list_baselines", {})
    rows += [[name, *_list_cells([scores])] for name, scores in baselines.items()]
    users, threshold = record["lists"][0]["users"], record["lists"][0]["threshold"]
    caption = (
        "Lists of ten: what each user had not rated before, best first, ordered as recommend does. "
        f"A hit is an item that the user rated at least {number(threshold)} in the held-out "
        f"ratings; means over {users:,} users who have such items. An item that was not rated is a "
        "miss, so compare with most popular. "
        "Coverage: the share of all items that are on some list. Rare items: the share of listed "
        "items with at most three training ratings."
    )
    return _table("Lists of ten", caption, header, rows)


def _list_cells(lists: Sequence[ListMetrics]) -> list[str]:
    """Return the medians over seeds of the metrics of lists, as text."""
    return [
        f"{median(scores['ndcg'] for scores in lists):.4f}",
        f"{median(scores['precision'] for scores in lists):.4f}",
        f"{median(scores['recall'] for scores in lists):.4f}",
        f"{100 * median(scores['coverage'] for scores in lists):.1f} %",
        f"{100 * median(scores['rare'] for scores in lists):.1f} %",
    ]


def _phases(case: Case) -> Table:
    header = ["Backend", "Prepare", "First epoch", "Each later epoch", "The rest", "Total"]
    header += ["CPU-seconds", "Evaluation"]
    rows = []
    for entry in case.ranked:
        rounds = entry.record["rounds"]
        if summary(rounds, "first_epoch_seconds") is None:
            continue
        values = [summary(rounds, column) for column in _PHASES]
        values += [_rest(entry), entry.median, summary(rounds, "cpu_seconds"), entry.evaluation]
        rows.append([entry.name, *[number(value) for value in values]])
    caption = (
        "The seconds to the target, split into phases. The rest is checking the ratings, "
        "copying the model, and what epochs took beyond their median. Evaluation is one "
        "evaluation on the validation set during the calibration; it is not part of any other "
        "figure."
    )
    return _table("Phases of a fit", caption, header, rows)._replace(more=frozenset({6, 7}))


def _rest(entry: Entry) -> float | None:
    """Return the median of a round's seconds without its preparation and its epochs."""
    epochs = {
        calibration["seed"]: calibration["epochs"] or 0
        for calibration in entry.record["calibrations"]
    }

    def rest(round_: Round) -> float:
        first_epoch, later_epoch = round_["first_epoch_seconds"], round_["epoch_seconds"]
        accounted = round_["prepare_seconds"] + (first_epoch or 0.0)
        accounted += (epochs.get(round_["seed"], 1) - 1) * (later_epoch or 0.0)
        # `epoch_seconds` is a median, so that the sum may exceed the total by a little.
        return max(round_["seconds"] - accounted, 0.0)

    # `summary` takes rounds, so the rest stands in for the seconds.
    return summary(
        [Round({**round_, "seconds": rest(round_)}) for round_ in entry.record["rounds"]]
    )


def _starts(case: Case) -> Table:
    header = ["Backend", "Use", "Import", "Compile", "Prepare", "Epochs and rest", "Total"]
    header += ["Min to max of the total"]
    rows = []
    for entry in case.entries:
        for use in USES:
            start = median_start(entry.record, use.caches) if use.caches else None
            if start:
                phases = [start["import_seconds"], start["compile_seconds"]]
                phases += [start["prepare_seconds"]]
                phases += [start["fit_seconds"] - start["prepare_seconds"], start["total_seconds"]]
                totals = [
                    each["total_seconds"]
                    for each in entry.record["cold"]
                    if each["caches"] == use.caches
                ]
                range_ = f"{number(min(totals))} to {number(max(totals))}"
                cells = [*[number(seconds) for seconds in phases], range_]
                rows.append([entry.name, use.name.lower(), *cells])
        if entry.record["cold"] and not entry.why:
            prepare = summary(entry.record["rounds"], "prepare_seconds") or 0.0
            phases = [prepare, entry.median - prepare, entry.median]
            range_ = f"{number(min(entry.seconds))} to {number(max(entry.seconds))}"
            cells = [DASH, DASH, *[number(seconds) for seconds in phases], range_]
            rows.append([entry.name, LOOP.name.lower(), *cells])
    caption = (
        "Seconds of each use, split into phases: of starts of new processes, one with each seed, "
        "the one with the median total, and the median of the timed rounds. Import is the time "
        "beyond that of NumPy. Compile is how much longer a first small fit takes than a second "
        "one."
    )
    numeric = frozenset(range(2, len(header)))
    return Table(caption, header, rows, numeric, more=frozenset({7}), title="Uses, by phase")


def _memory(case: Case) -> Table:
    header = ["Backend", "Process at most, MB", "Of the fit, MB", "Device, MB", "Running threads"]
    rows = []
    for entry in case.entries:
        memory = entry.record["memory"]
        if memory:
            values = [memory["peak_mb"], memory["fit_mb"], memory["device_mb"]]
            values.append(memory["running_threads"])
            cells = [DASH if value is None else f"{value:,.0f}" for value in values]
            rows.append([entry.name, *cells])
    caption = (
        "Memory of one fit in a new process: the peak of the process, including libraries and all "
        "ratings, and how much of it was added during the fit."
    )
    return _table("Memory", caption, header, rows)


def _seeds(case: Case) -> Table:
    """Return the range over seeds; no rows for a single seed."""
    rows = []
    for entry in case.ranked:
        rounds = entry.record["rounds"]
        seconds, scores = seed_range(rounds), seed_range(rounds, "validation_mse")
        if seconds is None or scores is None:
            continue
        cells = [
            entry.name,
            str(len(by_seed(rounds))),
            extent([str(count) for count in entry.epochs]),
            f"{number(seconds[0])} to {number(seconds[1])}",
            f"{mse(scores[0])} to {mse(scores[1])}",
        ]
        rows.append(cells)
    caption = "Differences between seeds: the smallest to the largest median of a seed."
    header = ["Backend", "Seeds", "Epochs", "Seconds", "Validation MSE"]
    return _table("Differences between seeds", caption, header, rows)
