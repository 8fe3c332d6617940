"""The earlier name of `backends.torch_gd` and `backends.torch_adam`, kept for a release."""

import warnings
from typing import Any

from ._engine.embedding import EmbeddingModel
from ._validation import check_choice
from .torch_adam import TorchAdam
from .torch_gd import TorchGD

__all__ = ["EmbeddingModel", "TorchEmbedding"]


def TorchEmbedding(*, optimizer: str = "gd", **params: Any) -> TorchGD | TorchAdam:
    """Return a `TorchGD`, or a `TorchAdam` for ``optimizer="adam"``; write these names instead.

    A ``learning_rate`` or ``batch_size`` of None is left out: it stood for the optimizer's own
    value, which is the default now.

    Raises
    ------
    ValueError
        For another optimizer, or a parameter that this one does not have.

    Warns
    -----
    DeprecationWarning
        Always.
    """
    check_choice("optimizer", optimizer, ("gd", "adam"))
    solver, name = (TorchAdam, "torch-cpu") if optimizer == "adam" else (TorchGD, "torch-cpu-gd")
    warnings.warn(
        f"TorchEmbedding will be removed; use {solver.__module__}.{solver.__name__}, or "
        f'get_backend("{name}")',
        DeprecationWarning,
        stacklevel=2,
    )
    given = {name: value for name, value in params.items() if value is not None or name not in _OWN}
    return solver().set_params(**given)


_OWN = ("learning_rate", "batch_size")  # None stood for the optimizer's own
