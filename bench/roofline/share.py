"""How near a measured epoch comes to the limit that binds it."""

from __future__ import annotations

from bench.measure.protocol import EpochSeconds
from bench.records import BoundName, CaseFacts, EpochCost, MachineLimits

from .work import WorkModel


def nearest_bound(
    cpu_ns: float, threads: int, memory_ns: float, arithmetic_ns: float, chain_ns: float | None
) -> tuple[BoundName, float]:
    """Return the name and the nanoseconds of the limit that a measured time is held against.

    Memory and arithmetic bind whatever computes the same, so the larger of them does. The chain, shared by the rows
    that a thread updates in turn, counts like the two others, unless less CPU time than that shows that the kernel has
    more of them under way.
    """
    bounds: list[tuple[BoundName, float]] = [("memory", memory_ns), ("arithmetic", arithmetic_ns)]
    if chain_ns is not None and cpu_ns >= chain_ns * threads:
        bounds.append(("dependency chain", chain_ns))
    return max(bounds, key=lambda bound: bound[1])


def epoch_cost(
    model: WorkModel,
    facts: CaseFacts,
    cache: float,
    limits: MachineLimits,
    *,
    rank: int,
    measured: EpochSeconds,
) -> EpochCost:
    """Hold the measured seconds of an epoch against the machine's limits for as many threads."""
    seconds, cpu_seconds = measured.seconds, measured.cpu_seconds
    threads, n = limits["threads"], facts["n_train"]
    work = model.work(rank, facts, cache)
    ns, cpu_ns = seconds / n * 1e9, cpu_seconds / n * 1e9
    memory_ns, arithmetic_ns = work.bytes / limits["memory_gb_per_s"], work.flops / limits["gflop_per_s"]
    latency = next(one["ns"] for one in limits["chain"] if one["rank"] == rank)
    chains = model.chains(rank)
    chain_ns = latency / (threads * chains) if chains else None
    bound, limit_ns = nearest_bound(cpu_ns, threads, memory_ns, arithmetic_ns, chain_ns)
    return EpochCost(
        rank=rank,
        threads=threads,
        epochs=measured.epochs,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        ns=ns,
        cpu_ns=cpu_ns,
        flops=work.flops,
        bytes=work.bytes,
        memory_ns=memory_ns,
        arithmetic_ns=arithmetic_ns,
        chain_ns=chain_ns,
        bound=bound,
        limit_ns=limit_ns,
        share=limit_ns / ns,
        cpu_share=limit_ns * threads / cpu_ns,
    )
