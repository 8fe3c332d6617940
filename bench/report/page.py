"""The page: what the report says, case by case, as plain data, and its rendering to HTML and to Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2

from .measured import Table, extent, measured_tables, seconds_or_more
from .ranking import Case, Entry
from .style import THEME, Picture, inline_svg, style
from .verdict import DASH, TIMES, headline, left_out, mse, number, words

if TYPE_CHECKING:
    from bench.records import AnyRecord

    from .roofline import RooflineSection

METHOD = (
    "Each backend is calibrated first, untimed: validation MSE is evaluated after each epoch, and the first epoch at "
    "or under the target fixes the number of epochs.",
    "Then exactly that number of epochs is timed, with nothing evaluated inside, in several rounds. The clock runs "
    "from ratings in random order to the model on the host: sorting, copying to the device, the epochs, copying back. "
    "Import, compilation and the draw of the start, which all share, are outside.",
    "Each round is gated: the suite itself computes the validation MSE of the model it left, and a round over the "
    "target takes the backend out of the ranking.",
    "Each backend is fitted with several seeds, each calibrated and timed in a process of its own, and is ranked only "
    "where all of them match. Figures are medians over seeds of the medians over their rounds. Intervals are bootstrap "
    "95 % intervals of the ratio of these figures: seeds are resampled, and rounds within them. Where one contains 1, "
    "no difference is claimed. It takes in what differs between rounds, processes and starts (with one seed: between "
    "rounds), and is too narrow where processes differ by more than rounds do: three seeds then give about 80 %. "
    "Unless backends took turns (python -m bench.duel), it does not cover how the machine's speed changes from one "
    "minute to another.",
    "One budget of threads holds for every library. It is read back after each fit; CPU-seconds, threads that run at "
    "once and threads that stay behind are counted, and a backend that exceeds the budget is not ranked.",
    "Cold starts are fits in fresh processes, first with empty caches of compiled kernels, then with filled ones; the "
    "system's cache of files stays warm. Memory is of a fit of its own, watched from outside.",
    "A backend that is given up for time has a time that is longer than that: it is shown as > seconds.",
    "The target is chosen, and the number of epochs fixed, on the validation set; the test set is reported beside it.",
)
_GLYPHS = dict(zip("osD^dvPX<>ph*", "●■◆▲♦▼✚✖◀▶⬟⬢★", strict=True))


class Section(NamedTuple):
    """All that the page shows of one case."""

    case: Case
    headline: str
    left_out: str
    facts: list[tuple[str, str]]
    tables: list[Table]
    pictures: list[tuple[str, Picture]]  # file stem, and the figure


def make_section(case: Case, pictures: list[tuple[str, Picture]]) -> Section:
    """Gather what the page shows of one case."""
    tables = [_ranking(case), *measured_tables(case)]
    return Section(case, headline(case), left_out(case), _facts(case), tables, pictures)


def glyph(name: str) -> str:
    """Return the letter that looks like a backend's marker."""
    return _GLYPHS[style(name)[1]] + "\N{VARIATION SELECTOR-15}"


