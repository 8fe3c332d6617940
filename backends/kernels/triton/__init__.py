"""Prototypes of kernels in Triton, for NVIDIA GPUs: `bench.gpu_check` proves and times them, and no solver uses them.

Triton's compiler looks up what a kernel's parameters are annotated with, and knows no names but its own: pointers and
numbers alike are ``tl.tensor``. Its interpreter, which the smoke run takes, would not mind. Importing a module of this package imports triton, which comes with torch's CUDA builds.
"""
