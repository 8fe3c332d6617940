"""Records: written whole, read back, refused with a reason."""

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.records import (
    SCHEMA,
    RecordError,
    RunState,
    by_kind,
    checked,
    newest_run,
    read_record,
    read_records,
    read_state,
    write_record,
    write_state,
)
from bench.report.outcome.tidy import (
    cases_table,
    cold_table,
    roofline_table,
    rounds_table,
    trace_table,
)
from tests.fake_records import NOTHING_KNOWN, fake_gpu_check, fake_record, fake_roofline


def test_round_trip(tmp_path: Path) -> None:
    record = fake_record(backend="numpy")
    path = write_record(tmp_path / "run", record)
    assert read_records([tmp_path / "run"]) == [record]
    assert read_records([path]) == [record]
    assert [p.suffix for p in path.parent.iterdir()] == [".json"]


def test_both_kinds_lie_side_by_side(tmp_path: Path) -> None:
    times, roofline = fake_record(backend="numba-sgd"), fake_roofline("numba-sgd")
    paths = {write_record(tmp_path, times).name, write_record(tmp_path, roofline).name}
    assert paths == {
        "ml-100k-rank=16-seed=0--numba-sgd--2.json",
        "roofline--ml-100k-rank=16-seed=0--numba-sgd--2.json",
    }
    assert by_kind(read_records([tmp_path])) == ([times], [roofline], [])


def test_a_check_of_a_gpu_is_a_kind_of_its_own(tmp_path: Path) -> None:
    check, times = fake_gpu_check(), fake_record("numpy")
    assert write_record(tmp_path, check).name == "gpu-check.json"
    write_record(tmp_path, times)
    assert by_kind(read_records([tmp_path])) == ([times], [], [check])


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("wrong",), ["all"], "Expected nothing wrong of what is right - at `$.wrong`"),
        (("comparisons", 0, "value"), 1.0, "Expected a number up to its limit, of what is right"),
        (("comparisons", 0, "value"), None, "Expected a number up to its limit, of what is right"),
        (("fits", 0, "validation_mse"), 9.0, "Expected at most the target, which is reached"),
        (("fits", 0, "validation_mse"), None, "Expected at most the target, which is reached"),
        (("fits", 0, "prepare_seconds"), 99.0, "Expected a part of the seconds"),
    ],
)
def test_a_check_whose_parts_contradict_each_other_is_refused(
    tmp_path: Path, path: tuple[Any, ...], value: Any, said: str
) -> None:
    check: Any = fake_gpu_check()
    *above, last = path
    part = check
    for step in above:
        part = part[step]
    part[last] = value
    (tmp_path / "x.json").write_text(json.dumps(check), "utf-8")
    with pytest.raises(RecordError, match=re.escape(said)):
        read_records([tmp_path])


@pytest.mark.parametrize("part", ["comparisons", "fits", "timings"])
def test_a_check_with_a_number_that_is_not_finite_leaves_that_part_out(
    tmp_path: Path, part: str
) -> None:
    check: Any = fake_gpu_check()
    name = {"comparisons": "value", "fits": "seconds", "timings": "seconds"}[part]
    check[part][0][name] = NAN
    (read,) = read_records([write_record(tmp_path, check)])
    assert (read["status"], dict(read)[part]) == ("crashed", [])
    assert read["reason"].endswith(f"not finite: {part}[0].{name} is nan")


@pytest.mark.parametrize("make", [fake_record, fake_roofline])
def test_a_record_may_say_how_its_backend_looks(make: Any, tmp_path: Path) -> None:
    plain = make("of another package")
    assert "look" not in plain["backend"]
    drawn = copy.deepcopy(plain)
    drawn["backend"]["look"] = "grey o"
    for record in (plain, drawn):
        assert read_records([write_record(tmp_path, record)]) == [record]
    drawn["backend"]["look"] = 3
    path = write_record(tmp_path, drawn)
    with pytest.raises(RecordError, match=r"Expected `str`, got `int` - at `\$\.backend\.look`"):
        read_records([path])


