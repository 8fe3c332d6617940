"""The page as a file, without a browser.

What it may do, what it carries inside itself, and what is left of hostile names.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest
from fake_records import fake_gpu_check, fake_record, fake_roofline
from many_records import many_records
from test_report import Links

from bench.records import Record
from bench.report.figures import make_figures
from bench.report.figures.palette import GREY, ORANGE
from bench.report.files import MOST_PICTURES, write_report
from bench.report.outcome.cases import group_cases
from bench.report.page.contents import gather
from bench.report.page.exhibits import commands_of
from bench.report.page.html import host, render_html, sortable, template_environment
from bench.report.page.markdown import escape
from bench.report.page.scripts import as_json, bundle
from bench.report.tables.ranking import overview_table
from bench.report.tables.table import Table
from bench.text.wording import one_line

BREAKOUTS = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--<script>",
    "\u2028alert(1)",
]
OTHER = {"name": "other, rank 64", "dataset": "other", "rank": 64}


def specs(page: str) -> list[Any]:
    """Return what the page carries for each figure, read as the browser reads it."""
    return [
        json.loads(text) for text in re.findall(r'class="spec">(.*?)</script>', page, re.DOTALL)
    ]


def data(page: str) -> dict[str, Any]:
    """Return the tables that the page carries, by id."""
    found = re.findall(
        r'<script type="text/plain" id="(data-\d+)">([A-Za-z0-9+/=]*)</script>', page
    )
    return {name: json.loads(zlib.decompress(base64.b64decode(text))) for name, text in found}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    doubtful = fake_record("numba-gd", seconds=[1.0, 1.0, 2.5, 1.0, 1.0])
    return [
        fake_record("numba-sgd", seconds=0.1),
        doubtful,
        fake_record("numpy", seconds=3),
        fake_record("x", "crashed"),
    ]


@pytest.fixture(scope="module")
def page(records: list[Record]) -> str:
    return render_html(gather(records))


# ---- what it may do -----------------------------------------------------------------------------


def test_the_policy_lets_the_page_s_own_scripts_run_and_nothing_load(page: str) -> None:
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    rules = dict(rule.strip().split(" ", 1) for rule in html.unescape(policy).split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == " ".join(f"'sha256-{digest}'" for digest in hashes)
    assert rules["img-src"] == "data: blob:"
    assert "unsafe-eval" not in policy and "http" not in policy
    assert len(scripts) == 2 and page.index("Content-Security-Policy") < page.index("<script")


def test_the_bundle_ends_no_script_element() -> None:
    assert "vegaEmbed" in bundle()
    assert not re.search(r"</script|<!--|\r", bundle(), re.IGNORECASE)


@pytest.mark.parametrize("text", BREAKOUTS)
def test_json_in_a_script_element_stays_there(text: str) -> None:
    made = as_json({text: [text]})
    assert json.loads(made) == {text: [text]}
    assert not re.search("[<>&\u2028\u2029]", made)


def test_json_has_no_numbers_that_no_browser_reads() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json(float("nan"))


@pytest.mark.parametrize("text", BREAKOUTS)
def test_hostile_names_stay_texts(text: str, tmp_path: Path) -> None:
    case = {"name": f"data {text}", "dataset": text, "split": text, "dropped": text}
    entries = [
        fake_record(f"{name}{text}", seconds=at, case=case) for at, name in enumerate("ab", 1)
    ]
    entries.append(fake_record(f"c{text}", "crashed", case=case, reason=text))
    for record in entries:
        record["command"] = f"pytest --ratings {text}"
        record["run"] = f"../{text}"
        record["environment"] = {text: text}
    page = write_report(entries, tmp_path, pictures=0).read_text("utf-8")
    assert page.count("<script>") == 2
    markup = re.sub("<script>.*?</script>", "", page, flags=re.DOTALL)  # those two are code of ours
    parsed = Links()
    parsed.feed(markup)
    assert (
        not parsed.loads
        and not parsed.handlers
        and "img" not in parsed.tags
        and "<!--" not in markup
    )
    assert len(re.findall("<script", markup)) == len(specs(page)) + len(data(page))
    assert all(re.fullmatch(r"[a-z0-9_.-]+", path.name) for path in tmp_path.iterdir())
    shown = one_line(f"a{text}")  # a name has no line of its own
    assert any(shown.replace('"', '""') in table["values"] for table in data(page).values())
    assert shown in specs(page)[0]["spec"]["description"]


def test_commands_are_quoted_for_a_shell() -> None:
    record = fake_record(run="2025; rm -rf ~")
    assert (
        commands_of([record])[-1] == "python -m bench.report --input 'reports/runs/2025; rm -rf ~'"
    )


# ---- what it carries ----------------------------------------------------------------------------


def test_every_figure_is_there_once_with_its_data(page: str, records: list[Record]) -> None:
    (case,) = group_cases(records)
    figures = [figure for _, figure in make_figures("case", case)]
    shown, tables = specs(page), data(page)
    assert [chart["stem"] for chart in shown] == [figure.stem for figure in figures]
    assert {chart["data"] for chart in shown} == set(tables)
    assert len(tables) < len(shown)  # both convergences show one table
    for chart, figure in zip(shown, figures, strict=True):
        assert chart["spec"]["data"] is None
        assert [name for name, _ in chart["columns"]] == list(figure.values)
        header = tables[chart["data"]]["values"].split("\n", 1)[0].split(",")
        assert set(figure.values) <= set(header)


def test_every_figure_says_how_it_was_made_and_what_it_shows(
    page: str, records: list[Record]
) -> None:
    (section,) = gather(records).sections
    for exhibit in section.exhibits:
        (figure,) = re.findall(
            rf'<figure class="chart" id="figure-{exhibit.stem}">(.*?)</figure>', page, re.DOTALL
        )
        assert html.escape(exhibit.figure.alt, quote=False).split("&")[0] in figure
        assert all(
            str(template_environment().from_string("{{ x }}").render(x=text)) in figure
            for text in exhibit.method
        )
        assert (
            "pytest bench/ --benchmark-only" in figure
            and "python -m bench.report --input" in figure
        )
        assert f'<a href="{exhibit.table}">' in figure


def test_warnings_stand_beside_what_they_concern(page: str) -> None:
    link = r'numba-gd <a class="warning" href="#([^"]*)" title="1 of 5 rounds took over 1.5'
    (target,) = re.findall(link, page)
    assert f'<tr id="{target}">' in page
    for stem, there in (("seconds", 1), ("uses", 1), ("memory", 0), ("convergence_epochs", 0)):
        (figure,) = re.findall(rf'id="figure-{stem}">(.*?)</figure>', page, re.DOTALL)
        assert figure.count(f'<a href="#{target}">numba-gd</a>') == there
    assert "numba-sgd <a" not in page


def test_the_answer_and_the_ranking_come_first(page: str) -> None:
    body = page.split("<body>")[1]
    order = [
        body.index(text)
        for text in (
            "take",
            "<strong>numba-sgd</strong>",
            'class="snippet"',
            "<table",
            "<nav",
            'class="contenders"',
            "<figure",
        )
    ]
    assert order == sorted(order)
    mark = r'<span class="mark" style="color:#[0-9a-f]{6}" aria-hidden="true">[^<]+</span>'
    taken = rf'<span class="take">{mark}<strong>numba-sgd</strong>'
    assert len(re.findall(taken, body)) == 3  # one of each use


def test_contenders_look_in_the_legend_as_in_the_ranking(page: str, records: list[Record]) -> None:
    report = gather(records)
    for name, look in report.looks.items():
        mark = f'<span class="mark" style="color:{look.color}" aria-hidden="true">{look.glyph}'
        assert f'value="{name}">{mark}' in page
    (section,) = report.sections
    looks = [
        (report.looks[row[0]].color, report.looks[row[0]].glyph) for row in section.ranking.rows
    ]
    assert list(section.ranking.marks) == looks


def test_looks_come_from_the_records_where_they_are_known() -> None:
    def drawn(name: str, look: str, **changes: Any) -> Record:
        record = fake_record(name, **changes)
        record["backend"]["look"] = look
        return record

    older, newer = fake_record("numpy"), drawn("numpy", "grey o", case=OTHER)
    odd = drawn("x", '"><script>alert(1)</script>')
    records = [older, newer, odd, drawn("numba-gd", "orange ^")]
    looks = gather(records).looks
    assert looks["numpy"] == (GREY, "o") and looks["numba-gd"] == (ORANGE, "^")
    assert looks["x"].marker not in "o^"
    page = render_html(gather(records))
    assert f'<span class="mark" style="color:{GREY}" aria-hidden="true">●' in page
    assert "alert(1)" not in re.sub("<script>.*?</script>", "", page, flags=re.DOTALL)
    roofline = fake_roofline("numpy")
    roofline["backend"]["look"] = "grey o"
    assert gather([older, roofline]).looks == {"numpy": (GREY, "o")}


def test_only_a_watched_page_loads_itself_again(page: str, records: list[Record]) -> None:
    assert '<meta name="factorbench-reload"' not in page and 'id="pause"' not in page
    watched = render_html(gather(records), reload=2.5)
    assert '<meta name="factorbench-reload" content="2.5">' in watched and 'id="pause"' in watched


def test_without_scripts_it_says_where_pictures_and_tables_are(records: list[Record]) -> None:
    page = render_html(gather(records), {"seconds.png"})
    assert '<noscript><p>Without JavaScript: <a href="seconds.png">' in page.replace("\n", "")
    assert "the numbers are in memory.csv beside this file" in page


# ---- several cases ------------------------------------------------------------------------------


def test_an_overview_names_the_fastest_of_each_case() -> None:
    records = [fake_record("a", seconds=1), fake_record("b", seconds=2)]
    records += [fake_record("a", seconds=3, case=OTHER), fake_record("b", "missed", case=OTHER)]
    records += [fake_record("a", "missed", case={**OTHER, "name": "third"})]
    table = overview_table(group_cases(records))
    assert table.header[:4] == ["Case", "First fit", "New process", "In a loop"]
    assert [row[:4] + row[-1:] for row in table.rows] == [
        ["ml-100k-rank=16-seed=0", *["a (one start)"] * 2, "a (one seed)", "2 of 2"],
        ["other, 64 factors", "a", "a", "a", "1 of 2"],
        ["third", "none", "none", "none", "0 of 1"],
    ]
    assert table.header[4:7] == ["Seconds", "Times as fast (95 %)", "as the next"]
    assert table.rows[0][5:7] == ["2.0", "b"] and table.rows[1][5] == "\N{EN DASH}"


def test_cases_beyond_the_second_are_folded() -> None:
    records = [fake_record(case={"name": f"case {at}", "rank": at}) for at in range(1, 6)]
    page = render_html(gather(records))
    folds = re.findall(r'<details class="case" id="([^"]*)"[^>]*?( open)?>', page)
    assert [bool(opened) for _, opened in folds] == [True, True, False, False, False]
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))


@pytest.mark.draws
def test_a_large_report_stays_small(tmp_path: Path) -> None:
    records = many_records()
    assert len(records) == 240
    page = write_report(records, tmp_path)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert page.stat().st_size < 5_100_000
    assert sum(sizes.values()) < 11_000_000  # with the first figures as files and in the page
    assert sum(name.endswith(".png") for name in sizes) == MOST_PICTURES
    assert not [name for name in sizes if name.endswith(".svg")]
    stems = {chart["stem"] for chart in specs(page.read_text("utf-8"))}
    assert (
        len(stems) >= 12 * 6
        and len(
            {chart["spec"]["usermeta"]["factorbench"]["stem"] for chart in specs(page.read_text())}
        )
        >= 7
    )


@pytest.mark.draws
def test_pictures_are_drawn_in_the_formats_that_are_asked_for(
    records: list[Record], tmp_path: Path
) -> None:
    write_report(records, tmp_path, pdf=True)
    assert (tmp_path / "seconds.pdf").read_bytes().startswith(b"%PDF")
    write_report(records, tmp_path, pictures=1)
    assert sorted(
        path.name for path in tmp_path.glob("*.p*") if path.suffix in (".png", ".pdf")
    ) == ["uses.png"]
    assert not list(tmp_path.glob("*.svg")) and "](uses.png)" in (tmp_path / "report.md").read_text(
        "utf-8"
    )
    write_report(records, tmp_path, pictures=0)
    assert not list(tmp_path.glob("*.png"))


# ---- the list of contents -----------------------------------------------------------------------


def contents_case(**changes: Any) -> list[Record]:
    return [fake_record("a", **changes), fake_record("b", seconds=2, **changes)]


REPORTS: dict[str, list[Any]] = {
    "one case": contents_case(),
    "one case and a roofline": [*contents_case(), fake_roofline()],
    "many cases": [
        record
        for at in range(1, 16)
        for record in contents_case(case={"name": f"case {at}", "rank": at})
    ],
    "a roofline alone": [fake_roofline()],
    "rooflines of two cases": [fake_roofline(), fake_roofline(case=OTHER)],
    "one case and a check of a GPU": [*contents_case(), fake_gpu_check()],
    "a check of a GPU alone": [fake_gpu_check()],
    "two checks": [fake_gpu_check(), fake_gpu_check(device="another", created="2027")],
    "nothing published": contents_case(case=OTHER),
    "three seeds": many_records(backends=2, ranks=(16,), seeds=3)[:2],
    "nothing measured": [fake_record("a", "unavailable"), fake_record("b", "crashed")],
    "no target": contents_case(target=None, ladder=[]),
    "no tables": [fake_record("a", "unavailable", target=None, ladder=[])],
    "names like those of parts": [
        record
        for name in ("method", "environment", "main", "facts", "roofline")
        for record in contents_case(case={**OTHER, "name": name})
    ],
}


@pytest.mark.parametrize("records", REPORTS.values(), ids=REPORTS)
def test_every_link_of_the_page_leads_to_a_part_of_it(records: list[Any]) -> None:
    report = gather(records)
    page = Links()
    page.feed(re.sub("<script>.*?</script>", "", render_html(report), flags=re.DOTALL))
    assert len(page.ids) == len(set(page.ids))
    listed = [f"#{id_}" for id_, _ in report.contents]
    inside = [target for target in page.links if target.startswith("#")]
    assert set(listed) <= set(inside) and len(listed) == len(set(listed))
    assert {target[1:] for target in inside} <= set(page.ids)
    assert [title for _, title in report.contents[-2:]] == ["Method", "Environment"]
    assert all(title.strip() for _, title in report.contents)


def test_the_contents_list_what_there_is() -> None:
    def listed(name: str) -> list[str]:
        return [title for _, title in gather(REPORTS[name]).contents[:-2]]

    parts = ["Figures", "More figures", "Data and objective", "Tables"]
    assert listed("one case") == [*parts, "Published figures"]
    assert listed("nothing published") == parts
    (roofline,) = listed("a roofline alone")
    assert listed("one case and a roofline") == [*parts, "Published figures", roofline]
    (check,) = listed("a check of a GPU alone")
    assert listed("one case and a check of a GPU") == [*parts, "Published figures", check]
    assert check == "Check of a GPU: NVIDIA H200"
    assert "Tables" not in listed("no tables") and "Data and objective" in listed("no tables")
    many = listed("many cases")
    assert many[0] == "Over all cases" and len(many) == 1 + 12  # the overview lists all of them


def test_what_is_not_available_is_one_folded_line_and_no_row() -> None:
    records = [*contents_case(), fake_record("torch-cuda", "unavailable", reason="needs a GPU")]
    (section,) = gather(records).sections
    assert [row[0] for row in section.ranking.rows] == ["a", "b"]
    page = render_html(gather(records))
    assert "<summary>Not available here: torch-cuda</summary>" in page
    assert "<li>torch-cuda: needs a GPU</li>" in page
    assert "Not available here" not in render_html(gather(contents_case()))


def test_two_figures_are_open_and_the_rest_is_folded(page: str) -> None:
    body = page.split("<main")[1]
    before, _, after = body.partition('<details class="fold"')
    assert before.count('<figure class="chart"') == 2 and '<figure class="chart"' in after
    assert "<table" not in before  # every further table is folded
    assert not re.search(r'<details class="fold"[^>]* open', page)


def test_columns_beyond_the_first_few_are_marked_and_what_to_take_stands_out(page: str) -> None:
    table = re.findall(r"<table.*?</table>", page, re.DOTALL)[0]
    assert '<table data-tools="filter copy more" class="few">' in table
    header = re.findall(r'<th scope="col"\s+class="([^"]*)">([^<]*)', table)
    assert [name for kind, name in header if "more" not in kind] == [
        *("Backend", "First fit, s", "New process, s", "In a loop, s"),
        *("Test RMSE", "NDCG@10", "Memory, MB"),
    ]
    (row,) = re.findall(r"<tr.*?</tr>", table.split("<tbody>")[1], re.DOTALL)[:1]
    assert len(re.findall(r'<t[dh][^>]*"[nt] more"', row)) == len(header) - 7
    assert re.findall(r"<strong>([^<]*)</strong>", row)[-1] == "0.10"
    assert len(re.findall("<strong>", table)) == 3


def test_a_source_is_shown_by_its_host(records: list[Record]) -> None:
    page = render_html(gather(records))
    assert re.search(
        r'<a href="https://[^"]+/[^"]+" rel="noreferrer">[a-z0-9.-]+\.[a-z]+</a>', page
    )
    hosts = [host("https://www.example.org:80/a/b?c"), host("https://arxiv.org/x"), host("https:")]
    assert hosts == ["example.org", "arxiv.org", "https:"]


# ---- small things -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("0.0526", "0.0526"),
        ("> 1,234 s", "1234"),
        ("65 to 67", "65"),
        ("+0.70 %", "0.70"),
        ("-0.2 %", "-0.2"),
        ("5.2 (5.1 to 5.3)", "5.2"),
        ("1e-7", "1e-7"),
        ("\N{EN DASH}", ""),
        ("none", ""),
        ("", ""),
    ],
)
def test_cells_are_sorted_by_the_number_they_begin_with(cell: str, value: str) -> None:
    assert sortable(cell) == value


def test_only_addresses_of_the_web_become_links() -> None:
    macro = template_environment().from_string(
        '{% from "macros.html" import table %}{{ table(one) }}'
    )
    cells = ["https://example.org/?a=1&b=2", "javascript:alert(1)", 'https://x/" onclick="alert(1)']
    made = macro.render(one=Table("c", ["a", *["Source"] * 3], [["x", *cells]]))
    assert '<a href="https://example.org/?a=1&amp;b=2" rel="noreferrer">' in made
    assert 'href="javascript' not in made and 'onclick="alert' not in made


def test_markdown_is_escaped_on_one_line() -> None:
    assert escape("a|b\n# c <i> [x](y) `z`") == r"a\|b \# c &lt;i&gt; \[x\](y) \`z\`"
