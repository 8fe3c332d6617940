"""The earlier name of `backends.torch_gd`, kept for a release."""

from .torch_gd import EmbeddingModel, TorchEmbedding

__all__ = ["EmbeddingModel", "TorchEmbedding"]
