"""The releases of MovieLens, as rows of the table in `known`.

Counts of items are of rated movies, which are fewer than the movies that a README counts. ml-10m
has fewer users than its README states.
"""

from typing import NamedTuple

FOLDS_100K = ("u1", "u2", "u3", "u4", "u5", "ua", "ub")
# The zip does not contain these: its split_ratings.sh makes them.
FOLDS_10M = ("r1", "r2", "r3", "r4", "r5", "ra", "rb")

_TFDS = "checksum and size: tensorflow/datasets, tensorflow_datasets/url_checksums/movielens.txt"
_README = "its README"


class Release(NamedTuple):
    """A zip at files.grouplens.org, and the numbers of ratings, users and items in it."""

    name: str
    member: str
    checksum: str
    size: int  # bytes
    cited: str  # source of checksum and size
    rows: int
    users: int
    items: int | None
    counted: str  # source of rows, users and items


RELEASES = (
    Release(
        name="ml-100k",
        member="ml-100k/u.data",
        checksum="sha256:50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        size=4_924_029,
        cited=_TFDS,
        rows=100_000,
        users=943,
        items=1_682,
        counted=_README,
    ),
    Release(
        name="ml-10m",
        member="ml-10M100K/ratings.dat",
        checksum="sha256:813c411ccb6122564edfe752e7f80c4dcc5aa25fa94c93622f6877a7ba252862",
        size=65_566_137,
        cited="checksum: ISG-Siegen/OmniRec, src/omnirec/data_loaders/movielens_small.py; "
        "size: projects that record both",
        rows=10_000_054,
        users=69_878,
        items=10_677,
        counted="codex.lenskit.org/movielens/ML10M; konect.cc/networks/movielens-10m_rating",
    ),
    Release(
        name="ml-1m",
        member="ml-1m/ratings.dat",
        checksum="sha256:a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        size=5_917_549,
        cited=_TFDS,
        rows=1_000_209,
        users=6_040,
        items=3_706,
        counted=f"{_README}; rated movies: recsyswiki.com/wiki/MovieLens",
    ),
    Release(
        name="ml-20m",
        member="ml-20m/ratings.csv",
        checksum="sha256:96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
        size=198_702_078,
        cited=_TFDS,
        rows=20_000_263,
        users=138_493,
        items=26_744,
        counted=f"{_README}; rated movies: codex.lenskit.org/movielens/ML20M",
    ),
    Release(
        name="ml-25m",
        member="ml-25m/ratings.csv",
        checksum="sha256:8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
        size=261_978_986,
        cited=_TFDS,
        rows=25_000_095,
        users=162_541,
        items=59_047,
        counted=f"{_README}; rated movies: seljuk.me/movielens-25m-dataset-published.html",
    ),
    Release(
        name="ml-32m",
        member="ml-32m/ratings.csv",
        checksum="md5:d472be332d4daa821edc399621853b57",
        size=238_950_008,
        cited="checksum: files.grouplens.org/datasets/movielens/ml-32m.zip.md5; "
        "size: projects that record both",
        rows=32_000_204,
        users=200_948,
        items=None,
        counted=_README,
    ),
    Release(
        name="ml-latest-small",
        member="ml-latest-small/ratings.csv",
        checksum="sha256:696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        size=978_202,
        cited=_TFDS,
        rows=100_836,
        users=610,
        items=9_724,
        counted=f"{_README} of September 2018; rated movies: the file itself, counted",
    ),
)
