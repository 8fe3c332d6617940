"""Kernels in Triton, for GPUs. Importing a module of this package imports triton.

It comes with torch's CUDA builds. Without a GPU its interpreter runs the kernels, slowly, if
``TRITON_INTERPRET=1`` is set before triton is imported.

Triton's compiler evaluates the annotations of a kernel's parameters, and accepts only its own
types: pointers and numbers alike are ``tl.tensor``. Its interpreter accepts any annotation, so a
run without a GPU does not detect a wrong one.
"""
