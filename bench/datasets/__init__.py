"""Ratings to measure on, and their splits.

They come from the synthetic anime twin, from data sets known by name, or from a user's file.

What is here is imported when it is first asked for: the data sets are listed without pandas and
pyarrow, which take longer to import than that.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.datasets.public.known import KNOWN
    from bench.datasets.reading.options import FileOptions
    from bench.datasets.reading.readers import from_frame, read_ratings

    from .catalog import Dataset, load_dataset, load_file
    from .errors import DatasetError
    from .places import fetch_dataset
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

_MODULES = {
    "catalog": ("Dataset", "load_dataset", "load_file"),
    "errors": ("DatasetError",),
    "places": ("fetch_dataset",),
    "public.known": ("KNOWN",),
    "raw": ("Duplicates", "RawRatings"),
    "reading.options": ("FileOptions",),
    "reading.readers": ("from_frame", "read_ratings"),
    "sample": ("sample_users",),
    "splits": ("content_hash", "permutation", "random_split", "split_rows"),
    "twin": ("anime_twin",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
