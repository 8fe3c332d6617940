"""The table of public data sets: where each comes from, its counts, its terms, how it is read.

Each fact has its source; a fact that was not found is None. The data itself is found and loaded by
`catalog`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from .amazon import CATEGORIES
from .counts import Count, Counts
from .download import Source
from .movielens import FOLDS_10M, FOLDS_100K, RELEASES, Release

if TYPE_CHECKING:
    from bench.datasets.raw import RawRatings

# Takes the folder and the name of an official split; returns its training and its test rows.
ReadFold = Callable[[Path, str], "tuple[RawRatings, RawRatings]"]


class Known(NamedTuple):
    """What is known of a data set.

    ``files`` are patterns of the files that it can be read from, with ``*`` for any characters; the
    first that exists is read.
    """

    describe: str
    files: tuple[str, ...]
    read: Callable[[Path], RawRatings]  # takes one of the files
    counts: Counts
    licence: str
    citation: str
    page: str
    sources: tuple[Source, ...] = ()
    by_hand: str = ""  # how to get it if nothing can be downloaded
    kaggle: str = ""  # its handle on Kaggle, for kagglehub
    folds: Mapping[str, str] = MappingProxyType({})  # official split -> the file of its test rows
    read_fold: ReadFold | None = None
    default_fold: str | None = None  # the split if none is asked for; None: a random one


def _read(path: Path, **options: Any) -> RawRatings:
    """Read a file whose errors can advise nothing but to get the original file."""
    from bench.datasets.reading.options import FileOptions
    from bench.datasets.reading.readers import read_file

    return read_file(path, FileOptions(**options), "data set")


def _movielens(release: Release) -> Known:
    file, size = release.member.rpartition("/")[2], release.name.removeprefix("ml-")
    known = Known(
        f"MovieLens {size.upper() if size[0].isdigit() else size}",
        (file, str(Path(file).with_suffix(".parquet"))),
        _read,
        Counts(release.rows, release.users, release.items, release.counted),
        "research use; no redistribution, no commercial use without permission (GroupLens)",
        "F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and "
        "Context. ACM Transactions on Interactive Intelligent Systems 5, 4, Article 19. "
        "https://doi.org/10.1145/2827872",
        "https://grouplens.org/datasets/movielens/",
    )
    members: tuple[str, ...] = (release.member,)
    if release.name == "ml-100k":
        members += tuple(
            f"ml-100k/{fold}.{part}" for fold in FOLDS_100K for part in ("base", "test")
        )
        known = known._replace(
            folds=_test_files(FOLDS_100K), read_fold=_read_pair("base"), default_fold="u1"
        )
    if release.name == "ml-10m":
        known = known._replace(
            folds=_test_files(FOLDS_10M),
            read_fold=_read_pair("train"),
            by_hand="for its folds, run the split_ratings.sh that is in the zip",
        )
    url = f"https://files.grouplens.org/datasets/movielens/{release.name}.zip"
    source = Source((url,), release.checksum, release.cited, release.size, members)
    return known._replace(sources=(source,))


def _test_files(folds: tuple[str, ...]) -> Mapping[str, str]:
    return MappingProxyType({name: f"{name}.test" for name in folds})


def _read_pair(suffix: str) -> ReadFold:
    """Return a reader of folds whose training file ends in ``suffix`` and test file in "test"."""

    def read(folder: Path, name: str) -> tuple[RawRatings, RawRatings]:
        train, test = folder / f"{name}.{suffix}", folder / f"{name}.test"
        return _read(train), _read(test)

    return read


def _read_probe(folder: Path, name: str) -> tuple[RawRatings, RawRatings]:
    from . import odd_files

    return odd_files.split_off_probe(odd_files.read_netflix(folder), folder)


def _read_netflix(path: Path) -> RawRatings:
    from . import odd_files

    in_training_set = path.parent.name == "training_set"
    return odd_files.read_netflix(path.parent.parent if in_training_set else path.parent)


def _read_book_crossing(path: Path) -> RawRatings:
    from . import odd_files

    return odd_files.read_book_crossing(path.parent)


def _read_jester_matrices(path: Path) -> RawRatings:
    from . import odd_files

    return odd_files.read_jester_matrices(path.parent)


def _read_jester_triplets(path: Path) -> RawRatings:
    from . import odd_files

    return odd_files.read_jester_triplets(path.parent)


_GOLDBERG = (
    "Ken Goldberg, Theresa Roeder, Dhruv Gupta, and Chris Perkins. 2001. Eigentaste: A Constant "
    "Time Collaborative Filtering Algorithm. Information Retrieval 4(2), 133-151."
)
_JESTER_PAGE = "https://eigentaste.berkeley.edu/dataset/archive/"
_JESTER_TERMS = "freely available for research use when acknowledged with the citation"
_OMNIREC = "checksum: ISG-Siegen/OmniRec, src/omnirec/data_loaders"
_GOODBOOKS = "https://github.com/zygmuntz/goodbooks-10k"
_KAGGLE_ANIME = "https://www.kaggle.com/datasets/CooperUnion/anime-recommendations-database"
_ANIME = f"CooperUnion. Anime Recommendations Database. Kaggle. {_KAGGLE_ANIME}"


def _anime(
    describe: str, file: str, header: bool, counts: Counts, by_hand: str, kaggle: str = ""
) -> Known:
    return Known(
        describe,
        (file,),
        lambda path: _read(
            path, missing_rating=-1, header=header, columns=None if header else (0, 1, 2)
        ),
        counts,
        "CC0 1.0 (Kaggle)",
        _ANIME,
        _KAGGLE_ANIME,
        by_hand=by_hand,
        kaggle=kaggle,
    )


def _jester(file: str, checksum: str) -> Source:
    """Return a file of Jester; the archived copy serves when the official server is down."""
    url = f"{_JESTER_PAGE}{file}.zip"
    is_second = file == "jester_dataset_2"
    member = "jester_ratings.dat" if is_second else f"jester-data-{file[-1]}.xls"
    return Source(
        (url, f"https://web.archive.org/web/20250409222630/{url}"),
        checksum,
        _OMNIREC,
        None,
        (member,),
    )


def _amazon(category: str, users: Count, items: Count, rows: Count, checksum: str) -> Known:
    page = "https://amazon-reviews-2023.github.io/data_processing/0core.html"
    base = (
        "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/benchmark/0core/rating_only"
    )
    return Known(
        f"Amazon Reviews 2023, {category.replace('_', ' ')}, ratings only (0-core)",
        (f"{category}.csv.gz", f"{category}.csv"),
        lambda path: _read(path, columns=("user_id", "parent_asin", "rating", "timestamp")),
        Counts(rows, users, items, page if rows else ""),
        "none found on its page",
        "Yupeng Hou, Jiacheng Li, Zhankui He, An Yan, Xiusi Chen, and Julian McAuley. 2024. "
        "Bridging Language and Items for Retrieval and Recommendation. "
        "https://arxiv.org/abs/2403.03952",
        page,
        (
            Source(
                (f"{base}/{category}.csv.gz",), f"sha256:{checksum}", f"{_OMNIREC}/amazon2023.py"
            ),
        ),
    )


KNOWN: dict[str, Known] = {
    "anime": _anime(
        "Anime Recommendations Database (Kaggle), all of it",
        "rating.csv",
        True,
        Counts(
            6_337_241, 69_600, 9_927, "of 7,813,737 rows; printed by several public analyses of it"
        ),
        f"download rating.csv from {_KAGGLE_ANIME}, or install kagglehub",
        kaggle="CooperUnion/anime-recommendations-database",
    ),
    "anime-5k": _anime(
        "5,000 users of the Kaggle anime ratings, renumbered",
        "ratings.tsv",
        False,
        Counts(419_943, 4_714, 7_157, "caserec/Datasets-for-Recommender-Systems, counted"),
        "it is Processed Datasets/Anime/anime.zip of "
        "github.com/caserec/Datasets-for-Recommender-Systems",
    ),
    "anime-slice": _anime(
        "the last users of the Kaggle anime ratings; its file has no header",
        "rating.csv",
        False,
        Counts(78_151, 902, 5_100, "the file itself, counted: 97,470 rows"),
        "it is the last 97,470 lines of the Kaggle rating.csv",
    ),
    "book-crossing": Known(
        "Book-Crossing, explicit ratings 1-10",
        ("BX-Book-Ratings.csv", "Ratings.csv"),
        _read_book_crossing,
        Counts(
            433_671,
            None,
            None,
            "1,149,780 rows, 716,109 of them 0: notebook of rahmanidashti/FairBook",
        ),
        "freely available for research use when acknowledged with the citation",
        "Cai-Nicolas Ziegler, Sean M. McNee, Joseph A. Konstan, and Georg Lausen. 2005. Improving "
        "Recommendation Lists Through Topic Diversification. WWW '05. "
        "https://doi.org/10.1145/1060745.1060754",
        "http://www2.informatik.uni-freiburg.de/~cziegler/BX/",
        (
            Source(
                ("http://www2.informatik.uni-freiburg.de/~cziegler/BX/BX-CSV-Dump.zip",),
                "md5:37d647ee9e18ba134ea6d78ee4fe5292",
                "checksum: lenskit/lk-demo-experiment, data/BX-CSV-Dump.zip.dvc",
                members=("BX-Book-Ratings.csv",),
            ),
        ),
    ),
    "goodbooks-10k": Known(
        "Goodbooks-10k, ratings 1-5 of the ten thousand most rated books",
        ("ratings.csv",),
        _read,
        Counts(5_976_479, 53_424, 10_000, "users and books: its README; rows: public notebooks"),
        "CC BY-SA 4.0",
        "Zygmunt Zając. 2017. Goodbooks-10k: a new dataset for book recommendations. FastML. "
        f"{_GOODBOOKS}",
        _GOODBOOKS,
        (
            Source(
                (f"{_GOODBOOKS}/releases/download/v1.0/goodbooks-10k.zip",),
                "sha256:261b97b56db61f3fb2ce5aadbb13704d30179fcc986c17ace665a0af9ed00731",
                "checksum: ludwig-ai/ludwig, ludwig/datasets/configs/goodbooks_books.yaml",
                members=("ratings.csv",),
            ),
        ),
    ),
    "jester-1": Known(
        "Jester data set 1: 100 jokes rated from -10 to 10, 1999-2003",
        ("jester-data-*.xls", "jester-data-*.xlsx", "jester-data-*.csv"),
        _read_jester_matrices,
        Counts(
            4_136_360,
            73_421,
            100,
            "users: its page; ratings: ThomasBrouwer/BMF_Priors, data/jester",
        ),
        _JESTER_TERMS,
        _GOLDBERG,
        _JESTER_PAGE,
        (
            _jester(
                "jester_dataset_1_1",
                "sha256:cb7841756ded125b15f3d95c9f8241224065e96354c132a46ae4214deeab7615",
            ),
            _jester(
                "jester_dataset_1_2",
                "sha256:4d312fd824d8c8cb2c9c952a7b1fb7c00d1f5fd3ece370f7285aa701d371748b",
            ),
            _jester(
                "jester_dataset_1_3",
                "sha256:7f548d3762d3506cf7cd37d8cb9e3adb67984a7da7aa2d2096d5e0b1b884758d",
            ),
        ),
    ),
    "jester-2": Known(
        "Jester data set 2: 140 rated of 150 jokes, from -10 to 10, 2006-2009",
        ("jester_ratings.dat",),
        _read_jester_triplets,
        Counts(
            1_761_439,
            59_132,
            140,
            "users: its page; ratings and jokes: Surprise's copy of it, counted",
        ),
        _JESTER_TERMS,
        _GOLDBERG,
        _JESTER_PAGE,
        (
            _jester(
                "jester_dataset_2",
                "sha256:5c2b9fb8346fc132ac1be6a9264fef9a6d153da68f3201839ac25c19f9a59a09",
            ),
        ),
    ),
    **{release.name: _movielens(release) for release in RELEASES},
    "netflix": Known(
        "Netflix Prize training set, in its original layout",
        ("combined_data_*.txt", "training_set/mv_*.txt"),
        _read_netflix,
        Counts(100_480_507, 480_189, 17_770, "https://en.wikipedia.org/wiki/Netflix_Prize"),
        "research use; no redistribution, no commercial use without permission (Netflix)",
        "J. Bennett and S. Lanning. 2007. The Netflix Prize. KDD Cup and Workshop 2007.",
        "https://www.kaggle.com/datasets/netflix-inc/netflix-prize-data",
        by_hand="Netflix no longer distributes it; a copy is at "
        "kaggle.com/datasets/netflix-inc/netflix-prize-data",
        folds=MappingProxyType({"probe": "probe.txt"}),
        read_fold=_read_probe,
    ),
    **{f"amazon-2023-{row[0].lower().replace('_', '-')}": _amazon(*row) for row in CATEGORIES},
}