NEW_IN_3 = ("order", "key", "gave_up_after", "seeds", "calibrations", "rungs", "cold", "memory")
CLOCK_NEW_IN_3 = (
    *("seed", "factor", "first_epoch_seconds", "epoch_seconds"),
    *("cpu_seconds", "others_seconds", "stolen_seconds"),
)
NEW_IN_4 = ("energy_joules",)
NEW_IN_5 = ("reg_unit", "damping", "bias_reg", "user_bias_damping", "item_bias_damping")
OLD_OBJECTIVE = {"reg": 0.1, "reg_unit": "rating", "bias_reg": 0.1} | dict.fromkeys(
    ("damping", "user_bias_damping", "item_bias_damping"), 0.0
)


def before_5(record: Any) -> dict[str, Any]:
    """Return a record as version 4 had it: one reg in ratings, and a baseline's too."""
    old: dict[str, Any] = copy.deepcopy(record) | {"schema": 4}
    old["backend"].pop("look", None)
    for start in old.get("cold", []):
        del start["seed"]  # new in version 7
    for name in NEW_IN_5:
        del old["case"][name]
    for score in old.get("baselines", {}).values():
        score["reg"] = None if score["user_damping"] is None else 0.02
        for name in ("user_damping", "item_damping", "note"):
            del score[name]
    return old


def brought_up_to_date(record: Any) -> Any:
    """Return what is read of `before_5`."""
    new = copy.deepcopy(record)
    new["case"] |= OLD_OBJECTIVE
    for score in new.get("baselines", {}).values():
        reg = None if score["user_damping"] is None else 0.02
        score |= {"reg": reg, "user_damping": None, "item_damping": None, "note": ""}
    return new


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("status", ["matched", "unavailable"])
def test_a_record_of_an_earlier_version_is_brought_up_to_date(
    tmp_path: Path, version: int, status: Any
) -> None:
    record = fake_record(backend="numpy", status=status)
    old = {name: value for name, value in before_5(record).items() if name not in NEW_IN_3}
    old |= {
        "schema": version,
        "backend": {k: v for k, v in record["backend"].items() if k != "params"},
    }
    rounds: list[dict[str, Any]] = [dict(row) for row in record["rounds"]]
    old["rounds"] = [
        {k: v for k, v in row.items() if k not in (*CLOCK_NEW_IN_3, *NEW_IN_4)} for row in rounds
    ]
    calibrations: list[dict[str, Any]] = [
        dict(calibration) for calibration in record["calibrations"]
    ]
    dropped = ("seed", "evaluation_seconds")
    old["calibration"] = (
        {k: v for k, v in calibrations[0].items() if k not in dropped} if calibrations else None
    )
    old["peak_memory_mb"] = record["memory"]["peak_mb"] if record["memory"] else None
    if version == 1:
        del old["kind"]
    (tmp_path / "x.json").write_text(json.dumps(old), "utf-8")
    (read,) = read_records([tmp_path])
    assert SCHEMA == 8
    assert read["kind"] == "time to MSE"
    assert (read["schema"], read["key"], read["seeds"], read["order"]) == (
        SCHEMA,
        {},
        [0],
        "sequential",
    )
    assert [row["seconds"] for row in read["rounds"]] == [
        row["seconds"] for row in record["rounds"]
    ]
    assert {row["cpu_seconds"] for row in read["rounds"]} <= {None}
    assert [calibration["trace"] for calibration in read["calibrations"]] == [
        calibration["trace"] for calibration in record["calibrations"]
    ]
    updated = brought_up_to_date(record)
    assert (read["case"], read["baselines"]) == (updated["case"], updated["baselines"])
    if record["memory"]:
        assert read["memory"] == {
            **dict.fromkeys(record["memory"]),
            "peak_mb": record["memory"]["peak_mb"],
        }
    assert len(cases_table([read])) == 1


def test_a_roofline_of_version_2_is_brought_up_to_date(tmp_path: Path) -> None:
    record = fake_roofline("numba-sgd")
    old = {name: value for name, value in before_5(record).items() if name != "key"}
    old |= {"schema": 2, "backend": {k: v for k, v in record["backend"].items() if k != "params"}}
    (tmp_path / "x.json").write_text(json.dumps(old), "utf-8")
    assert read_records([tmp_path]) == [{**brought_up_to_date(record), "key": {}}]


def test_a_record_of_version_3_knows_no_joules(tmp_path: Path) -> None:
    record = fake_record("numba-sgd")
    old = before_5(record) | {"schema": 3}
    for row in old["rounds"]:
        del row["energy_joules"]
    (tmp_path / "x.json").write_text(json.dumps(old), "utf-8")
    assert read_records([tmp_path]) == [brought_up_to_date(record)]


