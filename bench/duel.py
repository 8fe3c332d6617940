"""``python -m bench.duel A B [C ...]``: contenders against each other, taking turns, each in workers of its own.

Every round is a block: each contender is timed once in it, in random order. What slows a whole block - another program,
a hot processor - slows all contenders, and cancels in the ratio. A contender is the name of a backend, with
hyper-parameters where wanted: ``numba-sgd:learning_rate=0.1,n_jobs=1``. The same backend may be named twice.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import itertools
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from backends import BackendUnavailable, UnknownBackend, available_cores, get_backend
from bench.cases.case import Case
from bench.measure.backend_facts import Contender, backend_rows
from bench.measure.measurement import Measurement, Run
from bench.measure.run_folder import RunFolder, open_run
from bench.text.progress import StatusLine
from bench.text.wording import number, plural

from .options import Selection, add_options
from .records import RUNS, Record, write_record
from .stats import doubts, ratio, summary

SEEDS = 5
ROUNDS = 3  # per seed; they find 5 % at a noise of 2 %, and nothing between equals, as a test shows

_OTHER_HELP = {  # where a duel's defaults are others
    "rank": "number of factors (default: 16)",
    "quick": "the twin at 0.02",
    "seeds": f"seeds per contender, each in its own worker (default: {SEEDS})",
    "rounds": f"timed rounds per seed (default: {ROUNDS})",
}
_status = StatusLine()

_NOT_OF_A_CONTENDER = {
    "epochs": "its calibration finds how many it needs",
    "rank": "the case and its reference have one rank; use --rank",
}


def main(arguments: list[str] | None = None) -> int:
    """Run a duel; return 0 where every contender matched, 1 where one did not, 130 where it was interrupted.

    Options that make no sense end it with 2.
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
        return _interrupted()
    finally:
        folder.close()
    _status.clear()
    for line in verdicts(records):
        print(line)
    print(f"The records: {folder.path} (python -m bench.report --input {folder.path})")
    return int(any(record["status"] != "matched" for record in records))


def contender(text: str, budget: int) -> Contender:
    """Return the contender that a text asks for, with so many threads unless it says otherwise.

    Raises
    ------
    UnknownBackend, BackendUnavailable, ValueError
        For a name that is none, or hyper-parameters that are none of its own.
    """
    name, _, listed = text.partition(":")
    params: dict[str, Any] = {}
    for pair in filter(None, listed.split(",")):
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"a contender's hyper-parameters are name=value, got {pair!r} in {text!r}")
        if key.strip() in params:
            raise ValueError(
                f"a contender's hyper-parameters are given once each, got {key.strip()}= twice in {text!r}"
            )
        params[key.strip()] = _value(value)
    if "name" in params:
        raise ValueError(f"a contender's backend is named before the colon, got name= in {text!r}")
    for key, why in _NOT_OF_A_CONTENDER.items():
        if key in params:
            raise ValueError(f"a contender cannot have {key}= of its own, got {text!r}: {why}")
    if (params.get("n_jobs") or 0) > available_cores():
        raise ValueError(f"n_jobs must be at most {available_cores()}, the cores here; got {text!r}")
    get_backend(name, **params)
    # Of what was read, not of what was typed: records whose labels differ by a blank would share a file.
    label = ":".join(filter(None, [name, ",".join(f"{key}={value}" for key, value in params.items())]))
    threads, dtype = params.pop("n_jobs", None) or budget, params.pop("dtype", "float32")
    return Contender(backend_rows()[name], threads, dtype, params, label)


def fight(
    case: Case, contenders: Sequence[Contender], selection: Selection, folder: RunFolder, command: str
) -> list[Record]:
    """Calibrate all contenders, time them in blocks of random order, write their records and return them."""
    run = Run(folder.path.name, command, folder.work, selection.limits)
    rounds = selection.rounds or ROUNDS
    with contextlib.ExitStack() as stack:
        fighters = []
        for one in _told_apart(contenders):
            measurement = Measurement(
                case,
                one,
                run,
                seeds=selection.fit_seeds,
                rounds=rounds,
                order="interleaved",
                say=_status.of(one.label),
            )
            fighters.append(stack.enter_context(measurement))
        for fighter in fighters:
            fighter.calibrate()
        rng = np.random.default_rng(selection.seed)
        for _ in range(max(fighter.wanted_rounds() for fighter in fighters)):
            for index in rng.permutation(len(fighters)):
                fighters[index].time_round(rungs=False)
        for fighter in fighters:
            fighter.refit_unseen()
        records = [fighter.record() for fighter in fighters]
    for record in records:
        write_record(folder.path, record)
    return records


def verdicts(records: Sequence[Record]) -> list[str]:
    """Say who is how many times as fast as whom, pair by pair, who did not match and why, and what was unstable."""
    matched = sorted((one for one in records if one["status"] == "matched"), key=_seconds)
    lines = [
        f"{one['backend']['name']}: {number(_seconds(one))} s to the matching MSE, "
        f"median of {plural(len(one['rounds']), 'round')} with {plural(len(one['seeds']), 'seed')}"
        for one in matched
    ]
    lines += [_sentence(fast, slow) for fast, slow in itertools.combinations(matched, 2)]
    lines += [f"{one['backend']['name']}: {one['status']}: {one['reason']}" for one in records if one not in matched]
    lines += [f"{one['backend']['name']}: {note}" for one in matched for note in doubts(one)]
    return ["".join(letter if letter.isprintable() else " " for letter in line) for line in lines]


def _interrupted() -> int:
    _status.clear()
    print("interrupted: nothing of this duel is kept", file=sys.stderr)
    return 130  # as a shell says of a command that Ctrl-C ended


def _sentence(fast: Record, slow: Record) -> str:
    ours, theirs = fast["backend"]["name"], slow["backend"]["name"]
    found = ratio(slow["rounds"], fast["rounds"], paired=True)
    if found.interval is None:
        few = f"ratio {number(found.value)}, but one seed is too few to tell"
        return f"{ours} against {theirs}: {few}; take at least 2, better {SEEDS} (--seeds)"
    interval = f"95 %: {number(found.interval[0])} to {number(found.interval[1])}"
    if found.within_noise:
        return (
            f"{ours} against {theirs}: no difference can be told at this noise (ratio {number(found.value)}, "
            f"{interval}); {found.outlook}"
        )
    return f"{ours} is {number(found.value)} times as fast as {theirs} ({interval})"


def _seconds(record: Record) -> float:
    return summary(record["rounds"]) or 0.0


def _told_apart(contenders: Sequence[Contender]) -> list[Contender]:
    """Tell contenders of one text apart by a number."""
    texts = [one.label for one in contenders]
    found = []
    for index, one in enumerate(contenders):
        if texts.count(one.label) > 1:
            one = replace(one, label=f"{one.label} ({1 + texts[:index].count(one.label)})")
        found.append(one)
    return found


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # all that it is documented to raise
        return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.duel", description=__doc__)
    parser.add_argument("contenders", nargs="+", metavar="BACKEND", help="name, or name:parameter=value,...")
    add_options(parser.add_argument, _OTHER_HELP)
    return parser


if __name__ == "__main__":
    sys.exit(main())
