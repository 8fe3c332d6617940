"""The report: from records to files, the verdict, escaping, determinism, and its imports."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from fake_records import fake_record, fake_roofline, fake_score
from helpers import in_fresh_process

from bench.compare.__main__ import main as compare
from bench.records import ListMetrics, Record, Score, write_record
from bench.report.__main__ import main
from bench.report.figures import all_kinds
from bench.report.figures.kinds.profile import profile_table
from bench.report.figures.palette import GREY, hashed_look, styles
from bench.report.files import write_report
from bench.report.outcome.cases import case_title, group_cases
from bench.report.outcome.description import about
from bench.report.outcome.parts import all_parts
from bench.report.outcome.plan import Plan, file_of
from bench.report.outcome.tidy import cases_table
from bench.report.outcome.verdict import (
    answer,
    answers,
    cautions,
    headline,
    left_out,
    origin,
    unavailable,
)
from bench.report.outcome.verdict import verdict as sentences
from bench.report.tables.facts import case_facts
from bench.report.tables.measured import measured_tables
from bench.report.tables.parts import parts_table
from bench.report.tables.ranking import overview_table, ranking_table
from bench.text.wording import DASH, number, words

pytestmark = pytest.mark.draws

STEMS = (
    "uses",
    "convergence_seconds",
    "convergence_epochs",
    "seconds",
    "pareto",
    "memory",
)
FIGURES = [f"{stem}.{kind}" for stem in STEMS for kind in ("svg", "png")]
TABLES = [
    f"{stem}.csv" for stem in STEMS if stem != "convergence_epochs"
]  # both convergences show one table
DATA = ["results.csv", "results.parquet", "rounds.csv"]
NASTY = (
    '<script>alert("1")</script> | $x$ `b` & _i_ *s* [l](http://evil.example/x) '
    "--> {{ 7 * 7 }} \n# h 漢"
)
GOAL = "the matching validation MSE of 0.8516"
EXPLODED = {
    "seed": 0,
    "epochs": None,
    "repeats": 1,
    "evaluation_seconds": None,
    "rungs": [],
    "trace": [{"epoch": i, "seconds": i / 10, "validation_mse": 1e300} for i in (0, 1, 2)],
}
OTHER_CASE = {"name": "ml-1m-rank=64-seed=1", "dataset": "ml-1m", "rank": 64, "seed": 1}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """Six backends that matched, and one of each other status."""
    ranked = {
        "numpy": 4.0,
        "numba-sgd": 0.05,
        "numba-gd": 0.4,
        "numpy-als": 1.5,
        "torch-cpu": 0.8,
        "libmf": 0.1,
    }
    lost = ["missed", "diverged", "crashed", "timed out", "out of memory", "unavailable"]
    failed: list[Any] = [fake_record(f"lost-{i}", status) for i, status in enumerate(lost)]  # type: ignore[arg-type]
    matched = [noisy(name, seconds) for name, seconds in ranked.items()]
    for record in matched:
        record["backend"]["threads"] = 2  # where budgets differ, no speed-up is split
    return matched + failed


@pytest.fixture(scope="module")
def report(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(records, tmp_path_factory.mktemp("report")).parent


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command draws none: for tests that look at what it says."""
    monkeypatch.setattr("bench.report.__main__.MOST_PICTURES", 0)


def noisy(name: str, seconds: float, **overrides: Any) -> Record:
    """Return a record of three seeds, whose order by speed depends on the name."""
    record = fake_record(name, seconds=seconds, seeds=[0, 1, 2], **overrides)
    factors = (0.97, 1.0, 1.04) if name == "a" else (1.05, 0.98, 1.0)
    (first,) = record["calibrations"]
    record["calibrations"] = [{**first, "seed": seed} for seed in range(3)]
    record["rounds"] = [
        {**row, "seed": seed, "seconds": row["seconds"] * factors[seed]}
        for seed in range(3)
        for row in record["rounds"]
    ]
    return record


def verdict(*records: Record) -> str:
    (case,) = group_cases(list(records))
    return " ".join(sentences(case))


def all_words(value: Any) -> Any:
    """Return the value with NASTY in place of each free text."""
    if isinstance(value, dict):
        keep = {"status", "caches", "kind", "order"}  # the schema names their values
        return {key: item if key in keep else all_words(item) for key, item in value.items()}
    if isinstance(value, list):
        return [all_words(item) for item in value]
    return f"{value} {NASTY}" if isinstance(value, str) else value


