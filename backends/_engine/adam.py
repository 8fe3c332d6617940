"""The step of Adam (Kingma and Ba 2015), in torch: in one pass over memory where torch has that.

Not by ``torch.optim``: importing it takes longer than a fit, and its step is not shared among the
threads of a fit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .torch_tables import widest

# How fast the running means of the gradient and of its square forget, and what is added to the root
# of the latter: those of the paper.
FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8


def adam_step(
    tables: Sequence[Tensor], n_steps: Tensor, learning_rate: Tensor, *, fused: bool
) -> None:
    """Update parameters in place, and the running means of their gradient and of its square.

    Parameters
    ----------
    tables
        The parameters, their gradient, and its running means: of itself and of its square. All of
        one shape and precision.
    n_steps
        Number of steps so far, this one included, shape (), float32.
    learning_rate
        Shape ().
    fused
        What `has_fused_step` says.
    """
    x, gradient, first, second = tables
    if fused:
        torch._fused_adam_(
            [x],
            [gradient],
            [first],
            [second],
            [],
            [n_steps],
            lr=learning_rate,
            beta1=FIRST_DECAY,
            beta2=SECOND_DECAY,
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )
        return
    first.lerp_(gradient, 1 - FIRST_DECAY)
    second.mul_(SECOND_DECAY).addcmul_(gradient, gradient, value=1 - SECOND_DECAY)
    # The running means start at 0, and are corrected for that.
    steps = n_steps.to(widest(x.device))
    of_first, of_second = (1 - decay**steps for decay in (FIRST_DECAY, SECOND_DECAY))
    roots = second.div(of_second.to(x.dtype)).sqrt_().add_(EPSILON)
    x.addcmul_(first / roots, -(learning_rate / of_first).to(x.dtype))


def has_fused_step(like: Tensor) -> bool:
    """Return whether torch has the step in one pass for the device and precision of a tensor.

    Found out by trying, since torch does not document it.
    """
    tables = [like.new_zeros(1) for _ in range(4)]
    numbers = like.new_ones((), dtype=torch.float32), like.new_ones(())
    try:
        adam_step(tables, *numbers, fused=True)
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, RuntimeError, TypeError):
        return False
    return True
