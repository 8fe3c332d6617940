"""The releases of MovieLens, as rows of the table in `known`.

Rated movies are fewer than the movies a README counts, and the users of ml-10m fewer than its README says.
"""

from typing import NamedTuple

FOLDS_100K = ("u1", "u2", "u3", "u4", "u5", "ua", "ub")
FOLDS_10M = ("r1", "r2", "r3", "r4", "r5", "ra", "rb")  # made by its split_ratings.sh, not in the zip

_TFDS = "checksum and size: tensorflow/datasets, tensorflow_datasets/url_checksums/movielens.txt"
_README = "its README"


class Release(NamedTuple):
    """A zip at files.grouplens.org, and what the ratings in it count."""

    name: str
    member: str
    checksum: str
    size: int  # bytes
    cited: str  # checksum and size
    rows: int
    users: int
    items: int | None
    counted: str


RELEASES = (
    Release(
        "ml-100k",
        "ml-100k/u.data",
        "sha256:50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        4_924_029,
        _TFDS,
        *(100_000, 943, 1_682, _README),
    ),
    Release(
        "ml-10m",
        "ml-10M100K/ratings.dat",
        "sha256:813c411ccb6122564edfe752e7f80c4dcc5aa25fa94c93622f6877a7ba252862",
        65_566_137,
        "checksum: ISG-Siegen/OmniRec, src/omnirec/data_loaders/movielens_small.py; size: projects that record both",
        *(10_000_054, 69_878, 10_677, "codex.lenskit.org/movielens/ML10M; konect.cc/networks/movielens-10m_rating"),
    ),
    Release(
        "ml-1m",
        "ml-1m/ratings.dat",
        "sha256:a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        5_917_549,
        _TFDS,
        *(1_000_209, 6_040, 3_706, f"{_README}; rated movies: recsyswiki.com/wiki/MovieLens"),
    ),
    Release(
        "ml-20m",
        "ml-20m/ratings.csv",
        "sha256:96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
        198_702_078,
        _TFDS,
        *(20_000_263, 138_493, 26_744, f"{_README}; rated movies: codex.lenskit.org/movielens/ML20M"),
    ),
    Release(
        "ml-25m",
        "ml-25m/ratings.csv",
        "sha256:8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
        261_978_986,
        _TFDS,
        *(25_000_095, 162_541, 59_047, f"{_README}; rated movies: seljuk.me/movielens-25m-dataset-published.html"),
    ),
    Release(
        "ml-32m",
        "ml-32m/ratings.csv",
        "md5:d472be332d4daa821edc399621853b57",
        238_950_008,
        "checksum: files.grouplens.org/datasets/movielens/ml-32m.zip.md5; size: projects that record both",
        *(32_000_204, 200_948, None, _README),
    ),
    Release(
        "ml-latest-small",
        "ml-latest-small/ratings.csv",
        "sha256:696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        978_202,
        _TFDS,
        *(100_836, 610, 9_724, f"{_README} of September 2018; rated movies: the file itself, counted"),
    ),
)
