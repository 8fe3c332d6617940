"""The earlier name of `backends.torch_gd`, kept for a release."""

from ._engine.embedding import EmbeddingModel
from .torch_gd import TorchEmbedding

__all__ = ["EmbeddingModel", "TorchEmbedding"]
