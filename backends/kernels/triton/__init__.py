"""Prototypes of kernels in Triton, for NVIDIA GPUs: no solver uses them.

`bench.gpu_check` verifies and times them. Importing a module of this package imports triton, which
comes with torch's CUDA builds.

Triton's compiler resolves the annotations of a kernel's parameters and knows no types but its own,
so pointers and numbers alike are annotated as ``tl.tensor``. Its interpreter accepts any
annotation: a smoke run without a GPU does not find a wrong one.
"""
