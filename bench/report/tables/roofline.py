"""The tables and texts of a roofline: how close an epoch comes to the machine's limits."""

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
    "The machine's limits are measured in the same run by small kernels, each the best of many "
    "short runs. Memory: bytes per second when adding up an array much larger than the last-level "
    "cache. Arithmetic: float32 multiply-adds per second on values that stay in the nearest cache. "
    "Dependency chain: the time from one rating of a row to its next (dot product, error, update "
    "of the row, dot product) on rows in the nearest cache, in a plain loop as LLVM compiles it. "
    "Each is measured with as many threads as the solver had. Bytes written count as much as bytes "
    "read.",
    "Each backend is fitted for several epochs without evaluation. Nanoseconds are those of the "
    "median epoch after the first, divided by the number of training ratings; CPU-ns are the sum "
    "over all threads. If ns by the clock times the number of threads far exceed the CPU-ns, "
    "threads waited or the machine was busy with something else.",
    "A limit is the work of an epoch divided by what the machine can do. The work is counted by "
    "hand for the algorithm, not for its code. Memory and arithmetic bound every kernel, and the "
    "larger of the two counts. The chain counts as well if the next rating of a row has to wait "
    "for the update of the last: its latency, divided by the threads and by the independent rows "
    "that each of them updates alternately.",
    "The share is the limit that binds divided by the measured time. The CPU share is the same "
    "for the time in which threads ran, without waiting and other load. A share above 100 % means "
    "that the kernel did not do all the work that the model counts, for example because rows "
    "stayed in the caches, or that the machine was slower when its limits were measured.",
)