def test_a_record_of_version_4_has_one_reg_in_ratings_and_no_damping(tmp_path: Path) -> None:
    record = fake_record("numba-sgd")
    (tmp_path / "x.json").write_text(json.dumps(before_5(record)), "utf-8")
    (read,) = read_records([tmp_path])
    assert read == brought_up_to_date(record)
    assert read["baselines"]["biases"]["reg"] == 0.02  # what was tuned then
    (row,) = cases_table([read]).to_dict("records")
    assert {name: row[name] for name in OLD_OBJECTIVE} == OLD_OBJECTIVE
    (row,) = cases_table([record]).to_dict("records")
    assert {name: row[name] for name in NEW_IN_5} == {
        name: dict(record["case"])[name] for name in NEW_IN_5
    }


def test_a_failed_write_leaves_the_earlier_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = fake_record(backend="numpy")
    write_record(tmp_path, record)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bench.records.store.write_whole", full)
    with pytest.raises(OSError, match="No space left"):
        write_record(tmp_path, fake_record(backend="numpy", seconds=2.0))
    assert read_records([tmp_path]) == [record]


LATIN_1 = b"caf\xe9".decode("utf-8", "surrogateescape")  # a file name that is not UTF-8


def test_lone_surrogates_are_replaced_wherever_they_are(tmp_path: Path) -> None:
    record = fake_record("numpy", "crashed", reason=f"could not open {LATIN_1}.csv", run=LATIN_1)
    record["backend"]["params"] = {LATIN_1: [LATIN_1, {"a": LATIN_1}]}
    record["case"]["reading"] = LATIN_1
    (read,) = read_records([write_record(tmp_path, record)])
    assert read == checked(record)
    assert (read["run"], read["case"]["reading"]) == ("caf?", "caf?")
    assert read["reason"] == "could not open caf?.csv"
    assert read["backend"]["params"] == {"caf?": ["caf?", {"a": "caf?"}]}


@pytest.mark.parametrize("make", [fake_record, fake_roofline])
def test_a_record_that_can_be_read_is_written_as_it_is(make: Any) -> None:
    record = make("numba-sgd")
    assert checked(record) == record


def test_a_reason_is_one_line_of_bounded_length(tmp_path: Path) -> None:
    record = fake_record("numpy", "crashed", reason="\x1b[31mno\n" * 10**6)
    (read,) = read_records([write_record(tmp_path, record)])
    assert read["reason"].startswith("[31mno [31mno ")
    assert len(read["reason"]) == 500


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("path", "value", "named", "left"),
    [
        (("rounds", 1, "seconds"), NAN, "rounds[1].seconds is nan", []),
        (("calibrations", 0, "trace", 2, "validation_mse"), INF, "validation_mse is inf", []),
        (("cold", 0, "import_seconds"), -INF, "cold[0].import_seconds is -inf", []),
        (("ladder", 0, "mse"), NAN, "ladder[0].mse is nan", []),
        (("baselines", "biases", "reg"), NAN, "baselines.biases.reg is nan", {}),
        (("memory", "peak_mb"), NAN, "memory.peak_mb is nan", None),
        (("target", "mse"), NAN, "target.mse is nan", None),
        (("gave_up_after",), NAN, "gave_up_after is nan", None),
        (("reference", "spread"), NAN, "reference.spread is nan", 0.0),
        (("environment", "cpu_limit"), INF, "environment.cpu_limit is inf", None),
        (("backend", "params"), {"a": NAN, "b": 1}, "backend.params.a is nan", {"b": 1}),
        (("backend", "params"), {"a": -(10**400)}, "backend.params.a is -inf", {}),
    ],
)
def test_numbers_that_are_not_finite_are_left_out_and_named(
    tmp_path: Path, path: tuple[str | int, ...], value: float, named: str, left: object
) -> None:
    record: Any = fake_record("numpy", "missed")
    changed(record, path, value)
    (read,) = read_records([write_record(tmp_path, record)])
    assert read == checked(record) == checked(checked(record))
    assert read["status"] == "crashed"
    assert read["reason"].startswith("its record contains a number that is not finite: ")
    assert f"{named}; missed: numpy ended at validation MSE" in read["reason"]
    found: Any = read
    for key in path if path[0] in ("reference", "environment", "backend") else path[:1]:
        found = found[key]
    assert found == left
    assert dict(record)["status"] == "missed"  # only the copy is changed


