"""What the members of a saved model's file mean: from an archive to the fields of a model.

What lives here: reading them, each checked against the others, and what is saved beside the arrays.
What does not: the archive (`_model_file`).
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import platform
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from . import _model_file
from ._ids import IntegerIds, TextIds
from ._seen import SeenElsewhere, SeenItems
from .errors import ModelFileError
from .objective import Parameters
from .ratings import RatingEncoder, Ratings, labels_of


def read(file: str | os.PathLike[str] | IO[bytes], *, mmap: bool) -> dict[str, Any]:
    """Return the fields of a saved model, and ``item_counts``; see `FactorModel.load`."""
    if mmap and _model_file.is_file(file):
        raise ValueError("mmap needs the path of a file, got an open one")
    _model_file.check_bytes(file, "rb")
    try:
        with _model_file.opened(file, mapped=mmap) as archive:
            return _fields(archive)
    except FileNotFoundError:
        raise
    except io.UnsupportedOperation:  # an open file that cannot be read, or not from the start
        raise
    except _model_file.OtherVersion as error:
        known = " and ".join(map(str, _model_file.VERSIONS))
        raise ModelFileError(
            f"{_name(file)} has format version {error}, this release reads versions "
            f"{known}; upgrade factorbench or save the model again"
        ) from None
    except Exception as error:
        # The readers of zip, zlib, npy and JSON each raise other errors for a damaged file.
        raise ModelFileError(
            f"{_name(file)} is not a saved model, or is damaged ({error})",
        ) from error


def versions() -> dict[str, str]:
    """Return the versions of Python and of packages that are saved with a model."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in ("factorbench", "numpy", "numba", "torch"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def hash_of(ratings: Ratings) -> str:
    """Return a hash of ratings, ids and weights included."""
    import hashlib

    digest = hashlib.blake2b(digest_size=16)
    columns: list[Any] = [ratings.users, ratings.items, ratings.ratings]
    columns += [] if ratings.weights is None else [ratings.weights]
    for labels in labels_of(ratings):
        if isinstance(labels, TextIds):
            columns += labels.offsets_and_bytes()
        elif isinstance(labels, IntegerIds):
            columns.append(labels.values)
    for column in columns:
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()


def _fields(archive: _model_file.Archive) -> dict[str, Any]:
    """Return what an archive holds; raises any kind of error if it is no model."""
    header = archive.header
    user_factors = archive.array("user_factors", "f", (None, None))
    n_users, rank = user_factors.shape
    item_factors = archive.array("item_factors", "f", (None, rank))
    n_items = len(item_factors)
    parameters = Parameters(
        _finite(header["mean"], "mean"),
        archive.array("user_bias", "f", (n_users,)),
        archive.array("item_bias", "f", (n_items,)),
        user_factors,
        item_factors,
    )
    if not parameters.is_finite():
        raise ValueError("its arrays hold numbers that are not finite")
    counts: NDArray[np.int64] | None = None
    if archive.has("item_counts"):
        counts = archive.array("item_counts", "i", (n_items,)).astype(np.int64)
        if len(counts) and counts.min() < 0:
            raise ValueError("its numbers of ratings of items are negative")
    training: SeenItems | SeenElsewhere
    if counts is not None and not archive.has("seen_offsets"):
        training = SeenElsewhere(counts)
    else:
        training = SeenItems(
            archive.array("seen_offsets", "i", (n_users + 1,)),
            archive.array("seen_items", "i", (None,)),
        )
        training.check(n_users, n_items)
    low, high = (_finite(bound, "rating range") for bound in header["rating_range"])
    if low > high:
        raise ValueError(f"its rating range is reversed: {low:g} to {high:g}")
    std = header.get("rating_std")
    if std is not None and _finite(std, "standard deviation of the ratings") < 0:
        raise ValueError("its standard deviation of the ratings is negative")
    return {
        "parameters": parameters,
        "encoder": _encoder(archive, n_users, n_items),
        "rating_range": (low, high),
        "rating_mean": _finite(header["rating_mean"], "mean of the ratings"),
        "training": training,
        "fit": dict(header.get("fit", {})),  # releases before 0.2 wrote none
        "rating_std": None if std is None else float(std),
        "versions": dict(header.get("versions", {})),
        "data": str(header.get("data", "")),
        "item_counts": counts,
    }


def _encoder(archive: _model_file.Archive, n_users: int, n_items: int) -> RatingEncoder | None:
    """Return the raw ids; None if the rows have none."""
    kinds = archive.header["ids"]
    if archive.version == 1:  # a flag; the arrays say which kind they are
        kinds = [None, None] if kinds else None
    if kinds is None:
        return None
    user_kind, item_kind = kinds
    users = archive.ids("user_ids", user_kind, n_users)
    return RatingEncoder.of_labels(users, archive.ids("item_ids", item_kind, n_items))


def _finite(value: Any, what: str) -> float:
    """Return a number of a file's header; raise ValueError unless it is finite."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise ValueError(f"its {what} is not a finite number")
    return float(value)


def _name(file: str | os.PathLike[str] | IO[bytes]) -> str:
    """Return what a file is called in messages."""
    if isinstance(file, str | os.PathLike):
        return os.fspath(file)
    return str(getattr(file, "name", "the file"))
