"""Ratings to measure on, and their splits.

They come from the synthetic anime twin, from data sets known by name, or from a user's file.
"""

from bench.datasets.public.known import KNOWN
from bench.datasets.reading.options import FileOptions
from bench.datasets.reading.readers import DatasetError, from_frame, read_ratings

from .catalog import Dataset, fetch_dataset, load_dataset, load_file
from .raw import Duplicates, RawRatings
from .sample import sample_users
from .splits import content_hash, permutation, random_split, split_rows
from .twin import anime_twin

__all__ = [
    "KNOWN",
    "Dataset",
    "DatasetError",
    "Duplicates",
    "FileOptions",
    "RawRatings",
    "anime_twin",
    "content_hash",
    "fetch_dataset",
    "from_frame",
    "load_dataset",
    "load_file",
    "permutation",
    "random_split",
    "read_ratings",
    "sample_users",
    "split_rows",
]
