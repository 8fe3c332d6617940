"""The case that backends are tuned on: a split of the training ratings of another case."""

from __future__ import annotations

from dataclasses import replace

from bench.datasets import content_hash, permutation
from bench.records import CaseFacts, Target
from bench.text.progress import Notify

from .case import Case
from .encode import EncodedData
from .reference import compute_reference
from .targets import baselines, ladder, matching_target

_SHARE = 0.1  # of the training ratings, for validation
_SEED = 1  # of the split

# The target where none is left, because biases alone are as good as factors: no fit reaches it.
_UNREACHABLE = Target(factor=1.0, mse=0.0, dropped="")


def inner_case(case: Case, notify: Notify) -> Case:
    """Return a case whose ratings are the training ratings of another, split 90/10 at random.

    So the validation and test ratings of the other case have no part in what is chosen on this one.
    Objective and rows are those of the other case; validation rows with a user or item that is
    unseen in training are left out. The reference is of a single seed. The only target is the
    matching one, or 0 if that was dropped.
    """
    whole = case.data.train
    order = permutation(len(whole), _SEED)
    n_validation = int(_SHARE * len(whole))
    train, validation = whole.take(order[n_validation:]), whole.take(order[:n_validation])
    seen = (train.user_counts()[validation.users] > 0) & (train.item_counts()[validation.items] > 0)
    validation = validation.take(seen.nonzero()[0])
    data = EncodedData(
        train=train,
        validation=validation,
        test=None,
        hash=content_hash(train.users, train.items, validation.users, validation.items),
        dropped="",
    )
    notify("fitting the baselines on the split for tuning")
    scores = baselines(train, validation, None)
    reference = compute_reference(train, validation, None, case.objective, notify, seeds=(0,))
    target = matching_target(ladder(reference, scores)) or _UNREACHABLE
    return replace(
        case,
        data=data,
        facts=CaseFacts({**case.facts, "data_hash": data.hash}),
        baselines=scores,
        list_baselines={},
        reference=reference,
        ladder=[target],
        target=target,
    )
