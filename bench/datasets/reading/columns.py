"""Which columns are user, item, rating and timestamp: by their names, or as the user states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.datasets.errors import DatasetError

from .options import Columns, Source

ROLES = ("user", "item", "rating", "timestamp")

# Unambiguous column names, in lower case without spaces, "_", "-" and ".". If a role has none of
# its first set, those of its second set are looked for: a file may have both user_id and username.
_THINGS = (
    "movie", "film", "anime", "manga", "book", "product", "artist", "album", "track", "song",
    "joke", "game", "recipe", "business", "restaurant", "beer", "wine", "hotel", "course", "show",
    "venue", "place", "app",
)  # fmt: skip
KNOWN_NAMES = {
    "user": (
        {"user", "users", "userid", "uid", "reviewerid", "customerid", "memberid", "raterid"},
        {"username", "reviewer", "customer", "member", "rater", "profilename", "reviewername",
         "reviewprofilename"},
    ),
    "item": (
        {"item", "items", "itemid", "iid", "isbn", "asin", "parentasin", "beerbeerid", "gmapid"}
        | {thing + end for thing in _THINGS for end in ("", "id")},
        {"itemname"} | {thing + end for thing in _THINGS for end in ("name", "title")},
    ),
    "rating": (
        {"rating", "ratings", "score", "stars", "bookrating", "userrating", "overall", "vote",
         "ratingvalue", "movierating", "myscore", "reviewscore", "reviewrating", "reviewstars"},
        {"rate", "grade", "preference", "reviewoverall", "userscore", "starrating"},
    ),
    "timestamp": (
        {"timestamp", "timestamps", "time", "date", "datetime", "unixtime", "unixreviewtime"},
        {"ts", "tstamp", "createdat", "ratedat", "ratingdate", "ratingtime", "reviewtime",
         "reviewdate", "ratingtimestamp"},
    ),
}  # fmt: skip

# RecBole's headers have the type of each column after its name.
_RECBOLE_TYPES = ("token", "token_seq", "float", "float_seq")

_CHOOSE = (
    "Name the columns user, item and rating, or {}, or whatever their names or positions (from 0) "
    "are"
)
_EXAMPLE = (0, 1, 2)


def role_of(name: str) -> str | None:
    """Return the role of a column with this name, or None if the name is not a known one."""
    plain = _plain(name)
    for role, tiers in KNOWN_NAMES.items():
        if any(plain in names for names in tiers):
            return role
    return None


def recognised_roles(names: Sequence[str]) -> list[str | None]:
    """Return the role of each column; a name of a second set only counts if no first one does."""
    plain = [_plain(name) for name in names]
    roles: list[str | None] = [None] * len(names)
    for role, tiers in KNOWN_NAMES.items():
        for known in tiers:
            found = [position for position, name in enumerate(plain) if name in known]
            for position in found:
                roles[position] = role
            if found:
                break
    return roles


def choose_columns(
    names: Sequence[str], header: bool, wanted: Columns | None, source: Source
) -> tuple[int, ...]:
    """Return the positions of user, item, rating and, if there is one, the timestamp.

    Parameters
    ----------
    names
        The columns' names. Without a header only their number matters.
    header
        Whether the columns have names.
    wanted
        Names or positions of three or four columns; None to recognise them by their names or,
        without a header, to take them in their order.
    source
        For errors.

    Raises
    ------
    DatasetError
        If a column is missing or ambiguous; the message lists the columns of the file.
    """
    has = f"{source} has {len(names)} columns"
    if header:
        has += f" ({', '.join(name[:40] for name in names[:40])})"
    if wanted is None and header:
        wanted = _recognised(recognised_roles(names), has, source)
    elif wanted is None:
        if len(names) not in (3, 4):
            raise DatasetError(
                f"{has} and no header, so user, item and rating cannot be recognised. "
                f"{source.advice(_CHOOSE, columns=_EXAMPLE)}"
            )
        wanted = range(len(names))
    if isinstance(wanted, str) or not isinstance(wanted, Sequence) or len(wanted) not in (3, 4):
        raise DatasetError(
            f"{source.option('columns', wanted)} must be three or four names or positions: those "
            "of user, item, rating and, if wanted, timestamp"
        )
    positions = tuple(
        _position(column, names if header else (), len(names), has, source) for column in wanted
    )
    if len(set(positions)) < len(positions):
        given = source.option("columns", wanted)
        raise DatasetError(f"{given} contains a column twice. {has}. {_how(source)}")
    return positions


def _recognised(roles: list[str | None], has: str, source: Source) -> list[int]:
    """Return the positions of the columns with known roles."""
    for role in ROLES:
        if roles.count(role) > 1:
            raise DatasetError(
                f"{has}, and {roles.count(role)} of them could be the {role}. "
                f"{source.advice(_CHOOSE, columns=('who', 'what', 'stars'))}"
            )
    missing = [role for role in ROLES[:3] if role not in roles]
    if missing:
        raise DatasetError(
            f"{has}, but none that is recognised as the {' or the '.join(missing)}. "
            f"{source.advice(_CHOOSE, columns=('who', 'what', 'stars'))}"
        )
    return [roles.index(role) for role in ROLES if role in roles]


def _position(column: str | int, names: Sequence[str], n: int, has: str, source: Source) -> int:
    """Return the position of a column that is given by name or position, of ``n`` columns."""
    if isinstance(column, str):
        n_found = names.count(column)
        if n_found != 1:
            raise DatasetError(f"{has}, but {n_found or 'none'} named {column!r}. {_how(source)}")
        return names.index(column)
    # A bool is an int to Python, but True is not meant as position 1.
    is_integer = isinstance(column, int | np.integer) and not isinstance(column, bool)
    if is_integer and column >= n and names.count(str(column)) == 1:  # a name of digits
        return names.index(str(column))
    if not is_integer or not 0 <= column < n:
        raise DatasetError(
            f"{has}, but {column!r} is neither the name nor the position (from 0) of one. "
            f"{_how(source)}"
        )
    return int(column)


def _how(source: Source) -> str:
    sentence = "{}, names or positions (from 0) of user, item and rating in this order"
    return source.advice(sentence, columns=_EXAMPLE)


def _plain(name: str) -> str:
    name, _, kind = name.strip().partition(":")
    if kind and kind not in _RECBOLE_TYPES:
        name = f"{name}:{kind}"
    return "".join(letter for letter in name.lower() if letter not in " _-./")
