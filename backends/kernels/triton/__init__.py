"""Prototypes of kernels in Triton, for NVIDIA GPUs: no solver uses them.

`bench.gpu_check` proves and times them. Importing a module of this package imports triton, which
comes with torch's CUDA builds.

Triton's compiler looks up what a kernel's parameters are annotated with, and knows no names but its
own: pointers and numbers alike are ``tl.tensor``. Its interpreter takes any annotation, so that a
smoke run without a GPU does not show a wrong one.
"""