class Links(HTMLParser):
    """Collects where links lead, what a browser would fetch by itself, the tags and the ids."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name == "href" and tag == "a"]
        self.loads += [
            value or ""
            for name, value in attrs
            if name in ("src", "href", "data", "srcset")
            and tag != "a"
            # What begins with "#" is within the page: the letters of a picture.
            and not (tag == "use" and (value or "").startswith("#"))
        ]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def of_another_kind(name: str) -> bool:
    """Whether a file belongs to a kind of figure that these tests do not know."""
    stems = {stem for kind in all_kinds() for stem in kind.stems} - {
        name.partition(".")[0] for name in FIGURES
    }
    return re.split(r"-|\.", name)[0] in stems - {
        "profile",
        "size",
        "roofline",
        "threads",
        "memory_device",
    }


def test_writes_every_file_and_nothing_else(report: Path) -> None:
    found = {path.name for path in report.iterdir()}
    expected = {*FIGURES, *TABLES, *DATA, "index.html", "report.md"}
    assert expected <= found
    assert {name for name in found - expected if not of_another_kind(name)} == set()
    for name in FIGURES:
        head = (report / name).read_bytes()[:8]
        assert head.startswith(b"<?xml" if name.endswith("svg") else b"\x89PNG"), name
    assert len((report / "results.csv").read_text("utf-8").splitlines()) == 13
    assert len((report / "rounds.csv").read_text("utf-8").splitlines()) == 1 + 6 * 15 + 5
    for name in re.findall(r"\]\(([^)]*)\)", (report / "report.md").read_text("utf-8")):
        assert (report / name).is_file()


def test_the_parquet_file_holds_the_results(report: Path, records: list[Record]) -> None:
    table = pd.read_parquet(report / "results.parquet")
    assert list(table["backend"]) == [record["backend"]["name"] for record in records]
    assert table["seconds"].notna().sum() == 7


def test_page_loads_nothing_and_has_no_id_twice(report: Path) -> None:
    page = Links()
    page.feed((report / "index.html").read_text("utf-8"))
    assert not page.loads
    assert len(page.ids) == len(set(page.ids))
    assert {target[1:] for target in page.links if target.startswith("#")} <= set(page.ids)
    outside = [
        target for target in page.links if not target.startswith("#")
    ]  # sources of published figures
    assert all(target.startswith("https://") or (report / target).is_file() for target in outside)
    assert not {"link", "iframe", "img", "object", "embed", "base", "form"} & set(page.tags)
    assert "@import" not in (report / "index.html").read_text("utf-8")


def test_tables_have_captions_and_rows_of_equal_length(report: Path) -> None:
    page = re.sub(
        "<script.*?</script>", "", (report / "index.html").read_text("utf-8"), flags=re.DOTALL
    )
    assert page.count("<table") == page.count("<caption><span>") == 10
    views = len(re.findall(r'<div class="view" role="img" aria-label="[^"]+', page))
    assert views == len(list(report.glob("*.png"))) >= len(STEMS)
    tables = re.findall(
        r"(?:^\|.*\n)+", (report / "report.md").read_text("utf-8"), flags=re.MULTILINE
    )
    assert len(tables) == 10
    for table in tables:
        assert len({line.count(" | ") for line in table.splitlines()}) == 1, table


def test_verdict_names_winner_factors_and_the_lost(records: list[Record]) -> None:
    text = verdict(*records)
    assert text.startswith(
        "ml-100k-rank=16-seed=0: numba-sgd is the fastest to the matching validation MSE of 0.8516"
    )
    assert re.search(r" 2\.0+ \(95 % interval [\d.]+ to [\d.]+\) times as fast as libmf and", text)
    assert re.search(
        r" (79|80)\.\d+ \([\d.]+ to [\d.]+\) times as fast as numpy\. A first fit on ", text
    )
    assert (
        ". Not matched: lost-2 (crashed: lost-2 ended with signal 11 in prepare); lost-1 (" in text
    )
    for i, status in enumerate(["missed", "diverged", "crashed", "timed out", "out of memory"]):
        assert f"lost-{i} ({status}: lost-{i} " in text
    assert text.endswith(". Not available here: lost-5.")


def test_the_answer_is_short_and_claims_what_the_verdict_does() -> None:
    def said(*entries: Record) -> tuple[list[str], str]:
        (case,) = group_cases(list(entries))
        return tuple(answer(case))  # type: ignore[return-value]

    seeds = [noisy(name, seconds) for name, seconds in (("a", 1.0), ("b", 2.0))]
    assert said(*seeds)[0] == ["a"]
    assert re.fullmatch(r": 1\.0 s, 2\.0 \(1\.7 to 2\.4\) times as fast as b\.", said(*seeds)[1])
    one_seed = said(fake_record("a", seconds=1), fake_record("b", seconds=2))
    assert one_seed[1] == ": 1.0 s, 2.0 times as fast as b; one seed, so that this may be noise."
    mixed = said(*seeds, fake_record("c", seconds=2.5))[1]
    assert mixed.endswith(") times as fast as b; one seed of c, so that this may be noise.")
    assert said(*seeds, fake_record("c", seconds=9)) == said(*seeds)  # too slow by far
    assert said(fake_record("a"), fake_record("b", "missed")) == (
        ["a"],
        ", the only one to match: 1.0 s.",
    )
    assert said(fake_record("a", "missed")) == (
        [],
        "No backend reached the matching validation MSE.",
    )
    assert said(fake_record("a", target=None))[0] == []
    names, text = said(noisy("a", 1.0), noisy("b", 1.0), noisy("c", 5.0))
    assert sorted(names) == ["a", "b"] and text.startswith(", which cannot be told apart: 1.0 ")
    assert text.endswith("times as fast as c.")
    (case,) = group_cases([noisy("a", 1.0), noisy("b", 1.0), noisy("c", 5.0)])
    assert answer(case).sentence == f"take {words(names, 'or')}{text}"


def test_verdict_claims_nothing_within_noise() -> None:
    text = verdict(noisy("a", 0.05), noisy("b", 0.05), noisy("numpy", 1.0))
    assert re.search("no difference can be detected between (a and b|b and a)", text)
    assert "fastest" not in text
    assert re.search("[ab] is (19|20)", text) and "times as fast as numpy." in text


def test_verdict_without_numpy_says_what_it_compares_with() -> None:
    entries = [noisy("a", 1), noisy("b", 2), noisy("c", 8)]
    assert "times as fast as c, the slowest that matched, as numpy was not measured." in verdict(
        *entries
    )
    assert "as numpy did not match." in verdict(*entries, fake_record("numpy", "missed"))
    stopped = fake_record("numpy", "timed out")
    assert "as numpy was stopped before it matched." in verdict(*entries, stopped)
    begun = fake_record("numpy", "in progress")
    assert "as numpy has no valid measurement." in verdict(*entries, begun)


def test_a_median_over_seeds_is_said_to_be_one() -> None:
    text = verdict(noisy("a", 1.0), noisy("numpy", 3.0))
    assert re.search(r" in 1\.0\d s \(median of 3 seeds, 15 rounds\), ", text)
    text = verdict(fake_record("a", seconds=1.0), fake_record("numpy", seconds=3.0))
    assert re.search(r" in 1\.0\d s \(median of 5 rounds\), ", text)


def test_verdict_of_one_round_gives_no_interval() -> None:
    text = verdict(fake_record("a", seconds=[1.0]), fake_record("numpy", seconds=[3.0]))
    said = (
        "in 1.00 s (one round), 3.0 times as fast as numpy; one seed, so that this may be noise. "
    )
    assert said in text
    assert text.endswith(" Be careful with a and numpy (1 round is too few to estimate the noise).")


def test_verdict_of_none_and_of_one_matched() -> None:
    none = verdict(fake_record("numpy", "missed"), fake_record("torch-cpu", "diverged"))
    said = (
        "no backend reached the matching validation MSE of 0.8516. "
        "Not matched: torch-cpu (diverged: "
    )
    assert said in none
    assert "only numpy reached the matching validation MSE" in verdict(
        fake_record(), fake_record("b", "missed"), fake_record("c", "diverged")
    )
    assert "only" not in verdict(fake_record())


@pytest.mark.parametrize(
    "status",
    [
        "crashed",
        "out of memory",
        "over budget",
        "inconsistent",
        "unavailable",
        "in progress",
    ],
)
def test_nothing_is_claimed_about_backends_without_a_valid_measurement(status: Any) -> None:
    others = [fake_record("b", "missed"), unfinished("c", status), unfinished("d", status)]
    (case,) = group_cases([fake_record(), *others])
    assert ": numpy reached the matching validation MSE of 0.8516, in " in headline(case)
    assert headline(case).endswith("; 2 others have no valid measurement")
    assert answer(case).text == ": 1.0 s; 2 others have no valid measurement."
    (case,) = group_cases([fake_record(), others[1]])
    assert answer(case).text == ": 1.0 s; 1 other has no valid measurement."
    (case,) = group_cases(others)
    said = "no backend is known to reach the matching validation MSE"
    assert headline(case).endswith(f"{said} of 0.8516: 2 of 3 backends have no valid measurement")
    assert answer(case).text == f"N{said[1:]}: 2 of 3 backends have no valid measurement."
    (case,) = group_cases(others[:2])
    assert answer(case).text.endswith(": 1 of 2 backends has no valid measurement.")


def test_a_time_out_is_a_measurement() -> None:
    stopped = [fake_record(name, "timed out") for name in "bc"]
    crashed = fake_record("d", "crashed")
    (case,) = group_cases([fake_record(), *stopped, crashed])
    said = "; 2 others were stopped at a limit; 1 other has no valid measurement"
    assert headline(case).endswith(said) and answer(case).text.endswith(f"{said}.")
    (case,) = group_cases([fake_record(), stopped[0]])
    assert headline(case).endswith("; 1 other was stopped at a limit")
    assert "only" not in headline(case) + answer(case).text
    (case,) = group_cases([*stopped, crashed])
    said = "2 of 3 backends were stopped at a limit and 1 of 3 backends has no valid measurement"
    assert headline(case).endswith(f"no backend is known to reach {GOAL}: {said}")


def test_a_duel_may_number_the_yardstick() -> None:
    records = [noisy("numpy (1)", 4.0), noisy("numpy (2)", 4.1), noisy("a", 1.0), noisy("b", 9.0)]
    (case,) = group_cases(list(records))
    assert case.yardstick is not None and case.yardstick.name == "numpy (1)"
    assert case.yardstick_note == ""
    (case,) = group_cases([noisy("numpy (tuned)", 4.0), noisy("a", 1.0), noisy("numpy", 5.0)])
    assert case.yardstick is not None and case.yardstick.name == "numpy"


def test_records_of_different_code_are_a_caution(tmp_path: Path) -> None:
    records = [noisy("a", 1.0), noisy("b", 2.0, run="another")]
    (case,) = group_cases(list(records))
    assert cautions(case) == []
    records[1]["key"]["code"] = "changed"
    (case,) = group_cases(list(records))
    assert cautions(case) == ["these records were measured with different code"]
    assert dict(case_facts(case))["Several runs"].startswith("with different code: the figures")
    page = write_report(records, tmp_path, pictures=0).read_text("utf-8")
    assert "These records were measured with different code." in page


def test_control_characters_are_on_no_page(tmp_path: Path) -> None:
    escape = "\x1b[31m\x9b\u202e\u2066"
    records = [fake_record(f"{name}{escape}", seconds=s) for name, s in (("a", 1), ("b", 2))]
    records.append(fake_record(f"c{escape}", "crashed", reason=f"it said {escape}"))
    for record in records:
        record["case"]["name"] = f"mine{escape}"
        record["case"]["dataset"] = record["command"] = f"data{escape}"
    write_report(records, tmp_path)
    for path in tmp_path.glob("*.[hms][tdv]*"):
        text = path.read_text("utf-8")
        text = re.sub("<script.*?</script>", "", text, flags=re.DOTALL)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2066]", text), path.name
    assert {path.suffix for path in tmp_path.iterdir()} >= {".html", ".md", ".svg"}


def test_a_backend_in_progress_has_no_place_and_is_told_with_its_reason() -> None:
    reason = "1 of 3 seeds measured"
    begun = fake_record("numba-sgd", "in progress", seconds=0.001, reason=reason)
    begun["rounds"] = fake_record("numba-sgd", seconds=0.001)["rounds"]
    (case,) = group_cases([noisy("a", 1.0), noisy("b", 2.0), begun])
    assert [entry.name for entry in case.ranked] == ["a", "b"]
    assert headline(case).startswith("ml-100k-rank=16-seed=0: a is the fastest of those measured ")
    assert answer(case).text.startswith(", the fastest of those measured: ")
    assert left_out(case) == "measured in part: numba-sgd (1 of 3 seeds measured)"
    table = ranking_table(case, styles({name: "" for name in ("a", "b", "numba-sgd")}))
    row = dict(zip(table.header, table.rows[-1], strict=True))
    assert row["Backend"] == "numba-sgd"
    uses = ("First fit, s", "New process, s", "In a loop, s", "Speed-up (95 %)")
    assert [row[name] for name in uses] == [DASH] * 4
    assert row["Status"] == "in progress: 1 of 3 seeds measured"


def unfinished(name: str, status: Any) -> Record:
    return fake_record(name, status, reason=f"{name} was not measured")


@pytest.mark.parametrize(
    "entries",
    [
        [fake_record("numpy", "missed"), fake_record("b", "unavailable")],
        [fake_record("numpy", "crashed", reason="")],
        [fake_record(seconds=[1.0]), fake_record("b", seconds=[1.0, 2.0])],
        [fake_record(rounds=[])],
        [fake_record(baselines={}), fake_record("b", calibrations=[])],
        [fake_record(), fake_record("b", "diverged", calibrations=[EXPLODED])],
        [fake_record(baselines={"biases": fake_score(0.7)})],
    ],
    ids=[
        "none matched",
        "alone and crashed",
        "one round",
        "no rounds",
        "no trace",
        "exploded",
        "baseline under the target",
    ],
)
def test_renders_what_is_missing(entries: list[Record], tmp_path: Path) -> None:
    for entry in entries:
        for score in entry["rounds"]:
            score["test_mse"] = score["objective"] = None
    page = write_report(entries, tmp_path).read_text("utf-8")
    assert all(entry["backend"]["name"] in page for entry in entries)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("ml-100k, rank 16, seed 0", "ml-100k, 16 factors, seed 0"),
        ("mine, rank 1", "mine, 1 factor"),
        ("top rank 5, seed 0", "top rank 5, seed 0"),
    ],
)
def test_titles_contain_factors_where_names_contain_the_rank(name: str, title: str) -> None:
    assert case_title(name) == title


@pytest.mark.parametrize(
    ("biases", "mean", "said"),
    [
        (0.83, 1.2, "do not help on these ratings: the validation MSE is 0.8300 by biases alone"),
        (0.8432, 1.2, "do not help on these ratings: the validation MSE is 0.8432 by biases alone"),
        (0.85, 1.2, "gain only 0.8 % on these ratings: the validation MSE is 0.8500 by biases"),
        (0.86, 1.2, ""),
        (0.84, 0.83, "do not help on these ratings: the validation MSE is 0.8300 by global mean,"),
    ],
)
def test_where_a_simpler_model_suffices_the_page_says_which(
    biases: float, mean: float, said: str
) -> None:
    baselines = {
        "global mean": fake_score(mean, 1.2),
        "biases alone": fake_score(biases, 0.9, user_damping=5.0, item_damping=2.0),
    }
    (case,) = group_cases([fake_record(target=None, baselines=baselines)])
    for text in (answer(case).text, headline(case)):
        if not said:
            assert "on these ratings" not in text
            continue
        assert f"factors {said}" in text
        if "gain only" in said:
            assert "; a simpler choice is damped_biases(ratings, user_damping=5, item_dam" in text
        elif "biases" in said:
            assert "by exact ALS; take damped_biases(ratings, user_damping=5, item_damping" in text
        else:
            assert "; take the mean rating" in text


def test_records_of_earlier_releases_name_no_dampings() -> None:
    baselines = {"global mean": fake_score(1.2, 1.2), "biases alone": fake_score(0.83, 0.9)}
    (case,) = group_cases([fake_record(target=None, baselines=baselines)])
    assert answer(case).text.endswith("; take biases alone.")
    assert "not timed: numpy" in left_out(case)
    missed = fake_record("numpy", "missed", target=None, reason="no target is left on this data")
    (case,) = group_cases([missed])
    (row,) = ranking_table(case, styles({"numpy": ""})).rows
    assert row[-1] == "not timed: no target is left on this data"
    needs = "is not installed; run: pip install 'factorbench[torch]'"
    (case,) = group_cases([fake_record("torch-cuda", "unavailable", target=None)])
    assert left_out(case) == ""  # what is not available is told apart from what failed
    assert unavailable(case) == [("torch-cuda", f"torch-cuda {needs}")]
    assert sentences(case)[-1] == "Not available here: torch-cuda."


def test_dropped_target_ranks_nobody_and_says_why(tmp_path: Path) -> None:
    ladder = [{"factor": 1.01, "mse": 0.8516, "dropped": "not below the biases alone (0.8500)"}]
    entries = [fake_record(name, target=None, ladder=ladder) for name in ("numpy", "numba-sgd")]
    text = verdict(*entries)
    reason = "(reason: not below the biases alone (0.8500))"
    assert f"no backend is ranked, as the matching target was dropped {reason}" in text
    assert "not below the biases alone" in write_report(entries, tmp_path).read_text("utf-8")


def test_planted_markup_is_escaped_and_survives(tmp_path: Path) -> None:
    entries = [
        all_words(fake_record(name, seconds=s)) for name, s in (("numpy", 4.0), ("_b", 0.05))
    ]
    entries += [all_words(fake_record("lost", "crashed"))]
    for entry in entries:
        entry["environment"][NASTY] = entry["baselines"][NASTY] = fake_score(0.9, note=NASTY)
    page = write_report(entries, tmp_path).read_text("utf-8")
    parsed = Links()
    parsed.feed(page)
    scripts = re.sub(r"data-\d+", "data-N", " ".join(re.findall("<script[^>]*>", page)))
    ours = (
        '<script type="application/json" class="spec">',
        '<script type="text/plain" id="data-N">',
        "<script>",
    )
    assert (
        sum(scripts.count(tag) for tag in ours) == parsed.tags.count("script")
        and scripts.count("<script>") == 2
    )
    assert not parsed.loads and not parsed.handlers
    assert "<script>alert" not in page and "{{ 7 * 7 }}" in page and "evil.example" in page
    assert not [target for target in parsed.links if "evil" in target]
    assert html.escape('<script>alert("1")').replace("&quot;", "&#34;") in page
    markdown = (tmp_path / "report.md").read_text("utf-8")
    outside, inside = markdown.split("## To reproduce it")
    outside, n_blocks = re.subn(r"^(```+)python\n.*?\n\1$", "", outside, flags=re.M | re.S)
    assert n_blocks == 1  # in a fence of more backticks than any of its lines, nothing is markup
    assert (
        "<script" not in outside
        and r"\| \$x\$ \`b\` &amp; \_i\_" in outside
        and "\n# h" not in outside
    )
    assert re.search(r"```sh\npytest.*?\n```\n", inside, flags=re.DOTALL)
    for path in tmp_path.glob("*.svg"):
        assert re.fullmatch(r"[a-z_]+\.svg", path.name)
        assert not re.search(rb"<script|<!--|<a ", path.read_bytes())
        ElementTree.parse(path)


def test_same_records_give_the_same_bytes(
    records: list[Record], report: Path, tmp_path: Path
) -> None:
    write_report(records, tmp_path)
    for path in report.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_two_cases_have_sections_and_files_of_their_own(tmp_path: Path) -> None:
    both = [
        fake_record(),
        fake_record("b"),
        fake_record(case=OTHER_CASE),
        fake_record("b", case=OTHER_CASE),
    ]
    (tmp_path / "seconds--gone.svg").touch()
    (tmp_path / "seconds-mine.svg").touch()
    page = write_report(both, tmp_path).read_text("utf-8")
    assert page.count('<details class="case"') == page.count('class="verdict"') == 2
    slugs = ("ml-100k-rank-16-seed-0", "ml-1m-rank-64-seed-1")
    listed, overview = page.index("<nav"), page.index("<table")
    for part in (page[overview:listed], page[listed:]):
        assert [part.count(f'<a href="#case-{slug}">') for slug in slugs] == [1, 1]
    expected = {f"{name[:-4]}--{slug}{name[-4:]}" for name in FIGURES + TABLES for slug in slugs}
    expected |= {*DATA, "index.html", "report.md", "seconds-mine.svg"}
    expected |= {"profile.svg", "profile.png", "profile.csv"}
    found = {path.name for path in tmp_path.iterdir()}
    assert expected <= found
    assert {name for name in found - expected if not of_another_kind(name)} == set()


OF_VERSION_4 = {"reg": 0.11, "reg_unit": "rating", "damping": 0.0, "bias_reg": 0.11}
OF_VERSION_4 |= {"user_bias_damping": 0.0, "item_bias_damping": 0.0}


@pytest.mark.parametrize(
    ("changes", "objective"),
    [
        (
            {},
            "16 factors, reg 0.1 (per_rating, in units of the root mean square of r - m), "
            "damping 10; "
            "with biases, bias_reg 0.01, user_bias_damping 5, item_bias_damping 2",
        ),
        (
            OF_VERSION_4,
            "16 factors, reg 0.11 (per_rating, in units of ratings), damping 0; "
            "with biases, bias_reg 0.11, user_bias_damping 0, item_bias_damping 0",
        ),
        (
            {**OF_VERSION_4, "reg_scaling": "per_entity", "bias": False},
            "16 factors, reg 0.11 (per_entity, in units of ratings), damping 0; without biases",
        ),
    ],
)
def test_the_whole_objective_is_told(
    changes: dict[str, Any], objective: str, tmp_path: Path
) -> None:
    (case,) = group_cases([fake_record(case=changes)])
    assert dict(case_facts(case))["Objective"] == objective
    page = write_report([fake_record(case=changes)], tmp_path, pictures=0).read_text("utf-8")
    assert html.escape(objective) in page
    for part in (
        "reg unit (n + damping) |row|^2",
        "(bias_reg n + user_bias_damping) b_u^2",
        "reg is in units of ratings",
    ):
        assert part in page


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (fake_score(0.7, 0.8), "validation MSE 0.7000, test MSE 0.8000"),
        (
            fake_score(
                0.7,
                0.8,
                user_damping=5.0,
                item_damping=0.5,
                note="item damping is the smallest tried",
            ),
            "validation MSE 0.7000, test MSE 0.8000, user damping 5, item damping 0.5 "
            "(item damping is the smallest tried)",
        ),
        # A score of version 4.
        (fake_score(0.7, 0.8, reg=0.0), "validation MSE 0.7000, test MSE 0.8000, reg 0"),
    ],
)
def test_what_was_tuned_for_a_baseline_is_told(score: Score, text: str) -> None:
    (case,) = group_cases([fake_record(baselines={"biases alone": score})])
    assert dict(case_facts(case))["Baseline biases alone"] == text


def test_records_of_before_the_change_of_the_objective_are_another_case() -> None:
    records = [fake_record(), fake_record("b"), fake_record(case=OF_VERSION_4)]
    assert sorted(len(case.records) for case in group_cases(records)) == [1, 2]


def test_newest_record_of_a_backend_is_shown_and_the_rest_counted() -> None:
    old, new = fake_record(seconds=9), fake_record(seconds=3, created="2026-01-01T00:00:00Z")
    (case,) = group_cases([new, old])
    assert case.superseded == 1
    assert 2.9 < case.ranked[0].median < 3.1


def test_a_different_target_makes_another_case() -> None:
    other = fake_record("b", target={"factor": 1.01, "mse": 0.9, "dropped": ""})
    assert [case.title for case in group_cases([fake_record(), other])] == [
        "ml-100k-rank=16-seed=0",
        "ml-100k-rank=16-seed=0 (2)",
    ]


def test_each_backend_has_one_look_of_its_own() -> None:
    names = ["numpy", "numpy-als", "numba-sgd", "numba-gd", "torch-cpu", "torch-cuda", "torch-mps"]
    looks = styles(dict.fromkeys(names, ""))
    assert len(set(looks.values())) == len(names)
    assert styles({**dict.fromkeys(names, ""), "numpy": "grey o"})["numpy"] == (GREY, "o")
    assert hashed_look("a stranger") == hashed_look("a stranger (2 threads)")


def test_environment_separates_what_differed_from_what_was_equal(tmp_path: Path) -> None:
    blas = {"internal_api": "openblas", "version": "0.3.30", "architecture": "SkylakeX"}
    pools = {
        "pools": [{**blas, "num_threads": 2}, {"user_api": "openmp", "num_threads": 1}],
        "import_seconds": 0.12345,
        "cpu": "X",
    }
    both = [
        fake_record(environment=pools),
        fake_record("b", environment=pools | {"import_seconds": 1.5}),
    ]
    crashed = fake_record("c", "crashed", environment={"cpu": "X"})
    write_report([*both, crashed], tmp_path, pictures=0)
    text = (tmp_path / "report.md").read_text("utf-8").split("## Environment")[1]
    assert "| cpu | X |" in text and (
        "| pools | OpenBLAS 0.3.30 (SkylakeX): 2 threads; OpenMP: 1 thread |" in text
    )
    assert "| Backend | Case | import seconds |" in text
    assert "| numpy | ml-100k-rank=16-seed=0 | 0.123 |" in text and "| c |" not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.05237, "0.0524"),
        (9.999, "10.0"),
        (80.81, "80.8"),
        (4230.4, "4,230"),
        (None, "\N{EN DASH}"),
        (0, "0"),
    ],
)
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_command_prints_verdict_and_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    write_record(run, fake_record("numpy", seconds=2))
    path = write_record(run, fake_record("numba-sgd", seconds=1))
    assert main(["--input", str(run), "--output", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "numba-sgd was the fastest" in lines[0]  # of one seed
    assert lines[1].startswith("  A first fit on a machine, nothing compiled: take numba-sgd: ")
    assert lines[2].startswith("  A fit in a new process, compiled before: take numba-sgd: ")
    assert lines[3:] == [str(tmp_path / "out" / "index.html")]
    assert main(["--input", str(path), "--input", str(run / "absent")]) == 2
    assert capsys.readouterr().err == f"error: there is no {run / 'absent'}\n"


@pytest.mark.usefixtures("without_pictures")
def test_command_takes_the_newest_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for run, name in (("2025-01-01", "old"), ("2025-01-02", "new")):
        write_record(tmp_path / "reports/runs" / run, fake_record(name))
    assert main([]) == 0
    page = (tmp_path / "reports/latest/index.html").read_text("utf-8")
    assert "<strong>new</strong>" in page and "old" not in page.split("<body>")[1].split("<nav")[0]


@pytest.mark.usefixtures("without_pictures")
def test_command_says_that_the_newest_run_has_no_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_record(tmp_path / "reports/runs/2025-01-01", fake_record("old"))
    assert main([]) == 0
    assert capsys.readouterr().err == ""
    (tmp_path / "reports/runs/2025-01-02").mkdir()
    assert main([]) == 0
    said = "the newest run, reports/runs/2025-01-02, has no records; this is the report of "
    assert capsys.readouterr().err == f"{said}reports/runs/2025-01-01\n"


def test_command_without_records_says_how_to_make_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 1
    assert capsys.readouterr().err == (
        "There are no records in reports/runs; "
        "make some with `pytest bench/ --benchmark-only`, or `make bench`.\n"
    )
    assert main(["--input", str(tmp_path)]) == 1
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"schema": 99}', "has schema version 99, this release reads versions 1 to 8; "),
        (b"", "is not a record of factorbench (Input data was truncated)"),
        (b"[" * 10**5, "is not a record of factorbench (lists or objects are nested too deeply)"),
        (b'{"schema": 6, "\xff": 1}', "is not a record of factorbench (Invalid UTF-8"),
        (b'{"schema": "\\u001b[31m\\n"}', "has schema version '\\x1b[31m\\n', this"),
    ],
    ids=lambda value: str(value[:20]),
)
def test_commands_refuse_what_is_no_record_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    for command, given in ((main, ["--input", str(tmp_path)]), (compare, [str(path)] * 2)):
        assert command(given) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"error: {path} {message}")
        assert said.count("\n") == 1


def test_a_file_that_cannot_be_opened_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_record(tmp_path / "run", fake_record())

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert main(["--input", str(path)]) == 2
    assert capsys.readouterr().err == f"error: {path} cannot be read (Permission denied)\n"


@pytest.mark.process
def test_report_imports_no_solver() -> None:
    heavy = "backends", "torch", "numba", "matplotlib.pyplot"
    code = f"""
