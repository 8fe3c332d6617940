"""The roofline of an epoch: the machine's limits, the work of an algorithm, and how near a measured epoch comes.

A computation cannot be faster than its bytes over the memory bandwidth, nor than its floating-point operations over the
arithmetic rate (Williams, Waterman and Patterson 2009, "Roofline: an insightful visual performance model"). Per-rating
SGD has a third limit: the next error of a row needs the row as the last error left it. `work` counts, `share` compares,
`measure` asks a worker; the machine's limits themselves are in `bench.machine.limits`.
"""
