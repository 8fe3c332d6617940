"""Damaged records against all that reads them: the reader, the report, the comparison.

A file is either read, and then a report can be made of it, or refused by a `RecordError` of one
line that names the file.

    python tests/fuzz_records.py --cases 20000 --reports 1000 --seed 0

Not collected by pytest; tests/records/test_fuzz.py runs a few hundred cases of it. A case depends
on its number and the seed alone, so ``--first N --cases 1 --reports 1`` repeats a failure.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import random
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from fake_records import fake_gpu_check, fake_record, fake_roofline

from bench.compare.__main__ import main as compare
from bench.records import AnyRecord, RecordError, read_records
from bench.report.files import write_report

ODD: tuple[Any, ...] = (
    *(None, True, False, "", "x", [], {}, [[]], [None], {"": {}}, [{}], "nan", "1"),
    *(0, -1, 1, 2, 7, 1.5, -0.5, -0.0, 5e-324, 1e-9, 1e-300, 1e9, 1e300, 1.7e308, -1e308),
    *(2**31, 2**53, 2**53 + 1, -(2**53), 2**63, 2**64, 10**30, 10**400),
    *(
        "7" * 5000,
        "\ud800",
        "caf\udce9",
        "a\0b",
        "\x1b[31m",
        "\r\n\t",
        "\u202e",
        "\u2028",
        "x" * 5000,
        "é 漢 🎉",
    ),
    *(
        "<script>alert(1)</script>",
        "</script><b>",
        "{{ 7 * 7 }}",
        "| a | b |",
        "`x`",
        "=1+1",
        "../..",
    ),
    *("matched", "missed", "crashed", "in progress", "measured", "unavailable", "roofline"),
)
_Path = tuple[Any, ...]


def places(value: Any, path: _Path = ()) -> list[_Path]:
    """Return the paths of all values within a value."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(inner, (*path, key))
    return found


def mutate(record: Any, rng: random.Random) -> None:
    """Change a record in one random place."""
    found = places(record)
    if rng.random() < 0.5:  # a place near the top, of which there are few among all
        found = [path for path in found if len(path) <= rng.choice((1, 2, 3))]
    if not found:
        return
    *above, key = rng.choice(found)
    parent = record
    for step in above:
        parent = parent[step]
    value = parent[key]
    kind = rng.random()
    if kind < 0.15:
        del parent[key]
    elif kind < 0.25 and isinstance(parent, list):
        parent.insert(rng.randrange(len(parent) + 1), copy.deepcopy(value))
    elif kind < 0.25:
        parent[rng.choice(("x", "\ud800", "<b>", "", "schema", "seed"))] = copy.deepcopy(value)
    elif kind < 0.5 and isinstance(value, int | float) and not isinstance(value, bool):
        factor = rng.choice((-1, 0, 1e-12, 1e-3, 0.5, 2, 10, 1e4))
        parent[key] = type(value)(max(min(value, 10**300), -(10**300)) * factor)
    elif kind < 0.55:
        for _ in range(rng.choice((1, 2, 18, 30, 150))):
            value = [value] if rng.random() < 0.5 else {"a": value}
        parent[key] = value
    elif kind < 0.6:
        other = record
        for step in rng.choice(found):
            other = other[step]
        parent[key] = copy.deepcopy(other)
    else:
        alike = [each for each in ODD if type(each) is type(value)]  # more of these are accepted
        parent[key] = copy.deepcopy(rng.choice(alike if alike and rng.random() < 0.7 else ODD))


