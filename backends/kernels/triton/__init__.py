"""Prototypes of kernels in Triton, for NVIDIA GPUs: no solver uses them.

`bench.gpu_check` checks and times them. Importing a module of this package imports triton, which
comes with torch's CUDA builds.

Triton's compiler evaluates the annotations of a kernel's parameters, and accepts only its own
types: pointers and numbers alike are ``tl.tensor``. Its interpreter accepts any annotation, so a
run without a GPU does not detect a wrong one.
"""
