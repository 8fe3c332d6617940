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
    penalty: tl.tensor,
    RANK: tl.constexpr,
    PER: tl.constexpr,
) -> None:
    """Take a step for each rating, PER ratings per program, in the given order.

    Programs run at the same time and overwrite each other's rows, so a step may be lost.

    Parameters
    ----------
    user_factors, item_factors
        Tables to train, row-major, shapes (n_users, RANK) and (n_items, RANK).
    users, items, targets
        The ratings, shape (n,).
    rate, penalty
        Learning rate, and penalty of the factors per rating.
    RANK, PER
        Number of factors, a power of two, and number of ratings per program.
    """
    start = tl.program_id(0) * PER
    k = tl.arange(0, RANK)
    for at in range(start, tl.minimum(start + PER, n)):
        user = user_factors + tl.load(users + at) * RANK + k
        item = item_factors + tl.load(items + at) * RANK + k
        p = tl.load(user).to(tl.float32)
        q = tl.load(item).to(tl.float32)
        error = tl.load(targets + at) - tl.sum(p * q)
        # Computed in float32 and stored in the precision of the tables.
        new_p = p + rate * (error * q - penalty * p)
        new_q = q + rate * (error * p - penalty * q)
        tl.store(user, new_p.to(user_factors.dtype.element_ty))
        tl.store(item, new_q.to(item_factors.dtype.element_ty))