def plausible(rng: random.Random) -> list[Any]:
    """Return the records of a small run."""
    statuses = ("matched", "matched", "matched", "missed", "timed out", "diverged", "in progress")
    names = rng.sample(("numpy", "numba-sgd", "numba-gd", "torch-cpu", "third party"), 3)
    records: list[Any] = []
    for name in names:
        record: Any = fake_record(name, rng.choice(statuses[:-1]), rng.uniform(0.01, 100))
        if rng.random() < 0.2:
            record |= {"status": "in progress", "reason": "1 of 3 seeds"}
        if rng.random() < 0.5:  # of several seeds
            record["seeds"] = [0, 1, 2]
            for part in ("rounds", "calibrations", "cold"):
                rows = record[part]
                record[part] = [{**row, "seed": seed} for seed in (0, 1, 2) for row in rows]
        if rng.random() < 0.3:
            record["rungs"] = [{**row, "factor": 1.05} for row in record["rounds"]]
        if rng.random() < 0.2:
            record["order"] = "interleaved"
        if rng.random() < 0.3:
            scores = ("threshold", "precision", "recall", "ndcg", "coverage", "rare")
            lists = {name: rng.random() for name in scores} | {"users": 100}
            record |= {"lists": [lists], "list_baselines": {"popular": lists}}
        if rng.random() < 0.3:
            record["tuning"] = {
                **{"trials": 5, "seconds": 9.0, "most_seconds": 2.0, "split": "s", "score": "t"},
                **{"default": 2.0, "best": 1.0, "best_trial": 2, "params": {"reg": 0.1}},
            }
        records.append(record)
    if rng.random() < 0.5:
        records.append(fake_roofline(names[0]))
        records.append(fake_roofline(names[1], ns=rng.uniform(1, 1000)))
    if rng.random() < 0.3:
        records.append(fake_gpu_check())
    return records


def damaged(number: int, seed: int) -> tuple[list[Any], list[bytes]]:
    """Return the records of a run, and the contents of its files after some damage."""
    rng = random.Random(f"{number}/{seed}")
    records = plausible(rng)
    changed = copy.deepcopy(records)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        mutate(rng.choice(changed), rng)
    contents = [json.dumps(record).encode() for record in changed]
    if rng.random() < 0.05:
        at, data = rng.randrange(len(contents)), rng.choice(contents)
        cut = rng.randrange(len(data))
        contents[at] = rng.choice(
            (data[:cut], data[:cut] + b"\xff" + data[cut:], b"", b"[" * 10**5)
        )
    return records, contents


def read(paths: list[Path]) -> tuple[list[AnyRecord], list[Path]]:
    """Return the records that are read, and the files that are refused."""
    found, refused = [], []
    for path in paths:
        try:
            found += read_records([path])
        except RecordError as error:
            text = str(error)
            assert text.startswith(str(path)), text[:200]
            assert text.isprintable() and len(text) < 1000 + len(str(path)), text[:200]
            refused.append(path)
    return found, refused


def run_case(number: int, seed: int, folder: Path, report: bool) -> str:
    """Read the files of a damaged run, make a report of those that can be read, compare them.

    Raises
    ------
    Exception
        Any, for a finding.
    """
    records, contents = damaged(number, seed)
    paths = []
    for place, data in enumerate(contents):
        paths.append(folder / f"{place}.json")
        paths[-1].write_bytes(data)
    found, refused = read(paths)
    if report:
        if found:
            write_report(found, folder / "report", pictures=0)
        whole = folder / "whole.json"
        for record, path in zip(records, paths, strict=True):
            whole.write_text(json.dumps(record), "utf-8")
            said = io.StringIO()
            options = ["--anyway"] if number % 2 else []
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                status = compare([str(whole), str(path), *options])
            assert status in (0, 1, 2), status
            if path in refused:
                assert status == 2, status
                assert said.getvalue().startswith(f"error: {path}"), said.getvalue()[:200]
                assert said.getvalue().count("\n") == 1, said.getvalue()[:200]
    return f"{len(refused)} of {len(paths)} files refused"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--reports", type=int, default=1000, help="cases of which reports are made")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    outcomes, findings, start = Counter[str](), 0, time.perf_counter()
    for number in range(given.first, given.first + given.cases):
        with tempfile.TemporaryDirectory() as folder:
            try:
                report = number < given.first + given.reports
                outcomes[run_case(number, given.seed, Path(folder), report)] += 1
            except Exception:  # a finding, whatever it is: show it and go on
                findings += 1
                print(f"case {number}:\n{traceback.format_exc(limit=-4)}", flush=True)
    seconds = time.perf_counter() - start
    print(f"{given.cases:,} cases in {seconds:.0f} s, {findings} findings")
    for outcome, n in sorted(outcomes.items()):
        print(f"{n:9,} {outcome}")
    raise SystemExit(findings > 0)


if __name__ == "__main__":
    main()
