"""Per-rating SGD without locks (Hogwild; Niu, Recht, Re and Wright 2011)."""

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
    """Take an SGD step for each rating; each program takes PER ratings in their order.

    Programs run at the same time and may overwrite each other's rows, so steps can be lost.

    Parameters
    ----------
    user_factors, item_factors
        The tables to train, row-major, shapes (n_users, RANK) and (n_items, RANK).
    users, items, targets
        The ratings, shape (n,).
    n
        Number of ratings. The last program may have fewer than PER.
    rate
        Learning rate.
    pull
        Penalty of a row per rating: a step shrinks a row by ``rate * pull`` of itself.
    RANK
        Number of factors, a power of two.
    PER
        Number of ratings per program.
    """
    start = tl.program_id(0) * PER
    k = tl.arange(0, RANK)
    for at in range(start, tl.minimum(start + PER, n)):
        user = user_factors + tl.load(users + at) * RANK + k
        item = item_factors + tl.load(items + at) * RANK + k
        # Both are loaded before either is stored: each side's step uses the other's old row.
        p = tl.load(user).to(tl.float32)
        q = tl.load(item).to(tl.float32)
        error = tl.load(targets + at) - tl.sum(p * q)
        tl.store(user, (p + rate * (error * q - pull * p)).to(user_factors.dtype.element_ty))
        tl.store(item, (q + rate * (error * p - pull * q)).to(item_factors.dtype.element_ty))
