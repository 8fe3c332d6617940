"""A case: data, split and objective, with the reference, baselines and targets that every backend is held against."""

from __future__ import annotations

from dataclasses import dataclass

from backends import Objective
from bench.datasets import Dataset
from bench.records import CaseFacts, Reference, Score, Target
from bench.text.progress import Say

from .encode import EncodedData, encode
from .reference import find_reference
from .targets import baselines, ladder, matching_target


@dataclass(frozen=True)
class Case:
    """What a backend is measured on."""

    data: EncodedData
    objective: Objective
    facts: CaseFacts
    baselines: dict[str, Score]
    reference: Reference
    ladder: list[Target]
    target: Target | None


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
    return Case(data, objective, facts, scores, reference, rungs, matching_target(rungs))