import sys
import bench.report.__main__
print([name for name in {heavy} if name in sys.modules])
"""
    assert in_fresh_process(code).strip() == "[]"


def test_the_performance_profile_over_cases(tmp_path: Path) -> None:
    records = [
        fake_record("numba-gd", seconds=1.0),
        fake_record("numpy", seconds=4.0),
        fake_record("numba-gd", seconds=6.0, case=OTHER_CASE),
        fake_record("numpy", seconds=3.0, case=OTHER_CASE),
        fake_record("torch-cpu", "timed out", case=OTHER_CASE),
    ]
    table = profile_table(group_cases(records))
    found = {
        name: rows[["factor", "share"]].round(6).to_numpy().tolist()
        for name, rows in table.groupby("backend")
    }
    assert found["numba-gd"] == [[1.0, 0.5], [2.0, 1.0]]
    assert found["numpy"] == [[1.0, 0.5], [4.0, 1.0]]
    assert "torch-cpu" not in found  # it matched nowhere
    page = write_report(records, tmp_path).read_text("utf-8")
    assert "Over all cases" in page
    assert {"profile.svg", "profile.png", "profile.csv"} <= {
        path.name for path in tmp_path.iterdir()
    }
    write_report(records[:2], tmp_path, pictures=0)  # what was drawn before is removed
    assert not list(tmp_path.glob("profile.*"))


def test_every_factor_of_the_profile_has_its_interval() -> None:
    cases = [
        noisy(name, at, case=case)
        for name, at in (("a", 1.0), ("b", 2.0))
        for case in ({}, OTHER_CASE)
    ]
    table = profile_table(group_cases(cases))
    (row,) = table[table["backend"] == "b"].to_dict("records")
    assert (row["factor"], row["low"], row["high"]) == pytest.approx((2.0, 1.72, 2.36), abs=0.01)
    (row,) = table[table["backend"] == "a"].to_dict("records")
    assert row["factor"] == 1.0 and pd.isna(row["low"])  # the fastest itself


def test_cases_are_in_the_order_of_their_numbers() -> None:
    ranks = (128, 16, 64)
    made = [
        fake_record(case={"name": f"ml-100k, rank {rank}, seed 0", "rank": rank}) for rank in ranks
    ]
    assert [case.facts["case"]["rank"] for case in group_cases(made)] == [16, 64, 128]
    assert group_cases([fake_record(case={"dataset": "7" * 5000})])  # too long for a number


def seeded(name: str, medians: list[float]) -> Record:
    """A record with one round of each seed."""
    made = fake_record(name, seconds=medians, seeds=list(range(len(medians))))
    for row in made["rounds"]:
        row["seed"] = row["round"]
    return made


def test_a_noisy_backend_behind_one_that_is_told_apart_is_not_passed_over() -> None:
    records = [
        seeded("a", [1.0, 1.001, 0.999]),
        seeded("b", [1.05, 1.051, 1.049]),
        seeded("c", [0.8, 1.06, 1.5]),
    ]
    (case,) = group_cases(list(records))
    assert answer(case).names == ["a", "c"]
    assert "a is 1.05" in answer(case).text
    assert "no difference can be detected between a and c" in sentences(case)[0]


def test_one_seed_is_mentioned_wherever_the_fastest_is_named() -> None:
    records = [
        seeded("a", [1.0, 1.01, 0.99]),
        seeded("b", [1.01, 1.0, 1.02]),
        fake_record("c", seconds=2.0),
    ]
    (case,) = group_cases(list(records))
    for text in (answer(case).text, sentences(case)[0]):
        assert "one seed of c, so that this may be noise" in text


def test_a_text_is_no_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    write_report(
        [fake_record("=HYPERLINK(1)", seconds=1), fake_record("numpy", seconds=2)],
        tmp_path,
        pictures=0,
    )
    for path in tmp_path.glob("*.csv"):
        assert not re.search(r"(^|,)=", path.read_text("utf-8"), re.MULTILINE), path.name


@pytest.mark.usefixtures("without_pictures")
def test_what_cannot_be_written_to_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_record(tmp_path / "run", fake_record())
    (tmp_path / "run" / "folder.json").mkdir()
    (tmp_path / "file").touch()
    assert main(["--input", str(tmp_path / "run"), "--output", str(tmp_path / "file")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: the report cannot be written to {tmp_path / 'file'} (")
    assert said.count("\n") == 1


def test_lists_are_shown_beside_those_without_a_model() -> None:
    def metrics(ndcg: float) -> ListMetrics:
        return ListMetrics(
            threshold=4.0,
            users=900,
            precision=0.125,
            recall=0.25,
            ndcg=ndcg,
            coverage=0.0625,
            rare=0.0,
        )

    record = fake_record(
        lists=[metrics(0.1), metrics(0.3), metrics(0.2)],
        list_baselines={"most popular": metrics(0.15), "random": metrics(0.01)},
    )
    (case,) = group_cases([record, fake_record("numba-sgd")])  # whose lists were not measured
    (table,) = [t for t in measured_tables(case) if t.caption.startswith("Lists of ten")]
    assert "rated at least 4.00 in the held-out ratings; means over 900 users" in table.caption
    assert table.rows == [
        ["numpy", "0.2000", "0.1250", "0.2500", "6.2 %", "0.0 %"],
        ["most popular", "0.1500", "0.1250", "0.2500", "6.2 %", "0.0 %"],
        ["random", "0.0100", "0.1250", "0.2500", "6.2 %", "0.0 %"],
    ]
    (row, other) = cases_table([record, fake_record("numba-sgd")]).to_dict("records")
    assert (row["ndcg"], row["coverage"]) == (0.2, 0.0625)
    assert pd.isna(other["ndcg"])


# ---- runs that did not end ----------------------------------------------------------------------


def begin_run(folder: Path, records: list[Any], absent: list[Any], done: bool = False) -> Path:
    """Write records and the state of a run that was to write the absent ones too."""
    for record in records:
        write_record(folder, record)
    files = [file_of(record) for record in [*records, *absent]]
    state = {"command": "pytest bench/", "done": done, "written": "", "planned": files}
    (folder / "run.state").write_text(json.dumps(state))
    return folder


def printed(folder: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["--input", str(folder), "--output", str(output)]) == 0
    return capsys.readouterr().out.splitlines()[:-1]


CUT_OFF = "the run is not complete: "


@pytest.mark.usefixtures("without_pictures")
def test_a_run_that_was_cut_off_says_so_wherever_it_has_a_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    present = [fake_record("numpy"), fake_record("b", "missed"), fake_record("c", "in progress")]
    folder = begin_run(tmp_path / "run", present, [fake_record("d"), fake_record("e")])
    said = f"{CUT_OFF}3 of 5 measurements are missing (c, d and e)"
    line, *others = printed(folder, tmp_path / "out", capsys)
    assert others[-1] == f"  T{said[1:]}."
    assert ": numpy reached the matching" in line and "; 3 others have no valid measurement" in line
    assert all("; 3 others have no valid measurement" in other for other in others[:2])
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert page.count(f"T{said[1:]}.") == 1
    assert page.index(f"T{said[1:]}") < page.index("<table")
    verdicts = (tmp_path / "out" / "report.md").read_text("utf-8").split("\n## ")[1]
    assert f"T{said[1:]}." in verdicts.replace("\\", "")


def test_the_fastest_of_an_incomplete_run_is_that_of_those_measured() -> None:
    records = [noisy("a", 1.0), noisy("b", 2.0)]
    files = [file_of(record) for record in [*records, fake_record("c")]]
    (case,) = group_cases(list(records), Plan(files))
    claim = "is the fastest of those measured"
    assert f"a {claim} to the matching" in headline(case)
    assert answer(case).text.startswith(f", {claim.removeprefix('is ')}: ")
    assert all(found.text.startswith(", the fastest of th") for _, found in answers(case))
    assert cautions(case) == [f"{CUT_OFF}1 of 3 measurements is missing (c)"]
    (case,) = group_cases(list(records), Plan(files[:2]))
    assert "a is the fastest to the matching" in headline(case)
    assert cautions(case) == []


@pytest.mark.usefixtures("without_pictures")
def test_a_run_that_ended_or_has_no_plan_misses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = begin_run(tmp_path / "run", [fake_record()], [fake_record("b")], done=True)
    assert not any("missing" in line for line in printed(folder, tmp_path / "out", capsys))
    begin_run(folder, [fake_record()], [fake_record("b")])
    assert any("missing (b)" in line for line in printed(folder, tmp_path / "out", capsys))
    assert any("missing (b)" in line for line in printed(tmp_path, tmp_path / "out", capsys))
    file = folder / file_of(fake_record())  # a file is not the folder of a run
    assert not any("missing" in line for line in printed(file, tmp_path / "out", capsys))
    (folder / "run.state").write_text("{")
    assert not any("missing" in line for line in printed(folder, tmp_path / "out", capsys))


def test_what_a_later_run_measured_is_not_missing() -> None:
    later = fake_record("b", created="2026-01-01T00:00:00Z")
    files = [file_of(fake_record()), file_of(later)]
    (case,) = group_cases([fake_record(), later], Plan(files))
    assert case.missing is None
    newest = fake_record("b", "in progress", created="2026-02-01T00:00:00Z")
    (case,) = group_cases([fake_record(), later, newest], Plan(files))
    assert case.missing is not None and case.missing.names == ["b"]


@pytest.mark.usefixtures("without_pictures")
def test_the_missing_of_several_cases_are_told_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    third = {**OTHER_CASE, "name": "ml-1m, rank 8"}
    absent = [fake_record("b", case=OTHER_CASE), fake_record("b", case=third), fake_roofline()]
    present = [fake_record(), fake_record("b"), fake_record(case=OTHER_CASE)]
    folder = begin_run(tmp_path / "run", present, absent)
    lines = printed(folder, tmp_path / "out", capsys)
    second = next(at for at, line in enumerate(lines) if at and not line.startswith("  "))
    first, second = lines[:second], lines[second:-1]
    assert first[-1] == f"  T{CUT_OFF[1:]}1 of 2 measurements is missing (b)."
    assert second and not any("missing" in line for line in second)
    assert lines[-1] == (
        "The run is not complete: 3 of 6 measurements are missing "
        "(ml-1m-rank=64-seed=1: b; ml-1m rank 8: b; roofline of ml-100k-rank=16-seed=0: numba-sgd)."
    )
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert page.index(lines[-1]) < page.index("<nav")
    assert lines[-1][1:-1] in (tmp_path / "out" / "report.md").read_text("utf-8").replace("\\", "")
    (first, second) = overview_table(
        group_cases(present, Plan([file_of(record) for record in [*present, *absent]]))
    ).rows
    assert (first[-1], second[-1]) == ("1 of 2, 1 missing", "2 of 2")
    # The verdict in the summary of a folded case.
    briefs = re.findall(r'<span class="brief">(.*?)</span>', page, re.DOTALL)
    assert ["1 of 2 measurements is missing (b)." in brief for brief in briefs] == [True, False]
    assert briefs[0].startswith("Take numpy: 1.0 s; 1 other has no valid measurement.")


@pytest.mark.usefixtures("without_pictures")
def test_a_roofline_says_what_of_it_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = begin_run(tmp_path / "run", [fake_roofline()], [fake_roofline("numba-gd")])
    (line,) = printed(folder, tmp_path / "out", capsys)
    assert line.endswith(f"; {CUT_OFF}1 of 2 measurements is missing (numba-gd).")
    begin_run(folder, [fake_record(), fake_roofline()], [fake_record("b")])
    *lines, roofline = printed(folder, tmp_path / "out", capsys)
    assert ["missing" in line for line in lines] == [False] * (len(lines) - 1) + [True]
    assert "missing" not in roofline  # and there is no line about all


def test_many_missing_are_counted_and_threads_are_told_where_they_differ() -> None:
    sweep = [fake_record("a") for _ in range(2)]
    sweep[0]["backend"]["threads"] = 1
    many = [fake_record(f"x{n:02d}") for n in range(12)]
    plan = Plan([file_of(record) for record in [fake_record(), *sweep, *many]])
    (case,) = group_cases([fake_record(), sweep[0]], plan)
    names = ", ".join(f"x{n:02d}" for n in range(9))
    assert case.missing is not None
    assert case.missing.text.endswith(f"missing (a (2 threads), {names} and 3 more)")


@pytest.mark.parametrize(
    ("newest", "said"),
    [
        ("2025-06-02T09:59:59Z", ""),
        ("2025-06-02T11:00:00+00:00", "1 day, from 2025-06-01 to 2025-06-02"),
        ("2025-07-11T10:30:00", "40 days, from 2025-06-01 to 2025-07-11"),
        ("yesterday", ""),
    ],
)
def test_records_of_other_days_are_told(newest: str, said: str, tmp_path: Path) -> None:
    records = [
        fake_record(created="2025-06-01T10:00:00Z"),
        fake_record("b", created=newest),
        fake_record("c", "unavailable", created="2030-01-01T00:00:00Z"),
    ]
    (case,) = group_cases(list(records))
    text = f"these records were measured over {said}: the machine may have changed in between"
    assert cautions(case) == ([text] if said else [])
    write_report(records, tmp_path, pictures=0)
    for name in ("index.html", "report.md"):
        assert (text[1:] in (tmp_path / name).read_text("utf-8")) == bool(said)
    assert (f"T{text[1:]}." in sentences(case)) == bool(said)


# ---- what stands beside a ratio -----------------------------------------------------------------


def test_warnings_travel_with_the_ratios_they_concern() -> None:
    loud = noisy("a", 1.0)
    loud["environment"]["throttled"] = 2
    other = noisy("c", 1.5)
    other["environment"]["throttled"] = 1
    (case,) = group_cases([loud, noisy("b", 1.2), other, noisy("numpy", 3.0)])
    said = "be careful with a (the processor was throttled 2 times during the measurement)"
    assert cautions(case) == [said]  # the time of c is not in the verdict
    assert sentences(case)[-1] == f"B{said[1:]}."
    (warning,) = overview_table([case]).warnings
    assert warning == (f"warning-1--{case.slug}", said)
    (case,) = group_cases([noisy("b", 1.2), noisy("numpy", 3.0)])
    assert overview_table([case]).warnings == (("", ""),)


def test_the_ranking_says_how_many_threads_were_busy() -> None:
    long, short = fake_record("numpy-als"), fake_record("numba-sgd", seconds=0.01)
    for row in long["rounds"]:
        row["cpu_seconds"] = 1.04 * row["seconds"]
    (case,) = group_cases([long, short])
    table = ranking_table(case, styles({"numpy-als": "", "numba-sgd": ""}))
    cells = {row[0]: row[table.header.index("Runs on")] for row in table.rows}
    for row in long["rounds"]:
        row["cpu_seconds"] = 2.2 * row["seconds"]
    (case,) = group_cases([long])  # more than there are, as the clock is coarse
    (full,) = ranking_table(case, styles({"numpy-als": ""})).rows
    assert full[table.header.index("Runs on")] == "cpu, 2.0 of 2 threads busy"
    assert cells == {"numpy-als": "cpu, 1.0 of 2 threads busy", "numba-sgd": "cpu, 2 threads"}


@pytest.mark.parametrize(
    ("orders", "runs", "said"),
    [
        (["interleaved"] * 2, ["r", "r"], "the backends took turns, in blocks with one round"),
        (["interleaved"] * 2, ["r", "s"], "the backends of each run took turns; between runs,"),
        (["sequential"] * 2, ["r", "r"], "one backend after the other; intervals do not cover"),
        (
            ["interleaved", "sequential"],
            ["r", "r"],
            "a took turns, b did not; where one of the latter is compared, intervals do not cover",
        ),
    ],
)
def test_the_order_of_a_case_is_told(orders: list[str], runs: list[str], said: str) -> None:
    records = [
        fake_record(name, order=order, run=run)
        for name, order, run in zip("ab", orders, runs, strict=True)
    ]
    (case,) = group_cases([*records, fake_record("c", "unavailable")])
    assert dict(case_facts(case))["Order"].startswith(said)
    (case,) = group_cases(records[:1])
    assert "Order" not in dict(case_facts(case))


# ---- where a speed-up comes from ----------------------------------------------------------------


def with_epochs(name: str, seconds: float, epochs: list[int], **overrides: Any) -> Record:
    record = noisy(name, seconds, **overrides)
    for calibration, count in zip(record["calibrations"], epochs, strict=True):
        calibration["epochs"] = count
    record["backend"]["threads"] = 2
    return record


def test_a_speed_up_is_split_into_engine_and_algorithm() -> None:
    records = [
        with_epochs("numpy", 40.0, [41, 42, 41]),
        with_epochs("numba-gd", 4.0, [41, 42, 42]),
        with_epochs("numba-sgd", 1.0, [4, 5, 5]),
        with_epochs("torch-cpu", 8.0, [41, 42, 42]),
    ]
    (case,) = group_cases(list(records))
    (parts,) = all_parts(case)  # the others have the algorithm of numpy
    assert parts.between is not None and parts.between.name == "numba-gd"
    assert parts.first.value * parts.second.value == pytest.approx(parts.total.value)
    assert parts.first.value == pytest.approx(10.0, rel=0.01)
    assert parts.first.interval is not None and parts.second.interval is not None
    assert parts.epochs == "4 to 5 epochs instead of 41 to 42"
    assert re.sub(r"[\d.]+ \([\d.]+ to [\d.]+\)", "N", origin(case)) == (
        "the N times by which numba-sgd is faster than numpy are a factor of N by the engine "
        "(numba-gd against numpy, the same algorithm), times a factor of N by the algorithm "
        "(numba-sgd against numba-gd: 4 to 5 epochs instead of 41 to 42)"
    )
    table = parts_table(case)
    assert table is not None and table.caption.startswith("Where the speed-up comes from: it is ")
    assert [row[0] for row in table.rows] == ["numba-sgd"]
    assert table.rows[0][2].endswith(" by the engine: numba-gd against numpy")
    assert table.rows[0][3].endswith(" by the algorithm: numba-sgd against numba-gd")


def test_without_the_yardstick_s_algorithm_a_speed_up_is_split_by_epochs(tmp_path: Path) -> None:
    records = [
        with_epochs("numpy", 40.0, [40, 44, 40]),
        with_epochs("numba-sgd", 1.0, [4, 4, 4]),
        # A backend of the same engine, but with other parameters than the yardstick.
        with_epochs("numba-gd", 4.0, [40] * 3),
    ]
    records[2]["backend"]["params"] = {"learning_rate": 2.0}
    (case,) = group_cases(list(records))
    (parts,) = all_parts(case)
    assert parts.between is None
    assert parts.second.value == pytest.approx(10.0)
    assert parts.first.value * parts.second.value == pytest.approx(parts.total.value, rel=0.1)
    assert parts.second.interval is not None and parts.second.interval[1] > 10.1
    assert origin(case).endswith("by the number of epochs (4 epochs instead of 40 to 44)")
    page = write_report(records, tmp_path, pictures=0).read_text("utf-8")
    assert "may differ a little from the speed-up" in page and f"T{origin(case)[1:]}." in page
    markdown = (tmp_path / "report.md").read_text("utf-8")
    assert "**Where the speed-up comes from: " in markdown and origin(case) in markdown


def test_a_backend_of_the_yardstick_s_engine_owes_all_to_its_algorithm() -> None:
    records = [with_epochs("numpy", 9.0, [41] * 3), with_epochs("numpy-als", 3.0, [3] * 3)]
    (case,) = group_cases(list(records))
    (parts,) = all_parts(case)
    assert (parts.first.value, parts.between) == (1.0, case.yardstick)
    assert origin(case).endswith(" alone, as both have the same engine: 3 epochs instead of 41")


def test_a_speed_up_without_epochs_is_not_split() -> None:
    one = with_epochs("numba-sgd", 1.0, [4, 4, 4])
    one["calibrations"] = []
    (case,) = group_cases([one, with_epochs("numpy", 9.0, [41] * 3)])
    assert all_parts(case) == [] and parts_table(case) is None and origin(case) == ""
    (case,) = group_cases([fake_record("numpy", "missed")])
    assert all_parts(case) == [] and origin(case) == ""


def test_a_tie_with_the_yardstick_has_no_origin() -> None:
    base = with_epochs("numpy", 3.0, [41] * 3)
    (case,) = group_cases([base, with_epochs("numpy-als", 2.97, [3] * 3)])
    assert case.ranked[0].name == "numpy-als" and case.speedups["numpy-als"].within_noise is False
    base["rounds"] = [{**row, "seconds": 3 - 0.1 * row["seed"]} for row in base["rounds"]]
    tied, one_seed = group_cases([base, with_epochs("numpy-als", 2.8, [3] * 3)]), fake_record()
    assert tied[0].speedups["numpy-als"].within_noise and origin(tied[0]) == ""
    one_seed["backend"]["threads"] = 2
    (case,) = group_cases([one_seed, fake_record("numpy-als", seconds=0.1)])
    assert all_parts(case) and origin(case) == ""


def test_a_factor_within_noise_is_no_difference() -> None:
    records = [
        with_epochs("numpy", 40.0, [41] * 3),
        with_epochs("numba-gd", 1.05, [41] * 3),
        with_epochs("numba-sgd", 1.0, [4, 5, 5]),
    ]
    records[1]["rounds"] = [
        {**row, "seconds": row["seconds"] * (0.9, 1.0, 1.1)[row["seed"]]}
        for row in records[1]["rounds"]
    ]
    (case,) = group_cases(list(records))
    assert case.ranked[0].name == "numba-sgd"
    assert origin(case).endswith("; by the algorithm no difference can be detected")
    table = parts_table(case)
    assert table is not None and "interval of a factor contains 1, no diff" in table.caption


@pytest.mark.parametrize("yardstick", ["numpy", "torch-cpu"])
def test_an_alternative_in_brackets_is_no_other_algorithm(yardstick: str) -> None:
    other = "torch-cpu" if yardstick == "numpy" else "numba-gd"
    records = [
        with_epochs(yardstick, 40.0, [41] * 3),
        with_epochs(other, 4.0, [41] * 3),
        with_epochs("numba-sgd", 1.0, [4] * 3),
    ]
    (case,) = group_cases(list(records))
    assert [parts.entry.name for parts in all_parts(case)] == ["numba-sgd"]


def test_another_number_of_threads_is_no_engine() -> None:
    records = [
        with_epochs("numpy", 40.0, [41] * 3),
        with_epochs("numba-gd", 4.0, [41] * 3),
        with_epochs("numba-sgd", 1.0, [4] * 3),
    ]
    for record in records[1:]:
        record["backend"]["threads"] = 4
    (case,) = group_cases(list(records))
    assert all_parts(case) == [] and origin(case) == ""


@pytest.mark.parametrize(
    ("yardstick", "by"), [("numpy", "the engine and the device"), ("torch-cpu", "the device")]
)
def test_another_device_is_told_beside_the_engine(yardstick: str, by: str) -> None:
    records = [
        with_epochs(yardstick, 40.0, [41] * 3),
        with_epochs("torch-cuda", 4.0, [41] * 3),
        with_epochs("torch-als-cuda", 1.0, [3] * 3),
    ]
    (case,) = group_cases(list(records))
    assert f" by {by} (torch-cuda against {yardstick}, the same algorithm), " in origin(case)
    table = parts_table(case)
    assert table is not None and f" by {by}: torch-cuda against" in table.rows[0][2]


def test_a_warning_of_the_backend_in_between_is_told() -> None:
    between = with_epochs("numba-gd", 4.0, [41] * 3)
    between["environment"]["throttled"] = 2
    records = [
        with_epochs("numpy", 40.0, [41] * 3),
        between,
        with_epochs("torch-cpu", 2.0, [41] * 3),
        with_epochs("numba-sgd", 1.0, [4] * 3),
    ]
    (case,) = group_cases(list(records))
    assert "numba-gd against numpy" in origin(case)
    said = "be careful with numba-gd (the processor was throttled 2 times during the measurement)"
    assert cautions(case) == [said]


def test_factors_of_another_product_are_about_that() -> None:
    records = [with_epochs("numpy", 40.0, [40] * 3), with_epochs("numba-sgd", 1.0, [4] * 3)]
    (case,) = group_cases(list(records))
    assert " are a factor of " in origin(case)
    (case,) = group_cases([records[0], with_epochs("numba-sgd", 1.0, [2, 4, 40])])
    assert " are about a factor of " in origin(case)


def test_equal_numbers_of_epochs_are_not_told() -> None:
    records = [with_epochs("numpy", 9.0, [1] * 3), with_epochs("numpy-als", 3.0, [1] * 3)]
    (case,) = group_cases(list(records))
    assert origin(case).endswith(" alone, as both have the same engine")
    table = parts_table(case)
    assert table is not None and table.rows[0][-1] == "the same number"
    (case,) = group_cases([with_epochs("numpy", 9.0, [2] * 3), records[1]])
    assert origin(case).endswith(": 1 epoch instead of 2")


def test_the_rest_of_a_fit_contains_slow_epochs() -> None:
    (case,) = group_cases([fake_record()])
    (table,) = [t for t in measured_tables(case) if t.title == "Phases of a fit"]
    assert "copying the model, and what epochs took beyond their median." in table.caption


def test_what_was_not_watched_is_said() -> None:
    def said(*watched: str | None) -> str | None:
        records = [
            fake_record(name, environment={"watched": fact})
            for name, fact in zip(("numpy", "numba-sgd"), watched, strict=True)
        ]
        (case,) = group_cases(records)
        return dict(about(case)).get("Not watched here")

    assert said("all", "all") is None
    assert said(None, "all") is None  # of an earlier version
    assert said("all but memory", "all but memory") == "memory"
    assert said("all but memory", "all") == "memory (of numpy)"
    both = "child processes (of numba-sgd); memory and load (of numpy)"
    assert said("all but memory and load", "all but child processes") == both
