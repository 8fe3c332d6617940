"""Per-rating SGD without locks, many ratings at a time (Hogwild; Niu, Recht, Re, Wright 2011)."""

import triton
import triton.language as tl


@triton.jit
def sgd(
    user_factors: tl.tensor,
    item_factors: tl.tensor,
    users: tl.tensor,
    items: tl.tensor,
    targets: tl.tensor,
    n: tl.tensor,
    rate: tl.tensor,
    pull: tl.tensor,
    RANK: tl.constexpr,
    PER: tl.constexpr,
) -> None:
    """Take a step for each rating, PER ratings per program, in the given order.

    Programs run at the same time and overwrite each other's rows, so a step may be lost.

    Parameters
    ----------
    user_factors, item_factors
        What is trained: tables, row-major, shapes (n_users, RANK) and (n_items, RANK).
    users, items, targets
        The ratings, shape (n,).
    rate, pull
        Length of a step, and the penalty of the factors in it.
    RANK, PER
        Number of factors, a power of two, and of ratings that a program takes one by one.
    """
    start = tl.program_id(0) * PER
    k = tl.arange(0, RANK)
    for at in range(start, tl.minimum(start + PER, n)):
        user = user_factors + tl.load(users + at) * RANK + k
        item = item_factors + tl.load(items + at) * RANK + k
        p = tl.load(user).to(tl.float32)
        q = tl.load(item).to(tl.float32)
        error = tl.load(targets + at) - tl.sum(p * q)
        tl.store(user, (p + rate * (error * q - pull * p)).to(user_factors.dtype.element_ty))
        tl.store(item, (q + rate * (error * p - pull * q)).to(item_factors.dtype.element_ty))
