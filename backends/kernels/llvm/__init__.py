"""Operations that kernels call and that emit LLVM IR: vectors, rows of tables, ratings, counters.

`vectors.operation` turns a Python function into an operation. When numba compiles a kernel, it
calls the function with the *types* of the arguments, and the function returns the operation's
signature and a second function, ``generate(context, builder, signature, arguments)``. That one is
called with the IR *values* of the arguments, appends instructions by ``builder.*`` and returns the
IR value of the result. So a Python loop in ``generate`` is unrolled: it writes its body several
times.

Read `vectors` first, then `tables`, `rows` and `columns`.
"""
