"""The article's data: a random 80/20 split, encoded by first appearance - and the validation rows encoded twice.

Reading files and making the twin live in `bench.datasets`; here is only what the article does with the rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends import RatingEncoder, Ratings
from bench.datasets import DatasetError, RawRatings, permutation

from .results import DataFacts, Mistaken

VALIDATION_SHARE = 0.2


class ArticleData(NamedTuple):
    """Rows of the factor tables. ``twice`` holds the validation ratings on the pairs that the article scored."""

    train: Ratings
    validation: Ratings
    twice: Ratings
    facts: DataFacts


def prepare(name: str, raw: RawRatings, seed: int) -> ArticleData:
    """Split at random and encode; training rows stay in their random order, in which ids get their rows.

    Raises
    ------
    DatasetError
        When no validation rating is left.
    """
    order = permutation(len(raw.ratings), seed)
    n_train = len(order) - round(len(order) * VALIDATION_SHARE)
    held_out = raw.take(order[n_train:])
    train = Ratings.from_arrays(*raw.take(order[:n_train])[:3])
    assert train.encoder is not None
    validation = train.encoder.encode_new(*held_out[:3]).ratings
    if not len(validation):
        raise DatasetError(
            f"{name}: none of the {len(held_out.ratings)} validation ratings has a user and an item of the {n_train} "
            "training ratings; give more ratings"
        )
    twice = encode_twice(train, held_out)
    facts = DataFacts(
        name=name,
        seed=seed,
        n_ratings=len(order),
        n_users=train.n_users,
        n_items=train.n_items,
        n_train=n_train,
        n_held_out=len(held_out.ratings),
        n_validation=len(validation),
        n_twice=len(twice),
        dropped=dict(raw.dropped),
        mistaken=_mistaken(train.encoder, twice),
    )
    return ArticleData(_rows_only(train), _rows_only(validation), _rows_only(twice), facts)


def encode_twice(train: Ratings, held_out: RawRatings) -> Ratings:
    """Encode held-out rows as the notebooks do, which encode the training frame once more before.

    Encoding what is encoded already maps each row number to itself. Raw ids are then looked up among row numbers: one
    that is too large to be a row is dropped as unseen, any other is taken for the row of that number.
    """
    again = Ratings.from_arrays(train.users, train.items, train.ratings).encoder
    assert again is not None
    return again.encode_new(*held_out[:3]).ratings


def _mistaken(encoder: RatingEncoder, twice: Ratings) -> Mistaken | None:
    """Return the first row that is scored with another user's and another item's factors; None where there is none."""
    wrong = (encoder.users[twice.users] != twice.users) & (encoder.items[twice.items] != twice.items)
    if not wrong.any():
        return None
    user, item = _at(twice.users, wrong), _at(twice.items, wrong)
    return Mistaken(
        user=str(user), item=str(item), taken_user=str(encoder.users[user]), taken_item=str(encoder.items[item])
    )


def _at(rows: NDArray[np.int32], wrong: NDArray[Any]) -> int:
    return int(rows[int(np.argmax(wrong))])


def _rows_only(ratings: Ratings) -> Ratings:
    """Forget the raw ids: the solvers need none."""
    return Ratings(ratings.users, ratings.items, ratings.ratings, ratings.n_users, ratings.n_items)
