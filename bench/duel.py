"""``python -m bench.duel A B [C ...]``: compares contenders that take turns on the same machine.

Every round is a block in which each contender is timed once, in random order, in a worker process
of its own. Whatever slows a whole block, such as another program or a hot processor, slows all
contenders and cancels out in the ratio. A contender is the name of a backend, with hyper-parameters
if wanted: ``numba-sgd:learning_rate=0.1,n_jobs=1``. A backend may be named twice.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from backends import (
    BackendUnavailable,
    UnknownBackend,
    available_cores,
)
from bench.cases.case import Case
from bench.measure.backend_facts import Contender, backend_rows, check_backend
from bench.measure.measurement import Measurement, Run
from bench.measure.run_folder import RunFolder, SameFile, open_run
from bench.measure.turns import CodeChanged, take_turns
from bench.text import command
from bench.text.progress import StatusLine
from bench.text.wording import number

from .options import Selection, add_options
from .records import RUNS, Record, record_path
from .stats import median_of, ratio, summary, warnings_of

SEEDS = 5
# Per seed. With these, a difference of 5 % is found at a noise of 2 %, and no difference between
# equals, as a test shows.
ROUNDS = 3

_OTHER_HELP = {  # of options whose defaults differ from those of the other commands
    "rank": "number of factors (default: 16)",
    "quick": "the twin at 0.02",
    "seeds": f"seeds per contender, each in a worker of its own (default: {SEEDS})",
    "rounds": f"timed rounds per seed (default: {ROUNDS})",
}
_status = StatusLine()

_NOT_OF_A_CONTENDER = {
    "epochs": "its calibration finds how many it needs",
    "rank": "all contenders share the case, and with it the number of factors; use --rank",
}


def main(arguments: list[str] | None = None) -> int:
    """Run a duel and return the exit status.

    It is 0 if every contender reached the matching MSE, 1 if one did not, and 130 after Ctrl-C. For
    wrong options the command exits with 2.
    """
    words = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    options = parser.parse_args(words)
    names = {field: value for field, value in vars(options).items() if field != "contenders"}
    selection = Selection(**names | {"seeds": SEEDS if options.seeds is None else options.seeds})
    try:
        selection.check()
        contenders = [contender(text, selection.budget) for text in options.contenders]
        case = selection.build_case(_status.of("case"))
    except (ValueError, UnknownBackend, BackendUnavailable) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return _interrupted()
    command = shlex.join(["python", "-m", "bench.duel", *words])
    try:
        folder = open_run(command)
    except OSError as error:
        parser.error(f"records cannot be written to {RUNS.resolve()} ({error})")
    try:
        records = fight(case, contenders, selection, folder, command)
        folder.mark_done()
    except KeyboardInterrupt:
        return _interrupted(folder)
    except (CodeChanged, SameFile) as error:
        _status.clear()
        print(f"error: the duel is not done: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        _status.clear()
        print(
            f"error: the duel is not done, as a file in {folder.path} cannot be written ({error}); "
            "the same command continues it",
            file=sys.stderr,
        )
        return 2
    finally:
        folder.close()
    _status.clear()
    for line in verdicts(records):
        print(line)
    print(f"Records: {folder.path} (python -m bench.report --input {folder.path})")
    return 0 if all(record["status"] == "matched" for record in records) else 1


def contender(text: str, budget: int) -> Contender:
    """Return the contender that a text describes.

    Parameters
    ----------
    text
        The name of a backend, optionally followed by a colon and ``name=value`` pairs with commas
        between them. Values are Python literals, or strings.
    budget
        Number of threads if the text has no n_jobs.

    Raises
    ------
    UnknownBackend, BackendUnavailable, ValueError
        For a backend that does not exist or cannot run here, and for wrong hyper-parameters.
    """
    name, _, listed = text.partition(":")
    params = _parameters(listed, text)
    if "name" in params:
        raise ValueError(
            f"a contender's backend must be named before the colon, got name= in {text!r}"
        )
    for key, why in _NOT_OF_A_CONTENDER.items():
        if key in params:
            raise ValueError(f"a contender cannot have its own {key}=, got {text!r}: {why}")
    try:
        check_backend(name, backend_rows(), params)
    except SystemExit:  # the backend's package does, when it is imported
        raise ValueError(f"the backend {name} ends the program when it is imported") from None
    n_jobs = params.get("n_jobs")
    if n_jobs is not None and n_jobs > available_cores():
        raise ValueError(
            f"n_jobs must be at most {available_cores()}, the number of cores; got {text!r}"
        )
    # The label is made of the values, not of the text: labels that differ by a space only would
    # give their records the same file name.
    label = name
    if params:
        label += ":" + ",".join(f"{key}={value}" for key, value in params.items())
    threads, dtype = params.pop("n_jobs", None) or budget, params.pop("dtype", "float32")
    return Contender(backend_rows()[name], threads, dtype, params, label)


def _parameters(listed: str, text: str) -> dict[str, Any]:
    """Return the hyper-parameters in a list of ``name=value``, of the contender ``text``."""
    params: dict[str, Any] = {}
    for pair in listed.split(","):
        if not pair:
            continue
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals:
            raise ValueError(
                f"a contender's hyper-parameters must be name=value, got {pair!r} in {text!r}"
            )
        if key in params:
            raise ValueError(
                f"a contender's hyper-parameters must be given once each, got {key}= twice in "
                f"{text!r}"
            )
        params[key] = _value(value)
    return params


def _value(text: str) -> Any:
    """Return a Python literal as its value, and any other text as it is."""
    # These are all the errors that literal_eval is documented to raise.
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text


def fight(
    case: Case,
    contenders: Sequence[Contender],
    selection: Selection,
    folder: RunFolder,
    command: str,
) -> list[Record]:
    """Measure the contenders in turns, and write and return their records."""
    run = Run(folder.path.name, command, folder.work, selection.limits)
    measurements = [
        Measurement(
            case,
            entrant,
            run,
            seeds=selection.fit_seeds,
            rounds=selection.rounds or ROUNDS,
            order="interleaved",
            notify=_status.of(entrant.label),
        )
        for entrant in _numbered(contenders)
    ]
    case_name = case.facts["name"]
    folder.plan(
        record_path(folder.path, "time to MSE", case_name, one.backend).name for one in measurements
    )
    return take_turns(measurements, folder, seed=selection.seed, rungs=False, apart=False)


def verdicts(records: Sequence[Record]) -> list[str]:
    """Return the result in lines: times, ratios of all pairs, failures and warnings."""
    matched = sorted((record for record in records if record["status"] == "matched"), key=_seconds)
    failed = [record for record in records if record["status"] != "matched"]
    lines = [
        f"{_name(record)}: {number(_seconds(record))} s to the matching MSE, "
        f"{median_of(record['rounds'])}"
        for record in matched
    ]
    lines += [_sentence(fast, slow) for fast, slow in itertools.combinations(matched, 2)]
    lines += [f"{_name(record)}: {record['status']}: {record['reason']}" for record in failed]
    lines += [f"{_name(record)}: {note}" for record in matched for note in warnings_of(record)]
    # A reason may contain anything that a backend printed, control characters included.
    return ["".join(letter if letter.isprintable() else " " for letter in line) for line in lines]


def _interrupted(folder: RunFolder | None = None) -> int:
    _status.clear()
    kept = "nothing was measured"
    if folder and any(folder.path.glob("*.json")):
        kept = f"what was measured is in {folder.path}, and the same command continues it"
    print(f"interrupted: {kept}", file=sys.stderr)
    return 130  # the shell's convention for a command that Ctrl-C ended


def _sentence(fast: Record, slow: Record) -> str:
    """Return how many times as fast one record's backend is as another's."""
    pair = f"{_name(fast)} against {_name(slow)}"
    found = ratio(slow["rounds"], fast["rounds"], paired=True)
    value = number(found.value)
    if found.interval is None:
        return (
            f"{pair}: ratio {value}, but one seed is not enough to judge; "
            f"use at least 2, better {SEEDS} (--seeds)"
        )
    interval = f"95 %: {number(found.interval[0])} to {number(found.interval[1])}"
    if found.within_noise:
        return (
            f"{pair}: no difference can be detected at this noise (ratio {value}, {interval}); "
            f"{found.outlook}"
        )
    return f"{_name(fast)} is {value} times as fast as {_name(slow)} ({interval})"


def _name(record: Record) -> str:
    return record["backend"]["name"]


def _seconds(record: Record) -> float:
    return summary(record["rounds"]) or 0.0


def _numbered(contenders: Sequence[Contender]) -> list[Contender]:
    """Return the contenders, with numbers in labels that occur more than once."""
    labels = [entrant.label for entrant in contenders]
    numbered = []
    for index, entrant in enumerate(contenders):
        label = entrant.label
        if labels.count(label) > 1:
            label += f" ({1 + labels[:index].count(label)})"
        numbered.append(replace(entrant, label=label))
    return numbered


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.duel", description=__doc__)
    parser.add_argument(
        "contenders", nargs="+", metavar="BACKEND", help="name, or name:parameter=value,..."
    )
    add_options(parser.add_argument, _OTHER_HELP)
    return parser


if __name__ == "__main__":
    command.run(main)
