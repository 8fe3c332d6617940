"""The article, reproduced: its exact descent beside its published curve, baselines and minimum.

Run ``python -m bench.article``. `data` splits and encodes as the article does, once correctly and
once with the article's mistake. `run` follows the descent and fits what it is compared with.
`figure`, `tables` and `page` show the results, which are plain data. ``published.json`` contains
the figures printed by others. The solvers themselves are in `backends`.
"""
