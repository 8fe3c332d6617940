"""The initial model, which is the same for all solvers, precisions and numbers of threads."""

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
    """Return the parameters that fits start from: random factors, and biases of zero.

    Parameters
    ----------
    init, init_scale
        "normal": factors are standard normal draws times init_scale * sqrt(unit), where the unit is
        the root mean square of r - m, so that a fit does not depend on the rating scale. If all
        ratings are equal the unit and the factors are zero. A draw is one of 65,536 equally likely
        values: exact draws take four times as long. "uniform": factors are draws from [0, 1) times
        init_scale, whatever the ratings, which is how some published fits start.
    dtype, n_threads
        They do not affect the values: draws are always in single precision, and each chunk of rows
        has a random stream of its own.

    Raises
    ------
    ValueError
        If ``init`` is unknown or ``init_scale`` is not a positive number.
    """
    check_choice("init", init, get_args(Init))
    check_number("init_scale", init_scale, positive=True)
    from ._engine.threads import Threads

    numbers_of_rows = ratings.n_users, ratings.n_items
    tables = [np.empty((n_rows, objective.rank), np.float32) for n_rows in numbers_of_rows]
    # Views of chunks of rows; they do not depend on the number of threads.
    parts = [table[rows] for table in tables for rows in chunks(len(table))]

    mean, scale = objective.mean(ratings), np.float32(init_scale)
    normal = None
    if init == "normal":
        factor_scale = np.float32(init_scale * math.sqrt(root_mean_square(ratings, mean)))
        normal = factor_scale * _normal_quantiles()

    def fill(part: Float, stream: np.random.SeedSequence) -> None:
        """Draw the rows of a chunk."""
        bits = np.random.PCG64(stream)
        if normal is None:
            np.random.Generator(bits).random(dtype=np.float32, out=part)
            part *= scale
            return
        flat = part.reshape(-1)
        # Between NumPy calls a thread needs the GIL. With shorter chunks the threads wait for it.
        for chunk in chunks(len(flat), 16 * CHUNK):
            draws = flat[chunk]
            # Each draw takes 16 random bits, as an index of the table of quantiles.
            n_words = -(-len(draws) // 4)
            ranks = bits.random_raw(n_words).view(np.uint16)[: len(draws)]
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
    """Return the standard normal quantiles of (k + 1/2) / 65536 for k = 0 ... 65535."""
    # The distribution function on a fine grid, inverted by linear interpolation.
    points = np.linspace(-5, 5, 8193)
    below = [0.5 * math.erfc(-x / math.sqrt(2)) for x in points]
    quantiles = np.interp((np.arange(65536) + 0.5) / 65536, below, points).astype(np.float32)
    quantiles.flags.writeable = False  # it is cached, so all callers share it
    return quantiles
