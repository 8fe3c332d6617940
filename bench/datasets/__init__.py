"""Ratings to measure on: the synthetic anime twin, data sets known by name, a user's file, and how they are split."""

from .catalog import KNOWN, Dataset, load_dataset, load_file
from .raw import RawRatings
from .readers import DatasetError, read_ratings
from .splits import content_hash, permutation, random_split
from .twin import anime_twin

__all__ = [
    "KNOWN",
    "Dataset",
    "DatasetError",
    "RawRatings",
    "anime_twin",
    "content_hash",
    "load_dataset",
    "load_file",
    "permutation",
    "random_split",
    "read_ratings",
]