ON_A_DEVICE = (
    "Limits of a GPU, in the same run. Memory: bytes per second when adding up or copying an array "
    "of a gigabyte, whichever is faster. Arithmetic: float32 operations per second in a product of "
    "two square matrices. The cache is that which all its processors share. They do not depend on "
    "the host's threads, and the host's CPU-ns say nothing of the work, so these are left out."
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


def make_roofline_section(
    roofline: Roofline, looks: Mapping[str, Look], alone: bool
) -> RooflineSection:
    """Return what the page shows of one roofline.

    Parameters
    ----------
    alone
        Whether it is the only roofline, so that its heading and files need no distinction.
    """
    assumptions = [text for record in roofline.records for text in record["assumptions"]]
    on_device = {record["backend"]["device"] for record, _ in roofline.costs} - {"cpu"}
    texts = [*METHOD, ON_A_DEVICE] if on_device else METHOD
    return RooflineSection(
        roofline=roofline,
        heading=HEADING if alone else f"{HEADING}: {roofline.title}",
        sentence=sentence(roofline),
        facts=_facts(roofline),
        costs=_costs_table(roofline, looks),
        limits=_limits_table(roofline),
        stem="roofline" if alone else f"roofline--{roofline.slug}",
        method=[*texts, *dict.fromkeys(assumptions)],
    )


def sentence(roofline: Roofline) -> str:
    """Return the best share of each backend and what was not measured, on one line."""
    best: dict[str, EpochCost] = {}
    for record, cost in roofline.costs:
        name = record["backend"]["name"]
        if name not in best or cost["share"] > best[name]["share"]:
            best[name] = cost
    shares = []
    for name, cost in sorted(best.items(), key=lambda item: -item[1]["share"]):
        size = f"{plural(cost['rank'], 'factor')}, {plural(cost['threads'], 'thread')}"
        shares.append(f"{name} {_percent(cost['share'])} ({cost['bound']}; {size})")
    failed = [
        f"{record['backend']['name']} ({_why(record)})"
        for record in roofline.records
        if record["status"] != "measured"
    ]
    line = roofline.title
    if shares:
        line += f": share of the limit that binds, at best: {words(shares)}"
    if failed:
        line += f"; not measured: {'; '.join(failed)}"
    if roofline.missing:
        line += f"; {roofline.missing.text}"
    return one_line(f"{line}.")


def _facts(roofline: Roofline) -> list[tuple[str, str]]:
    facts = roofline.records[-1]["case"]
    data = (
        f"{facts['dataset']}: {facts['n_users']:,} users, {facts['n_items']:,} items, "
        f"{facts['n_train']:,} training ratings; seed {facts['seed']}"
    )
    cache_mb = max(record["cache_mb"] for record in roofline.records)
    rows = [
        ("Data", data),
        ("Last-level cache", f"{number(cache_mb)} MB"),
        ("Precision", words(sorted({record["backend"]["dtype"] for record in roofline.records}))),
    ]
    if roofline.superseded:
        text = f"{roofline.superseded} older records of backends that have a newer one here"
        rows.append(("Not shown", text))
    return rows


def _costs_table(roofline: Roofline, looks: Mapping[str, Look]) -> Table:
    header = ["Backend", "Factors", "Threads", "ns per rating", "Bound", "Share"]
    header += ["CPU-ns per rating", "Memory ns", "Arithmetic ns", "Chain ns", "CPU share", "Note"]
    rows: list[list[str]] = []
    for record in roofline.records:
        name = record["backend"]["name"]
        for cost in record["costs"]:
            row = [name, str(cost["rank"]), str(cost["threads"]), number(cost["ns"])]
            row += [cost["bound"], _percent(cost["share"])]
            # 0: of a device, or the system's clock was too coarse to count it.
            cpu_share = _percent(cost["cpu_share"]) if cost["cpu_ns"] else DASH
            row += [number(cost["cpu_ns"] or None)]
            row += [number(cost["memory_ns"]), number(cost["arithmetic_ns"])]
            row += [number(cost["chain_ns"]), cpu_share, _note(cost)]
            rows.append(row)
        if record["status"] != "measured":
            dashes = [DASH] * (len(header) - 2)
            rows.append([name, *dashes, _why(record)])
    marks = tuple((looks[row[0]].color, looks[row[0]].glyph) for row in rows)
    caption = (
        "The cost of an epoch per training rating, beside the least that each limit allows. "
        "Share: the limit that binds divided by the measured ns."
    )
    numeric, more = frozenset({1, 2, 3, 5, *range(6, 11)}), frozenset(range(6, len(header)))
    return Table(caption, header, rows, numeric, marks, more=more, title="Costs of an epoch")


def _limits_table(roofline: Roofline) -> Table:
    limits = roofline.records[-1]["limits"]
    ranks = sorted({latency["rank"] for limit in limits for latency in limit["chain"]})
    header = ["Threads", "Memory read GB/s", "Multiply-adds GFLOP/s"]
    header += [f"Chain ns, {plural(rank, 'factor')}" for rank in ranks]
    rows = []
    for limit in limits:
        chain = {latency["rank"]: latency["ns"] for latency in limit["chain"]}
        row = [str(limit["threads"]), number(limit["memory_gb_per_s"])]
        row.append(number(limit["gflop_per_s"]))
        rows.append([*row, *[number(chain.get(rank)) for rank in ranks]])
    caption = (
        "The limits of the machine, or of the device: memory and arithmetic in all threads "
        "together, and the time of a step of the chain in each of them, while all run. A "
        "multiply-add counts as two operations."
    )
    numeric = frozenset(range(len(header)))
    return Table(caption, header, rows, numeric, title="The machine's limits")


def _note(cost: EpochCost) -> str:
    if max(cost["share"], cost["cpu_share"]) > 1:
        return (
            "over 100 %: it did less work than the model counts, or the machine was slower when "
            "its limits were measured"
        )
    chain_ns, cpu_ns = cost["chain_ns"], cost["cpu_ns"]
    if chain_ns is not None and 0 < cpu_ns < chain_ns * cost["threads"]:
        return (
            "below the chain: it updates more rows at a time, or its chain is shorter than that "
            "of the plain loop"
        )
    return ""


def _why(record: RooflineRecord) -> str:
    """Return the status of a record that was not measured, with the reason."""
    reason = " ".join(record["reason"].split()).rstrip(".")
    return f"{record['status']}: {reason}" if reason else record["status"]


def _percent(share: float) -> str:
    return f"{number(100 * share, 2)} %"
