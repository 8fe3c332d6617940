"""How close to the machine's limit: records of rooflines by case and run, with their tables, figure and text."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from bench.records import EpochCost, RooflineRecord

from .measured import Table
from .page import glyph
from .style import INK, MUTED, Picture, empty, key, legend, plain, render_figure, style
from .verdict import DASH, number, one_line, words

HEADING = "How close to the machine's limit"
METHOD = (
    "The machine's limits are measured in the same run by small kernels, each the best of many short runs: the bytes "
    "per second of adding up an array far beyond the last cache; float32 multiply-adds per second on values that stay "
    "in the nearest cache; and the dependency chain, the time from one rating of a row to its next (dot product, "
    "error, update of the row, dot product) on rows in the nearest cache, of a plain loop as LLVM compiles it. Each is "
    "measured with as many threads as the solver had. Bytes written count like bytes read.",
    "Each backend is fitted for some epochs with nothing evaluated. Nanoseconds are those of the median epoch after "
    "the first, over the number of training ratings; CPU-ns add up what all its threads ran. Where ns by the clock, "
    "times the threads, are far more than CPU-ns, threads waited or the machine was busy with something else.",
    "A limit is the work of an epoch, counted by hand for the algorithm and not for the code, over what the machine "
    "can do. Memory and arithmetic bind any kernel, and the larger of the two counts. The chain counts beside them "
    "where the next rating of a row has to wait for the update of the last: its latency, over the threads and over the "
    "independent rows that each of them updates in turn.",
    "The share is the limit that binds over the measured time; the CPU share is the same for the time that the "
    "threads ran, free of waiting and of other load. Over 100 % the model has counted what the kernel was "
    "spared, such as rows that the caches held after all, or the machine was slower when its limits were measured.",
)
_Limit = Literal["memory_ns", "arithmetic_ns", "chain_ns"]
_LIMITS: tuple[tuple[_Limit, str, Any], ...] = (
    ("memory_ns", "memory limit", (0, (1, 1.5))),
    ("arithmetic_ns", "arithmetic limit", (0, (5, 2))),
    ("chain_ns", "dependency chain", (0, (5, 2, 1, 2))),
)


@dataclass(frozen=True)
class Roofline:
    """The rooflines of one case in one run: limits and data are the same in all of them."""

    title: str
    slug: str
    records: list[RooflineRecord]  # one per backend, by name
    superseded: int = field(default=0)  # older records of a backend that is here with a newer one

    @property
    def costs(self) -> list[tuple[RooflineRecord, EpochCost]]:
        """All that was measured, in the order in which it is shown."""
        return [(record, cost) for record in self.records for cost in record["costs"]]


class RooflineSection(NamedTuple):
    """All that the page shows of one roofline."""

    roofline: Roofline
    heading: str
    sentence: str
    facts: list[tuple[str, str]]
    costs: Table
    limits: Table
    stem: str
    picture: Picture
    method: list[str]


def group_rooflines(records: list[RooflineRecord]) -> list[Roofline]:
    """Sort records by case, run and limits; of several records of one backend the newest is shown."""
    groups: dict[str, list[RooflineRecord]] = {}
    for record in sorted(records, key=lambda record: record["created"]):
        same = [record["case"]["name"], record["run"], record["case"], record["limits"]]
        groups.setdefault(json.dumps(same, sort_keys=True), []).append(record)
    rooflines: list[Roofline] = []
    for number_, name in enumerate(sorted(groups), 1):
        newest = {record["backend"]["name"]: record for record in groups[name]}
        facts = groups[name][-1]["case"]
        title = f"{facts['dataset']}, seed {facts['seed']}" + (f" ({number_})" if len(groups) > 1 else "")
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", title).strip("-.").lower()[:60] or f"roofline-{number_}"
        shown = [newest[backend] for backend in sorted(newest)]
        rooflines.append(Roofline(title, slug, shown, len(groups[name]) - len(newest)))
    return rooflines


def make_roofline_section(roofline: Roofline, alone: bool) -> RooflineSection:
    """Gather what the page shows of one roofline; ``alone``: there is no other, so names need not tell them apart."""
    facts = roofline.records[-1]["case"]
    rows = [
        (
            "Data",
            f"{facts['dataset']}: {facts['n_users']:,} users, {facts['n_items']:,} items, {facts['n_train']:,} "
            f"training ratings; seed {facts['seed']}",
        ),
        ("Last-level cache", f"{number(max(record['cache_mb'] for record in roofline.records))} MB"),
        ("Precision", words(sorted({record["backend"]["dtype"] for record in roofline.records}))),
    ]
    if roofline.superseded:
        rows.append(("Not shown", f"{roofline.superseded} older records of backends that have a newer one here"))
    assumed = dict.fromkeys(text for record in roofline.records for text in record["assumptions"])
    return RooflineSection(
        roofline,
        HEADING if alone else f"{HEADING}: {roofline.title}",
        sentence(roofline),
        rows,
        _costs_table(roofline),
        _limits_table(roofline),
        "roofline" if alone else f"roofline--{roofline.slug}",
        _draw(roofline),
        [*METHOD, *assumed],
    )


def sentence(roofline: Roofline) -> str:
    """Say how close each backend comes at best, and what was not measured, on one line fit for a terminal."""
    best: dict[str, EpochCost] = {}
    for record, cost in roofline.costs:
        name = record["backend"]["name"]
        if name not in best or cost["share"] > best[name]["share"]:
            best[name] = cost
    ranked = sorted(best.items(), key=lambda one: -one[1]["share"])
    parts = [
        f"{name} {_percent(cost['share'])} ({cost['bound']}; rank {cost['rank']}, {_threads(cost['threads'])})"
        for name, cost in ranked
    ]
    failed = [
        f"{record['backend']['name']} ({_why(record)})" for record in roofline.records if record["status"] != "measured"
    ]
    line = f"{roofline.title}: share of the limit that binds, at best: {words(parts)}" if parts else roofline.title
    line += f"; not measured: {'; '.join(failed)}" * bool(failed) + "."
    return one_line(line)


def _costs_table(roofline: Roofline) -> Table:
    header = ["Rank", "Backend", "Threads", "ns per rating", "CPU-ns per rating", "Memory ns", "Arithmetic ns"]
    header += ["Chain ns", "Bound", "Share", "CPU share", "Note"]
    rows: list[list[str]] = []
    marks: list[tuple[str, str]] = []
    for record in roofline.records:
        name = record["backend"]["name"]
        for cost in record["costs"]:
            row = [str(cost["rank"]), name, str(cost["threads"]), number(cost["ns"]), number(cost["cpu_ns"])]
            row += [number(cost["memory_ns"]), number(cost["arithmetic_ns"]), number(cost["chain_ns"])]
            rows.append([*row, cost["bound"], _percent(cost["share"]), _percent(cost["cpu_share"]), _note(cost)])
        if record["status"] != "measured":
            rows.append([DASH, name, *[DASH] * 9, _why(record)])
        marks += [(style(name)[0], glyph(name))] * (len(rows) - len(marks))
    caption = (
        "What an epoch costs, per training rating, beside what each limit allows. Share: the limit that binds over the "
        "measured ns."
    )
    return Table(caption, header, rows, frozenset({0, *range(2, 8), 9, 10}), tuple(marks))


def _limits_table(roofline: Roofline) -> Table:
    limits = roofline.records[-1]["limits"]
    ranks = sorted({one["rank"] for limit in limits for one in limit["chain"]})
    header = ["Threads", "Memory read GB/s", "Multiply-adds GFLOP/s", *[f"Chain ns, rank {rank}" for rank in ranks]]
    rows = []
    for limit in limits:
        chain = {one["rank"]: one["ns"] for one in limit["chain"]}
        row = [str(limit["threads"]), number(limit["memory_gb_per_s"]), number(limit["gflop_per_s"])]
        rows.append([*row, *[number(chain.get(rank)) for rank in ranks]])
    caption = "The machine's limits, of all threads together; the chain's of each. A multiply-add counts as two."
    return Table(caption, header, rows, frozenset(range(len(header))))


def _draw(roofline: Roofline) -> Picture:
    rows = len({cost["threads"] for _, cost in roofline.costs}) or 1
    most = max((cost["threads"] for _, cost in roofline.costs), default=1)
    said = "; ".join(
        f"{record['backend']['name']} rank {cost['rank']}: {number(cost['ns'])} ns, limit {number(cost['limit_ns'])} ns"
        for record, cost in roofline.costs
        if cost["threads"] == most
    )
    texts = (
        "Nanoseconds per rating and epoch, by the clock, over the rank; lines without markers are what each limit "
        "allows at best.",
        f"Measured on {_threads(most)}, and the limit that binds: {said or 'nothing was measured'}.",
    )
    draw = partial(_panels, roofline=roofline)
    title = f"{plain(roofline.title, 42)}, {roofline.records[-1]['case']['n_train']:,} training ratings"
    return render_figure("roofline", draw, 1.0 + 2.1 * rows, title, texts)


def _panels(figure: Figure, roofline: Roofline) -> None:
    """Draw one panel per number of threads, downwards, and work model, sideways, on the same axes."""
    threads = sorted({cost["threads"] for _, cost in roofline.costs})
    models = list(dict.fromkeys(record["work_model"] for record, _ in roofline.costs))
    if not threads:
        empty(figure.add_subplot(), "no epoch was measured")
        return
    grid = figure.subplots(len(threads), len(models), sharex=True, sharey=True, squeeze=False)
    for row, count in enumerate(threads):
        for column, model in enumerate(models):
            axes = grid[row, column]
            _panel(axes, roofline, model, count)
            if row == len(threads) - 1:
                axes.set_xlabel("rank (log scale)")
            if column == 0:
                axes.set_ylabel("ns per rating\nand epoch (log scale)")
    names = [record["backend"]["name"] for record in roofline.records if record["costs"]]
    items = [(plain(name), key(*style(name), "-")) for name in names]
    drawn = {column for _, cost in roofline.costs for column, _, _ in _LIMITS if cost[column] is not None}
    items += [(label, key(INK, "", dashes)) for column, label, dashes in _LIMITS if column in drawn]
    legend(grid[0, 0], items)


def _panel(axes: Axes, roofline: Roofline, model: str, threads: int) -> None:
    costs = [(r, cost) for r, cost in roofline.costs if (r["work_model"], cost["threads"]) == (model, threads)]
    ranks = sorted({cost["rank"] for _, cost in roofline.costs})
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(ranks[0] / 1.25, ranks[-1] * 1.25)
    for column, _, dashes in _LIMITS:
        line = {float(cost["rank"]): ns for _, cost in costs if (ns := cost[column]) is not None}
        x = sorted(line)
        y = [line[rank] for rank in x]
        if len(x) == 1:  # a point would not be seen
            x, y = [x[0] * 0.8, x[0] * 1.25], y * 2
        axes.plot(x, y, color=INK, ls=dashes, lw=1.1, zorder=1.5)
    for record in roofline.records:
        line = {float(cost["rank"]): cost["ns"] for one, cost in costs if one is record}
        color, marker = style(record["backend"]["name"])
        x = sorted(line)
        axes.plot(x, [line[rank] for rank in x], color=color, marker=marker, markersize=5, lw=1.4, mew=0)
    axes.set_title(f"{plain(model, 22)}, {_threads(threads)}", fontsize=8.5, loc="left", color=MUTED)
    axes.xaxis.set_major_locator(FixedLocator(ranks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_locator(LogLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.9g}"))


def _note(cost: EpochCost) -> str:
    if max(cost["share"], cost["cpu_share"]) > 1:
        return "over 100 %: it was spared work that the model counts, or the limits were measured on a slower machine"
    if cost["chain_ns"] is not None and cost["cpu_ns"] < cost["chain_ns"] * cost["threads"]:
        return "under the chain: it has more rows under way, or a shorter chain than the plain loop measured"
    return ""


def _why(record: RooflineRecord) -> str:
    reason = " ".join(record["reason"].split()).rstrip(".")
    return f"{record['status']}: {reason}" if reason else record["status"]


def _threads(count: int) -> str:
    return f"{count} thread" if count == 1 else f"{count} threads"


def _percent(share: float) -> str:
    return f"{number(100 * share, 2)} %"
