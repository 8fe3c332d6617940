"""A case: data, split and objective, with the reference, baselines and targets that every backend is held against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backends import Objective, Ratings

from .datasets import Dataset, content_hash, permutation
from .gate import baselines, ladder, matching_rung
from .records import CaseFacts, Reference, Rung, Score
from .reference import Say, find_reference


@dataclass(frozen=True)
class EncodedData:
    """The three parts as rows. ``hash`` stands for all of their content."""

    train: Ratings
    validation: Ratings
    test: Ratings | None
    hash: str
    dropped: str


@dataclass(frozen=True)
class Case:
    """What a backend is measured on."""

    data: EncodedData
    objective: Objective
    facts: CaseFacts
    baselines: dict[str, Score]
    reference: Reference
    ladder: list[Rung]
    target: Rung | None


def encode(dataset: Dataset) -> EncodedData:
    """Encode by the training rows' ids; rows of the other parts with an unseen user or item are dropped and counted."""
    raw, split = dataset.raw, dataset.split
    # In random order, as solvers are promised: sorted input would be a present to those that sort with NumPy.
    train = Ratings.from_arrays(*raw.take(split.train[permutation(len(split.train), seed=0)])[:3])
    assert train.encoder is not None
    parts: dict[str, Ratings | None] = {"test": None}
    notes = [f"{n} rows: {why}" for why, n in raw.dropped.items()] + [split.note] * bool(split.note)
    held_out = {"validation": raw.take(split.validation)}
    if split.test is not None:
        held_out["test"] = raw.take(split.test)
    elif dataset.official_test is not None:
        held_out["test"] = dataset.official_test
    for name, rows in held_out.items():
        encoded = train.encoder.encode_new(*rows[:3])
        parts[name] = _rows_only(encoded.ratings)
        if encoded.n_dropped:
            notes.append(
                f"{encoded.n_dropped} of {len(rows.ratings)} {name} rows have a user or item unseen in training"
            )
    plain, validation, test = _rows_only(train), parts["validation"], parts["test"]
    assert validation is not None
    arrays = [
        array
        for part in (plain, validation, test)
        if part is not None
        for array in (part.users, part.items, part.ratings.astype(np.float64))
    ]
    return EncodedData(plain, validation, test, content_hash(*arrays), "; ".join(notes))


def build_case(
    dataset: Dataset,
    *,
    rank: int,
    seed: int,
    reg: float | None = None,
    damping: float | None = None,
    say: Say = lambda text: None,
) -> Case:
    """Encode a data set and find its baselines, reference and targets (which can take minutes the first time).

    Raises
    ------
    ValueError
        When the validation part is empty.
    """
    data = encode(dataset)
    if not len(data.validation):
        raise ValueError(f"{dataset.name} leaves no validation ratings ({data.dropped}); it is too small to measure on")
    say("fitting the baselines")
    scores = baselines(data.train, data.validation, data.test)
    objective, reference = find_reference(
        *(data.train, data.validation, data.test), rank=rank, reg=reg, damping=damping, key=data.hash, say=say
    )
    rungs = ladder(reference, scores)
    facts = CaseFacts(
        name=f"{dataset.name}, rank {rank}, seed {seed}",
        dataset=dataset.name,
        split=dataset.split.name,
        seed=seed,
        rank=rank,
        reg=objective.reg,
        reg_scaling=objective.reg_scaling,
        bias=objective.bias,
        reg_unit=objective.reg_unit,
        damping=objective.damping,
        bias_reg=objective.bias_reg,
        user_bias_damping=objective.user_bias_damping,
        item_bias_damping=objective.item_bias_damping,
        n_users=data.train.n_users,
        n_items=data.train.n_items,
        n_train=len(data.train),
        n_validation=len(data.validation),
        n_test=len(data.test) if data.test is not None else 0,
        dropped=data.dropped,
        data_hash=data.hash,
    )
    return Case(data, objective, facts, scores, reference, rungs, matching_rung(rungs))


def _rows_only(ratings: Ratings) -> Ratings:
    """Forget the raw ids: rows are what goes to a worker and what a solver sees."""
    return Ratings(ratings.users, ratings.items, ratings.ratings, ratings.n_users, ratings.n_items)
