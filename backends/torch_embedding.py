"""The earlier name of `backends.torch_gd` and `backends.torch_adam`, kept for a release."""

from typing import Any

from ._engine.embedding import EmbeddingModel
from ._validation import check_choice
from .torch_adam import TorchAdam
from .torch_gd import TorchGD

__all__ = ["EmbeddingModel", "TorchEmbedding"]


def TorchEmbedding(*, optimizer: str = "gd", **params: Any) -> TorchGD | TorchAdam:
    """Return a `TorchGD`, or a `TorchAdam` for ``optimizer="adam"``; write these names instead.

    A ``learning_rate`` of None is left out: it stood for the optimizer's own, now its default.

    Raises
    ------
    ValueError
        For another optimizer, or a parameter that this one does not have.
    """
    check_choice("optimizer", optimizer, ("gd", "adam"))
    if params.get("learning_rate", 0) is None:
        del params["learning_rate"]
    solver = TorchAdam() if optimizer == "adam" else TorchGD()
    return solver.set_params(**params)
