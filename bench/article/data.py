"""The article's data: a random 80/20 split, encoded by first appearance.

The validation rows are also encoded as the article's code does it, by mistake twice. Reading files
and generating the twin are in `bench.datasets`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backends import RatingEncoder, Ratings
from bench.datasets import DatasetError, RawRatings, permutation

from .results import DataFacts, Mistaken

VALIDATION_SHARE = 0.2


class ArticleData(NamedTuple):
    """Ratings by row number; ``twice`` has the validation ratings on the pairs that were scored.

    These are the wrong pairs, by encoding twice; ``validation`` has the right ones.
    """

    train: Ratings
    validation: Ratings
    twice: Ratings
    facts: DataFacts


def prepare(name: str, raw: RawRatings, seed: int) -> ArticleData:
    """Return the ratings, split at random and encoded.

    Training rows stay in their random order, and ids get row numbers in the order of appearance.

    Raises
    ------
    DatasetError
        If no validation rating has a user and an item that are in training.
    """
    order = permutation(len(raw.ratings), seed)
    n_train = len(order) - round(len(order) * VALIDATION_SHARE)
    held_out = raw.take(order[n_train:])
    train = Ratings.from_arrays(*raw.take(order[:n_train])[:3])
    assert train.encoder is not None
    validation = train.encoder.encode_new(*held_out[:3]).ratings
    if not len(validation):
        raise DatasetError(
            f"{name}: none of the {len(held_out.ratings)} validation ratings has a user and an "
            f"item of the {n_train} training ratings; give more ratings"
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
    """Return held-out rows as the notebooks encode them, after encoding the training rows twice.

    The second encoding maps each row number to itself. Raw ids are then looked up among the row
    numbers: an id that is too large for one is dropped as unseen, and any other is taken for the
    row of that number. Text is no row number, so that all ratings of text ids are dropped.
    """
    again = Ratings.from_arrays(train.users, train.items, train.ratings).encoder
    assert again is not None and train.encoder is not None
    kinds = {ids.dtype.kind for ids in (train.encoder.users, train.encoder.items)}
    if not kinds <= {"i", "u"}:
        return again.encode_new([], [], []).ratings
    return again.encode_new(*held_out[:3]).ratings


def _mistaken(encoder: RatingEncoder, twice: Ratings) -> Mistaken | None:
    """Return the first row that is scored with the factors of another user and another item."""
    wrong_user = encoder.user_ids(twice.users) != twice.users
    wrong_item = encoder.item_ids(twice.items) != twice.items
    wrong = wrong_user & wrong_item
    if not wrong.any():
        return None
    first = int(np.argmax(wrong))
    user, item = int(twice.users[first]), int(twice.items[first])
    # The raw ids of the rating are the row numbers themselves: that is the mistake.
    return Mistaken(
        user=str(user),
        item=str(item),
        taken_user=str(encoder.user_ids([user])[0]),
        taken_item=str(encoder.item_ids([item])[0]),
    )


def _rows_only(ratings: Ratings) -> Ratings:
    """Return ratings without raw ids, which the solvers do not need."""
    return Ratings(ratings.users, ratings.items, ratings.ratings, ratings.n_users, ratings.n_items)