def test_numbers_of_extreme_size(tmp_path: Path) -> None:
    record = fake_record("numpy")
    record["rounds"][0]["others_seconds"] = -1e-200
    record["backend"]["params"] = {"tiny": 1e-200, "huge": 1e200}
    (read,) = read_records([write_record(tmp_path, record)])
    assert read["status"] == "matched"
    assert dict(read)["rounds"][0]["others_seconds"] == 0
    assert read["backend"]["params"] == {"tiny": 1e-200, "huge": 1e200}
    record["rounds"][0]["objective"] = 10**101
    (read,) = read_records([write_record(tmp_path, record)])
    assert read["reason"].endswith("that is too large: rounds[0].objective is 1" + 101 * "0")


def test_optional_parts_and_costs_with_numbers_that_are_not_finite(tmp_path: Path) -> None:
    lists: Any = {"threshold": 4.0, "users": 3} | dict.fromkeys(
        ("precision", "recall", "ndcg", "coverage", "rare"), NAN
    )
    roofline = fake_roofline("numba-sgd")
    roofline["costs"][0]["share"] = NAN
    write_record(tmp_path, fake_record("numpy", lists=[lists]))
    write_record(tmp_path, roofline)
    ((times,), (costs,), _) = by_kind(read_records([tmp_path]))
    assert "lists" not in times
    assert times["reason"].endswith("not finite: lists[0].precision is nan")
    assert (costs["status"], costs["costs"]) == ("crashed", [])


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("rounds", 0, "seconds"), 0.0, "Expected `float` >= 1e-09 - at `$.rounds[0].seconds`"),
        (("rounds", 0, "seed"), 7, "one of the record's seeds - at `$.rounds[0].seed`"),
        (("rounds",), [], "A match has at least one round - at `$.rounds`"),
        (("cold", 0, "caches"), "warm", "Invalid enum value 'warm' - at `$.cold[0].caches`"),
    ],
)
def test_what_no_reader_accepts_is_not_written(
    tmp_path: Path, path: tuple[str | int, ...], value: object, named: str
) -> None:
    record: Any = fake_record("numpy")
    changed(record, path, value)
    (read,) = read_records([write_record(tmp_path, record)])
    assert read == checked(record)
    assert read["status"] == "crashed"
    assert read["reason"].startswith("its record contains what no reader accepts: ")
    assert named in read["reason"]
    assert dict(read)[str(path[0])] == []


def test_hyperparameters_of_other_types_are_written_in_words(tmp_path: Path) -> None:
    record = fake_record("numpy")
    record["backend"]["params"] = {"a": np.float32(0.5), "b": (1, np.int8(2)), "c": {3}, 4: b"x"}  # type: ignore[dict-item]
    (read,) = read_records([write_record(tmp_path, record)])
    assert read["backend"]["params"] == {"a": 0.5, "b": [1, 2], "c": "{3}", "4": "b'x'"}
    assert read["status"] == "matched"


def test_the_state_of_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = RunState("pytest bench/", True, "2026-01-05T10-00-00.000001Z", ("a.json", "b.json"))
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    write_state(tmp_path, RunState(f"pytest --ratings {LATIN_1}", False))
    assert read_state(tmp_path) == RunState("pytest --ratings caf?", False)