def template_environment(*packages: str) -> jinja2.Environment:
    """Return the settings of all pages: text is escaped, templates come from ``packages`` and from this one."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name, "") for name in (*packages, __package__)]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["inline"] = inline_svg
    return environment


def render_html(
    sections: list[Section], rooflines: Sequence[RooflineSection] = (), profile: Picture | None = None
) -> str:
    """Render the page: one file that loads nothing; all text escaped."""
    template = template_environment().get_template("template.html")
    return (
        template.render(sections=sections, rooflines=rooflines, profile=profile, **_common(sections, rooflines)) + "\n"
    )


def render_markdown(
    sections: list[Section], rooflines: Sequence[RooflineSection] = (), profile: Picture | None = None
) -> str:
    """Render the same as Markdown, with the figures beside it."""
    common = _common(sections, rooflines)
    lines = ["# factorbench report", "", _md(common["source"]), "", "## Verdict", ""]
    lines += [f"- {_md('; '.join(filter(None, [one.headline, one.left_out])))}." for one in sections]
    lines += [f"- {_md(one.sentence)}" for one in rooflines]
    if profile:
        lines += ["", "## Over all cases", *_md_picture("profile", profile)]
    for section in sections:
        lines += ["", f"## {_md(section.case.title)}", ""]
        lines += [f"- **{_md(name)}**: {_md(text)}" for name, text in section.facts]
        for table in section.tables[:1]:
            lines += _md_table(table)
        for stem, picture in section.pictures:
            lines += _md_picture(stem, picture)
        for table in section.tables[1:]:
            lines += _md_table(table)
    for one in rooflines:
        lines += ["", f"## {_md(one.heading)}", ""]
        lines += [f"- **{_md(name)}**: {_md(text)}" for name, text in one.facts]
        lines += [*_md_table(one.costs), *_md_picture(one.stem, one.picture), *_md_table(one.limits)]
        lines += ["", "### How this was made", "", *[f"- {_md(text)}" for text in one.method]]
    if sections:
        lines += ["", "## How the numbers were made", "", *[f"- {text}" for text in METHOD]]
    commands = "\n".join(common["commands"])
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", commands)), 3)
    lines += ["", "## To reproduce it", "", f"{fence}sh", commands, fence, "", "## Environment"]
    for table in common["environment"]:
        lines += _md_table(table)
    return "\n".join(lines) + "\n"


def _common(sections: list[Section], rooflines: Sequence[RooflineSection]) -> dict[str, Any]:
    """Return what is said once for all cases."""
    fits: list[tuple[str, AnyRecord]] = [
        (section.case.title, record) for section in sections for record in section.case.records
    ]
    fits += [(one.heading, record) for one in rooflines for record in one.roofline.records]
    records = [record for _, record in fits]
    runs = sorted({record["run"] for record in records})
    source = f"{len(records)} records of {len(runs)} {'run' if len(runs) == 1 else 'runs'}, the newest of "
    return {
        "subject": "seconds to a matching MSE" if sections else "how close to the machine's limit",
        "source": source + max(record["created"] for record in records),
        "commands": sorted({record["command"] for record in records}),
        "environment": _environments(fits),
        "method": METHOD,
        "theme": THEME,
    }


def _facts(case: Case) -> list[tuple[str, str]]:
    facts, reference = case.facts["case"], case.facts["reference"]
    total = sum(facts[part] for part in ("n_train", "n_validation", "n_test"))
    bias = "with biases" if facts["bias"] else "without biases"
    rows = [
        ("Data", f"{facts['dataset']}: {facts['n_users']:,} users, {facts['n_items']:,} items, {total:,} ratings"),
        (
            "Split",
            f"{facts['split']}: {facts['n_train']:,} training, {facts['n_validation']:,} validation, "
            f"{facts['n_test']:,} test; seed {facts['seed']}",
        ),
        ("Left out", facts["dropped"]),
        ("Objective", f"rank {facts['rank']}, {bias}, reg {facts['reg']:g} ({facts['reg_scaling']})"),
        ("Precision", f"{words(sorted({r['backend']['dtype'] for r in case.records}))}, in all backends"),
        (
            "Reference",
            f"validation MSE {mse(reference['validation_mse'])}, test MSE {mse(reference['test_mse'])}: float64 ALS at "
            f"convergence, median of {reference['seeds']} seeds that lie {number(reference['spread'], 2)} apart",
        ),
    ]
    environment = case.facts["environment"]
    machine = [environment.get("cpu"), f"{environment['cores']} cores" if "cores" in environment else None]
    rows.insert(0, ("Machine", ", ".join(str(one) for one in machine if one)))
    target = case.facts["target"]
    factor = f" (reference {TIMES} {target['factor']:g})" if target else "none: the matching rung was dropped"
    rows.append(("Target", f"validation MSE {mse(target['mse'])}{factor}" if target else factor))
    for name, score in case.facts["baselines"].items():
        tuned = f", reg {score['reg']:g}" if score["reg"] is not None else ""
        text = f"validation MSE {mse(score['validation_mse'])}, test MSE {mse(score['test_mse'])}{tuned}"
        rows.append((f"Baseline {name}", text))
    if case.superseded:
        rows.append(("Not shown", f"{case.superseded} older records of backends that have a newer one here"))
    return [row for row in rows if row[1]]


def _ranking(case: Case) -> Table:
    header = ["Rank", "Backend", "Algorithm", "Device", "Threads", "Epochs", "Median s", "Min to max s", "Speed-up"]
    header += ["Validation MSE", "Test MSE", "Gap in J", "Peak MB", "Status"]
    base = f"Speed-up is over {case.yardstick.name}" if case.yardstick else ""
    note = f"{base}, {case.yardstick_note}." if case.yardstick_note else f"{base}." if base else ""
    caption = f"By median seconds to the matching validation MSE. {note} Gap in J: the objective over the reference's."
    rows = [_ranking_row(case, entry) for entry in case.entries]
    marks = tuple((style(entry.name)[0], glyph(entry.name)) for entry in case.entries)
    return Table(caption, header, rows, frozenset({0, *range(4, 13)}), marks)


def _ranking_row(case: Case, entry: Entry) -> list[str]:
    record, backend = entry.record, entry.record["backend"]
    ranked, memory = not entry.why, record["memory"]
    return [
        str(case.ranked.index(entry) + 1) if ranked else DASH,
        entry.name,
        backend["algorithm"],
        backend["device"],
        str(backend["threads"]),
        extent([str(one) for one in entry.epochs]) if entry.epochs else DASH,
        seconds_or_more(entry),
        f"{number(min(entry.seconds))} to {number(max(entry.seconds))}" if ranked else DASH,
        number(case.speedups[entry.name].value) if ranked else DASH,
        mse(entry.score("validation_mse")),
        mse(entry.score("test_mse")),
        _gap(entry),
        DASH if memory is None or memory["peak_mb"] is None else f"{memory['peak_mb']:,.0f}",
        entry.why or ("matched, with doubts" if entry.warnings else "matched"),
    ]


def _gap(entry: Entry) -> str:
    """Return how far the objective lies over the reference's, for solvers that claim to minimise it."""
    objective, reference = entry.score("objective"), entry.record["reference"]["objective"]
    if not entry.record["backend"]["minimises"] or objective is None or not reference:
        return DASH
    return f"{100 * (objective / reference - 1):+.2f} %"


def _environments(records: list[tuple[str, AnyRecord]]) -> list[Table]:
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


def _md_table(table: Table) -> list[str]:
    rule = ["--:" if i in table.numeric else "---" for i in range(len(table.header))]
    lines = [[_md(cell) for cell in row] for row in [table.header, *table.rows]]
    text = [f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]]]
    return ["", f"**{_md(table.caption)}**", "", *text]


def _md_picture(stem: str, picture: Picture) -> list[str]:
    return ["", f"![{_md(picture.alt)}]({stem}.svg)", "", f"*{_md(picture.caption)}*"]


def _md(text: str) -> str:
    """Escape text for Markdown, on one line."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|$~])", r"\\\1", line)
