"""The article, reproduced: its exact descent beside its published curve, and what it is held against.

Run ``python -m bench.article``. `data` splits and encodes as the article does, once rightly and once as it scored its
validation rows; `run` follows the descent and fits what stands beside it; `figure` and `page` show the results, which
are plain data; ``published.json`` holds the figures that others printed. The solvers themselves are in `backends`.
"""
