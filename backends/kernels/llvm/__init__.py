"""What writes LLVM IR for the kernels: vectors, rows and columns of tables, ratings, counters."""