@pytest.mark.parametrize("content", ["[" * 10**5, '{"command": [], "done": true}', "\0"])
def test_a_state_that_cannot_be_read_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.state").write_text(content, "utf-8")
    assert read_state(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a record of factorbench"),
        ("[]", "is not a record of factorbench"),
        ('{"a": 1}', "is not a record of factorbench"),
        (
            '{"schema": 99}',
            "has schema version 99, this release reads versions 1 to 8; measure again",
        ),
        ('{"schema": 1}', "(version 1: KeyError('backend'))"),
        ('{"schema": 2, "backend": 3}', "(version 2: AttributeError("),
        ('{"schema": 2, "backend": {}, "kind": "roofline"}', "Object missing required field"),
        ('{"schema": 3}', "Object missing required field"),
        ('{"schema": 4}', "Object missing required field"),
        ('{"schema": 4, "case": 3}', "(version 4: AttributeError("),
        ('{"schema": 4, "case": {}, "baselines": {"x": 3}}', "(version 4: TypeError("),
        ('{"schema": 3, "kind": "roofline"}', "Object missing required field"),
        ('{"schema": true}', "has schema version True"),
        (
            '{"schema": 3, "run": "\\ud800"}',
            "is not a record of factorbench (Input data was truncated",
        ),
        (
            '{"schema": 3, "created": NaN}',
            "is not a record of factorbench (JSON is malformed: invalid character",
        ),
        (
            '{"schema": 3, "created": -Infinity}',
            "is not a record of factorbench (JSON is malformed: invalid",
        ),
        ('{"schema": 3, "created": 1e999}', "is not a record of factorbench (Number out of range"),
        ('{"schema": "1"}', "has schema version '1', this release reads versions 1 to 8"),
        ("", "is not a record of factorbench (Input data was truncated)"),
        ("[" * 10**5, "is not a record of factorbench (lists or objects are nested too deeply)"),
        (f'{{"schema": {"[" * 50 + "]" * 50}}}', "(lists or objects are nested too deeply)"),
        (f'{{"schema": 7, "x": {10**400}}}', "factorbench (Number out of range - at `$.x`)"),
        (f'{{"schema": "{"x" * 10**6}"}}', "xxx ..., this release reads versions 1 to 8"),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_not_a_record_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, "utf-8")
    with pytest.raises(RecordError) as caught:
        read_records([tmp_path])
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_what_cannot_be_opened_or_decoded_is_named(tmp_path: Path) -> None:
    latin = tmp_path / "latin.json"
    latin.write_bytes('{"schema": 6, "run": "caf\xe9"}'.encode("latin-1"))
    with pytest.raises(
        RecordError, match=r"latin.json is not a record .*(Invalid UTF-8|can't decode)"
    ):
        read_records([latin])
    folder = tmp_path / "folder.json"
    folder.mkdir()
    with pytest.raises(RecordError, match=r"folder.json cannot be read \(Is a directory\)"):
        read_record(folder)
    assert read_records([folder]) == []
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path / "nowhere")


def changed(record: Any, path: tuple[str | int, ...], value: object) -> None:
    """Set a field of a record."""
    for key in path[:-1]:
        record = record[key]
    record[path[-1]] = value


