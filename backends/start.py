"""The initial model that every solver shares: drawn alike whatever the solver, its precision and its threads."""

from __future__ import annotations

import math
from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ._arrays import CHUNK, Float, chunks
from ._validation import check_choice, check_number
from .objective import Objective, Parameters, root_mean_square
from .ratings import Ratings

Init = Literal["normal", "uniform"]


def initial_model(
    objective: Objective,
    ratings: Ratings,
    seed: int,
    init: Init = "normal",
    init_scale: float = 0.1,
    dtype: np.typing.DTypeLike = "float64",
    n_threads: int = 1,
) -> Parameters:
    """Return the start that every solver shares.

    Parameters
    ----------
    init
        "normal": factors are ``init_scale`` times the root of the ratings' unit times standard normal draws, so that a
        fit starts alike on any scale. The unit is the root mean square of r - m: where ratings are all equal there is
        nothing to explain, and factors are zero. A draw is one of 65,536 values, each as likely as any other: exact
        ones take four times as long. "uniform": factors are ``init_scale`` times uniform draws from [0, 1), whatever
        the ratings, as starts are published. Biases start at zero.
    dtype, n_threads
        Draws are in single precision and from one stream per so many rows, whatever precision and threads: one start
        for all, in a fraction of the time.

    Raises
    ------
    ValueError
        For an unknown ``init`` or an ``init_scale`` that is not a positive number.
    """
    check_choice("init", init, get_args(Init))
    check_number("init_scale", init_scale, positive=True)
    from ._engine.threads import Threads

    tables = [np.empty((n_rows, objective.rank), np.float32) for n_rows in (ratings.n_users, ratings.n_items)]
    parts = [table[rows] for table in tables for rows in chunks(len(table))]

    mean, scale = objective.mean(ratings), np.float32(init_scale)
    normal = None
    if init == "normal":
        normal = np.float32(init_scale * math.sqrt(root_mean_square(ratings, mean))) * _normal_quantiles()

    def fill(part: Float, stream: np.random.SeedSequence) -> None:
        bits = np.random.PCG64(stream)
        if normal is None:
            np.random.Generator(bits).random(dtype=np.float32, out=part)
            part *= scale
            return
        flat = part.reshape(-1)
        for some in chunks(len(flat), 16 * CHUNK):  # long enough for threads not to wait for each other
            draws = flat[some]
            ranks = bits.random_raw(-(-len(draws) // 4)).view(np.uint16)[: len(draws)]  # 16 bits make a draw
            np.take(normal, ranks, out=draws, mode="clip")

    streams = np.random.SeedSequence(seed).spawn(len(parts))
    Threads(n_threads).run(fill, list(zip(parts, streams, strict=True)))
    user_factors, item_factors = (table.astype(dtype, copy=False) for table in tables)
    return Parameters(
        mean,
        np.zeros(ratings.n_users, dtype),
        np.zeros(ratings.n_items, dtype),
        user_factors,
        item_factors,
    )


@cache
def _normal_quantiles() -> NDArray[np.float32]:
    """Return the standard normal distribution's quantiles in the middle of 65,536 equal parts of probability."""
    points = np.linspace(-5, 5, 8193)
    below = [0.5 * math.erfc(-x / math.sqrt(2)) for x in points]
    quantiles = np.interp((np.arange(65536) + 0.5) / 65536, below, points).astype(np.float32)
    quantiles.flags.writeable = False  # the one array of the process
    return quantiles
