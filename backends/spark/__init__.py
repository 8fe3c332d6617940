"""Solvers that run on a Spark cluster: the half-epochs of `numba_als` in its tasks, and MLlib's."""