def refusal(record: Any, path: tuple[str | int, ...], value: object, folder: Path) -> str:
    """Why a record is refused when one of its fields holds a different value."""
    changed(record, path, value)
    (folder / "x.json").write_text(json.dumps(record), "utf-8")
    with pytest.raises(RecordError) as caught:
        read_records([folder])
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("case", "n_users"), None, "Expected `int`, got `null` - at `$.case.n_users`"),
        (
            ("case", "n_users"),
            2**53 + 1,
            "Expected `int` <= 9007199254740992 - at `$.case.n_users`",
        ),
        (
            ("rounds", 0, "seed"),
            -(10**30),
            "Expected `int` >= -9007199254740992 - at `$.rounds[0].seed`",
        ),
        (("rounds", 0, "seconds"), 10**400, "Number out of range - at `$.rounds[0].seconds`"),
        (("status",), "great", "Invalid enum value 'great' - at `$.status`"),
        (("backend",), "numpy", "Expected `object`, got `str` - at `$.backend`"),
        (("rounds", 0, "seconds"), "1.5", "Expected `float`, got `str` - at `$.rounds[0].seconds`"),
        (
            ("calibrations", 0, "rungs"),
            3,
            "Expected `array`, got `int` - at `$.calibrations[0].rungs`",
        ),
        (("memory",), 3, "Expected `object | null`, got `int` - at `$.memory`"),
        (("kind",), "ranking", "Invalid enum value 'ranking' - at `$.kind`"),
        (("seeds",), [], "Expected `array` of length >= 1 - at `$.seeds`"),
        (("seeds",), [1], "Expected one of the record's seeds - at `$.rounds[0].seed`"),
        (("calibrations", 0, "seed"), 1, "one of the record's seeds - at `$.calibrations[0].seed`"),
        (("rounds",), [], "A match has at least one round - at `$.rounds`"),
        (("rounds", 2, "round"), 1, "another number for each round of a seed - at `$.rounds[2]."),
        (("rounds", 0, "seconds"), 0, "Expected `float` >= 1e-09 - at `$.rounds[0].seconds`"),
        (("rounds", 0, "seconds"), 5e-324, "Number out of range - at `$.rounds[0].seconds`"),
        (("rounds", 0, "seconds"), 1e-10, "Expected `float` >= 1e-09 - at `$.rounds[0].seconds`"),
        (("rounds", 0, "objective"), 1e101, "Number out of range - at `$.rounds[0].objective`"),
        (("rounds", 0, "seconds"), -1.0, "Expected `float` >= 1e-09 - at `$.rounds[0].seconds`"),
        (("rounds", 0, "validation_mse"), -1.0, "Expected `float` >= 0.0"),
        (("calibrations", 0, "epochs"), -1, "Expected `int` >= 0 - at `$.calibrations[0].epochs`"),
        (("case", "name"), "x" * 256, "Expected `str` of length <= 255 - at `$.case.name`"),
        (("backend", "threads"), 0, "Expected `int` >= 1 - at `$.backend.threads`"),
        (("case", "reg_unit"), 1, "Expected `str`, got `int` - at `$.case.reg_unit`"),
        (("case", "damping"), None, "Expected `float`, got `null` - at `$.case.damping`"),
        (
            ("baselines", "global mean"),
            {},
            "Object missing required field `validation_mse` - at `$.baselines[...]`",
        ),
    ],
)
def test_a_wrong_field_is_named(
    tmp_path: Path, path: tuple[str | int, ...], value: object, message: str
) -> None:
    record: Any = json.loads(json.dumps(fake_record(backend="numpy")))
    assert message in refusal(record, path, value, tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("status",), "matched", "Invalid enum value 'matched' - at `$.status`"),
        (("costs", 0, "bound"), "luck", "Invalid enum value 'luck' - at `$.costs[0].bound`"),
        (
            ("costs", 1, "chain_ns"),
            "1",
            "Expected `float | null`, got `str` - at `$.costs[1].chain_ns`",
        ),
        (
            ("limits", 0, "chain", 0),
            {"rank": 16},
            "Object missing required field `ns` - at `$.limits[0].chain[0]`",
        ),
    ],
)
def test_a_wrong_field_of_a_roofline_is_named(
    tmp_path: Path, path: tuple[str | int, ...], value: object, message: str
) -> None:
    record: Any = fake_roofline()
    assert message in refusal(record, path, value, tmp_path)


@pytest.mark.parametrize(
    "record", [fake_record("numpy"), fake_roofline()], ids=["time", "roofline"]
)
def test_version_6_did_not_say_what_was_watched(tmp_path: Path, record: Any) -> None:
    assert record["environment"]["watched"] == "all"
    old = copy.deepcopy(record) | {"schema": 6}
    del old["environment"]["watched"]
    (tmp_path / "x.json").write_text(json.dumps(old), "utf-8")
    (read,) = read_records([tmp_path])
    assert (read["schema"], read["environment"]["watched"]) == (SCHEMA, None)


def test_what_a_machine_did_not_tell_is_none(tmp_path: Path) -> None:
    record: Any = fake_record(backend="numpy")
    record["environment"] = {"cpu": "Z80", "of a later release": 1}
    (tmp_path / "x.json").write_text(json.dumps(record), "utf-8")
    (read,) = read_records([tmp_path])
    assert read["environment"] == {**NOTHING_KNOWN, "cpu": "Z80", "of a later release": 1}


def test_an_older_record_of_our_own_backend_is_drawn_as_it_was(tmp_path: Path) -> None:
    record = fake_record("numba-sgd")
    for name in ("numba-sgd", "numba-sgd:learning_rate=0.1", "numba-sgd (1 thread)"):
        older = before_5(record)
        older["backend"]["name"] = name
        (tmp_path / "x.json").write_text(json.dumps(older), "utf-8")
        (read,) = read_records([tmp_path])
        assert read["backend"]["look"] == "red s"


def test_a_large_integer_where_a_number_is_wanted_is_a_number(tmp_path: Path) -> None:
    record: Any = fake_record("numpy")
    record["rounds"][0]["validation_mse"] = 10**30
    (tmp_path / "x.json").write_text(json.dumps(record), "utf-8")
    (read,) = read_records([tmp_path])
    assert read["rounds"][0]["validation_mse"] == 1e30
    assert isinstance(read["rounds"][0]["validation_mse"], float)


