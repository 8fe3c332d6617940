"""The command ``factorbench``: solvers and benchmarks for those who do not program.

What lives here: the sub-commands that fit and serve models, and the table of those that measure,
which are modules of their own. What does not: fitting, lists and files themselves.
"""
