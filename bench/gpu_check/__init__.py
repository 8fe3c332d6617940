"""The check of a GPU: whether the torch solvers are right there, and how fast they are.

Run ``python -m bench.gpu_check``. `solvers` compares the solvers with the CPU and times them,
`alternating` does so with alternating least squares, and `kernels` with the kernels in Triton.
`fits` times fits to the matching target. `check` collects what was found, `record` writes it, and
`data` generates the ratings.
"""
