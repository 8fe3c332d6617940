"""How close to the machine's limit: the tables and the text of a roofline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bench.records import EpochCost, RooflineRecord
from bench.report.figures import Look
from bench.report.outcome.rooflines import Roofline
from bench.text.wording import DASH, number, one_line, plural, words

from .table import Table

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


class RooflineSection(NamedTuple):
    """All that the page shows of one roofline."""

    roofline: Roofline
    heading: str
    sentence: str
    facts: list[tuple[str, str]]
    costs: Table
    limits: Table
    stem: str
    method: list[str]


def make_roofline_section(roofline: Roofline, looks: Mapping[str, Look], alone: bool) -> RooflineSection:
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
        _costs_table(roofline, looks),
        _limits_table(roofline),
        "roofline" if alone else f"roofline--{roofline.slug}",
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
        f"{name} {_percent(cost['share'])} ({cost['bound']}; rank {cost['rank']}, {plural(cost['threads'], 'thread')})"
        for name, cost in ranked
    ]
    failed = [
        f"{record['backend']['name']} ({_why(record)})" for record in roofline.records if record["status"] != "measured"
    ]
    line = f"{roofline.title}: share of the limit that binds, at best: {words(parts)}" if parts else roofline.title
    if failed:
        line += f"; not measured: {'; '.join(failed)}"
    return one_line(f"{line}.")


def _costs_table(roofline: Roofline, looks: Mapping[str, Look]) -> Table:
    header = ["Rank", "Backend", "Threads", "ns per rating", "CPU-ns per rating", "Memory ns", "Arithmetic ns"]
    header += ["Chain ns", "Bound", "Share", "CPU share", "Note"]
    rows: list[list[str]] = []
    for record in roofline.records:
        name = record["backend"]["name"]
        for cost in record["costs"]:
            row = [str(cost["rank"]), name, str(cost["threads"]), number(cost["ns"]), number(cost["cpu_ns"])]
            row += [number(cost["memory_ns"]), number(cost["arithmetic_ns"]), number(cost["chain_ns"])]
            rows.append([*row, cost["bound"], _percent(cost["share"]), _percent(cost["cpu_share"]), _note(cost)])
        if record["status"] != "measured":
            rows.append([DASH, name, *[DASH] * 9, _why(record)])
    marks = tuple((looks[row[1]].color, looks[row[1]].glyph) for row in rows)
    caption = (
        "What an epoch costs, per training rating, beside what each limit allows. Share: the limit that binds over the "
        "measured ns."
    )
    return Table(caption, header, rows, frozenset({0, *range(2, 8), 9, 10}), marks)


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


def _note(cost: EpochCost) -> str:
    if max(cost["share"], cost["cpu_share"]) > 1:
        return "over 100 %: it was spared work that the model counts, or the limits were measured on a slower machine"
    if cost["chain_ns"] is not None and cost["cpu_ns"] < cost["chain_ns"] * cost["threads"]:
        return "under the chain: it has more rows under way, or a shorter chain than the plain loop measured"
    return ""


def _why(record: RooflineRecord) -> str:
    reason = " ".join(record["reason"].split()).rstrip(".")
    return f"{record['status']}: {reason}" if reason else record["status"]


def _percent(share: float) -> str:
    return f"{number(100 * share, 2)} %"
