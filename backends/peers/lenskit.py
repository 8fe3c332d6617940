"""LensKit's ``BiasedMFScorer``: exact ALS in Rust on the residuals of damped biases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from backends._arrays import Float
from backends.objective import Objective, Parameters
from backends.ratings import Ratings

from .peer import GOES_ON, OUR_START, Peer, PeerFacts


class _Session(NamedTuple):
    scorer: Any
    trainer: Any
    shape: tuple[int, int]


@dataclass(kw_only=True, eq=False)
class LenskitALS(Peer):
    """``lenskit.als.BiasedMFScorer`` (Ekstrand 2020, CIKM)."""

    facts: ClassVar[PeerFacts] = PeerFacts(
        library="lenskit",
        licence="MIT",
        minimises="squared error + reg for each rating on factors, with biases fixed before",
        biases="its own, damped by 5 ratings: of the items, then of the users",
        start=OUR_START,
        seed="the start",
        stepping=GOES_ON,
        threads="n_jobs of the first fit of a process",
        precision="float32",
    )
    modules: ClassVar[tuple[str, ...]] = ("lenskit.als",)
    unused: ClassVar[tuple[str, ...]] = ("bias",)
    search_space: ClassVar[dict[str, tuple[float, float]]] = {"reg": (0.01, 0.5)}

    reg: float = 0.1

    def begin(self, train: Ratings, targets: Float, initial: Parameters, seed: int) -> _Session:
        """Return a trainer; it computes the biases."""
        import pandas as pd
        from lenskit.als import BiasedMFScorer
        from lenskit.data import from_interactions_df
        from lenskit.parallel.config import init_threading, lenskit_config
        from lenskit.training import TrainingOptions

        threads = {"num_threads": self.n_threads, "num_backend_threads": self.n_threads}
        # Only the first call in a process has an effect.
        init_threading(lenskit_config().parallel.model_copy(update=threads))
        columns = {"user_id": train.users, "item_id": train.items, "rating": targets}
        data = from_interactions_df(pd.DataFrame(columns))
        scorer = BiasedMFScorer(embedding_size=self.rank, epochs=1, regularization=self.reg)
        trainer = scorer.create_trainer(data, TrainingOptions(rng=seed))
        # Its rows are those of the ids that have ratings, in an order of its own.
        scorer.user_embeddings[:] = initial.user_factors[scorer.users.ids()]
        scorer.item_embeddings[:] = initial.item_factors[scorer.items.ids()]
        return _Session(scorer, trainer, (train.n_users, train.n_items))

    def fit_epochs(self, session: _Session, n_epochs: int) -> None:
        """Train on."""
        for _ in range(n_epochs):
            session.trainer.train_epoch()

    def read(self, session: _Session) -> Parameters:
        """Return the factors, the mean and LensKit's biases."""
        scorer, biases = session.scorer, session.scorer.bias
        b, c = (np.zeros(n) for n in session.shape)
        p, q = (np.zeros((n, self.rank)) for n in session.shape)
        users, items = scorer.users.ids(), scorer.items.ids()
        b[users], c[items] = biases.user_biases, biases.item_biases
        p[users], q[items] = scorer.user_embeddings, scorer.item_embeddings
        return Parameters(float(biases.global_bias), b, c, p, q)

    def minimised(self, train: Ratings) -> Objective | None:
        """Return what it minimises over the factors; biases are fixed, without a penalty."""
        return Objective(
            rank=self.rank,
            reg=self.reg,
            reg_unit="rating",
            damping=0.0,
            bias_reg=0.0,
            user_bias_damping=0.0,
            item_bias_damping=0.0,
        )
