"""The roofline of an epoch: the work of an algorithm compared with the machine's limits.

A computation takes at least as long as moving its bytes at the memory bandwidth, and as its
floating-point operations at the arithmetic rate (Williams, Waterman and Patterson 2009, "Roofline:
an insightful visual performance model"). Per-rating SGD has a third limit: the next error of a row
depends on the row after its last update.

`work` counts operations and bytes, `share` compares them with a measured epoch, and `measure` asks
a worker for the measurements. `bench.machine.limits` measures the machine.
"""
