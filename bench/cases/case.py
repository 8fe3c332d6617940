"""A case: data, split and objective, with their reference, baselines and targets."""

from __future__ import annotations

from dataclasses import dataclass

from backends import Objective
from bench.datasets import Dataset
from bench.records import CaseFacts, ListMetrics, Reference, Score, Target
from bench.text.progress import Notify

from .encode import EncodedData, encode
from .lists import baseline_lists
from .reference import find_reference
from .targets import baselines, ladder, matching_target


@dataclass(frozen=True)
class Case:
    """What backends are measured on.

    Attributes
    ----------
    data, objective
        The ratings, and what solvers minimise.
    facts
        The case's entry in records.
    baselines
        Scores by name of models without factors.
    list_baselines
        Metrics by name of lists without a model.
    reference
        Scores of ALS at convergence.
    ladder
        Targets, loosest first, including those that had to be dropped.
    target
        The target of the timed rounds; None if all candidates were dropped.
    """

    data: EncodedData
    objective: Objective
    facts: CaseFacts
    baselines: dict[str, Score]
    list_baselines: dict[str, ListMetrics]
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
    quick: bool = False,
    notify: Notify = lambda text: None,
) -> Case:
    """Encode a data set, and compute its baselines, reference and targets.

    The reference can take minutes to compute the first time; it is stored for the next.

    Parameters
    ----------
    dataset
        Ratings and their split.
    rank
        Number of factors.
    seed
        Seed of the data and its split, for the record.
    reg, damping
        Regularisation; None for the values that serve ALS best.
    quick
        Whether the reference may be a rough one; see `find_reference`.
    notify
        Called with progress messages.

    Raises
    ------
    ValueError
        When no validation ratings are left.
    """
    data = encode(dataset)
    if not len(data.validation):
        raise ValueError(
            f"{dataset.name} leaves no validation ratings ({data.dropped}); "
            "it is too small to measure on"
        )
    notify("fitting the baselines")
    scores = baselines(data.train, data.validation, data.test)
    objective, reference = find_reference(
        data.train,
        data.validation,
        data.test,
        rank=rank,
        reg=reg,
        damping=damping,
        key=data.hash,
        quick=quick,
        notify=notify,
    )
    targets = ladder(reference, scores)
    return Case(
        data=data,
        objective=objective,
        facts=_facts(dataset, data, objective, seed),
        baselines=scores,
        list_baselines=(
            baseline_lists(data.train, data.test, data.validation)
            if data.test
            else baseline_lists(data.train, data.validation)
        ),
        reference=reference,
        ladder=targets,
        target=matching_target(targets),
    )


def _facts(dataset: Dataset, data: EncodedData, objective: Objective, seed: int) -> CaseFacts:
    """Return the case's entry for records."""
    return CaseFacts(
        name=f"{dataset.name}, rank {objective.rank}, seed {seed}",
        dataset=dataset.name,
        split=dataset.split.name,
        seed=seed,
        rank=objective.rank,
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
        reading=dataset.reading,
    )