def test_missing_source(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no"):
        read_records([tmp_path / "nowhere"])


def test_newest_run(tmp_path: Path) -> None:
    assert newest_run(tmp_path / "nowhere") is None
    for name in ("2026-01-01", "2026-01-03", "2026-01-02"):
        write_record(tmp_path / name, fake_record(backend="numpy"))
    (tmp_path / "2026-01-09").mkdir()  # a run that has not measured anything yet
    assert newest_run(tmp_path) == tmp_path / "2026-01-03"


def folder_of_run(path: Path, written: Any, done: bool = True) -> Path:
    write_record(path, fake_record(backend="numpy"))
    (path / "run.state").write_text(
        json.dumps({"command": "c", "done": done, "written": written}), "utf-8"
    )
    return path


def test_the_newest_run_is_the_one_that_was_written_last(tmp_path: Path) -> None:
    resumed = folder_of_run(tmp_path / "2026-01-01T10-00-00Z", "2026-01-05T10-00-00.000001Z")
    folder_of_run(tmp_path / "2026-01-02T10-00-00Z", "2026-01-05T09-59-59.999999Z")
    folder_of_run(tmp_path / "2026-01-03T10-00-00Z", "2026-01-03T11-00-00.000000Z", done=False)
    # Its state was lost.
    write_record(tmp_path / "2026-01-04T10-00-00Z", fake_record(backend="numpy"))
    assert newest_run(tmp_path) == resumed
    unstated = write_record(tmp_path / "2026-01-06T10-00-00Z", fake_record(backend="numpy")).parent
    assert newest_run(tmp_path) == unstated


def test_a_copy_of_a_run_is_as_old_as_the_run(tmp_path: Path) -> None:
    old = folder_of_run(tmp_path / "2026-01-01T10-00-00Z", "2026-01-01T11-00-00.000000Z")
    new = folder_of_run(tmp_path / "2026-01-02T10-00-00Z", "2026-01-02T11-00-00.000000Z")
    shutil.copytree(old, tmp_path / "2026-01-09 before the change")
    assert newest_run(tmp_path) == new
    copy = shutil.copytree(new, tmp_path / "copy")
    assert newest_run(tmp_path) == copy  # of the same records


@pytest.mark.parametrize(
    "state", ["", "{", "[]", "{}", '{"written": null}', '{"written": 3}', "\udcff"]
)
def test_a_run_whose_state_does_not_say_counts_by_its_name(tmp_path: Path, state: str) -> None:
    damaged = folder_of_run(tmp_path / "2026-01-03T10-00-00Z", "")
    (damaged / "run.state").write_bytes(state.encode("utf-8", "surrogateescape"))
    folder_of_run(tmp_path / "2026-01-02T10-00-00Z", "2026-01-02T11-00-00.000000Z")
    assert newest_run(tmp_path) == damaged
    later = folder_of_run(tmp_path / "2026-01-01T10-00-00Z", "2026-01-04T11-00-00.000000Z")
    assert newest_run(tmp_path) == later


def test_tables(tmp_path: Path) -> None:
    records = [
        fake_record(backend="numpy"),
        fake_record(backend="torch-cuda", status="unavailable"),
    ]
    cases = cases_table(records)
    assert cases["backend"].tolist() == ["numpy", "torch-cuda"]
    assert cases["rounds"].tolist() == [len(records[0]["rounds"]), 0]
    assert len(rounds_table(records)) == len(records[0]["rounds"])
    assert len(trace_table(records)) == len(records[0]["calibrations"][0]["trace"])
    assert cold_table(records)["caches"].tolist() == ["empty", "filled", "warm"]
    assert json.loads(cases.to_json())["status"] == {"0": "matched", "1": "unavailable"}


def test_roofline_table() -> None:
    table = roofline_table(
        [fake_roofline("numba-sgd"), fake_roofline("numba-gd", ranks=(16,), threads=(1,))]
    )
    assert table["backend"].value_counts().to_dict() == {"numba-sgd": 6, "numba-gd": 1}
    assert table["chain_ns"].isna().tolist() == [False] * 6 + [True]
