"""What share of the machine's limit a measured epoch reaches."""

from __future__ import annotations

from bench.measure.protocol import EpochSeconds
from bench.records import BoundName, CaseFacts, EpochCost, MachineLimits

from .work import WorkModel


def nearest_bound(
    cpu_ns: float, threads: int, memory_ns: float, arithmetic_ns: float, chain_ns: float | None
) -> tuple[BoundName, float]:
    """Return the limit that applies to a measured epoch: the one that takes the longest.

    Parameters
    ----------
    cpu_ns
        Measured CPU-nanoseconds per rating, of all threads together.
    threads
        Number of threads.
    memory_ns, arithmetic_ns
        Limits in nanoseconds per rating. They apply to everything that computes the same.
    chain_ns
        Limit from the dependency chain, for as many chains as this project's kernel advances at a
        time; None for an algorithm without. A kernel that needs less CPU time than this evidently
        advances more chains, so the limit does not apply to it.

    Returns
    -------
    name, nanoseconds
        Of the limit.
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
    """Compare the measured seconds of an epoch with the machine's limits.

    Parameters
    ----------
    model
        Counts the work of the algorithm.
    facts
        The case, which has the numbers of users, items and ratings.
    cache
        Bytes of the last-level cache.
    limits
        The machine's, for the number of threads that was measured.
    rank
        Number of factors that was measured.
    measured
        The worker's answer. Its CPU-seconds are 0 if the system's clock is too coarse for them.
    """
    threads, n_ratings = limits["threads"], facts["n_train"]
    work = model.work(rank, facts, cache)
    ns = measured.seconds / n_ratings * 1e9
    cpu_ns = measured.cpu_seconds / n_ratings * 1e9
    # Bytes over GB/s, or operations over GFLOP/s, are nanoseconds.
    memory_ns = work.bytes / limits["memory_gb_per_s"]
    arithmetic_ns = work.flops / limits["gflop_per_s"]
    chain_ns, chains = None, model.chains(rank)
    if chains:
        # Each thread advances several chains at a time, so their latencies overlap.
        latency = next(chain["ns"] for chain in limits["chain"] if chain["rank"] == rank)
        chain_ns = latency / (threads * chains)
    # A clock that is too coarse for the epochs counts no CPU time at all. All threads are then
    # taken to have been busy, so that the CPU share is the share.
    busy_ns = cpu_ns or ns * threads
    bound, limit_ns = nearest_bound(busy_ns, threads, memory_ns, arithmetic_ns, chain_ns)
    return EpochCost(
        rank=rank,
        threads=threads,
        epochs=measured.epochs,
        seconds=measured.seconds,
        cpu_seconds=measured.cpu_seconds,
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
        cpu_share=limit_ns * threads / busy_ns,
    )
