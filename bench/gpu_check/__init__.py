"""The check of the GPU: the torch backend proved and timed there. Run ``python -m bench.gpu_check``.

`solvers` holds both solvers against the CPU and times them, `kernels` does the same with prototypes in Triton; `check`
keeps what was timed and what was wrong, `data` makes the ratings.
"""
