"""The check of a GPU: whether the torch solvers are right there, and how fast they are.

Run ``python -m bench.gpu_check``. `solvers` compares both solvers with the CPU and times them, and
`kernels` does the same with the kernels in Triton. `check` records timings and errors, `data`
generates the ratings.
"""
