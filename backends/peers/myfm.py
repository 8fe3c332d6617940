"""myFM's Bayesian factorisation machine on users and items alone, by Gibbs sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from backends._arrays import Float
from backends._validation import check_count
from backends.objective import Objective, Parameters
from backends.ratings import Ratings

from .peer import ONE_THREAD, OWN_BIASES, RESTARTS, Peer, PeerFacts, posterior_mean


class _Session(NamedTuple):
    features: Any  # a csr_matrix with two ones in each row: the user's column and the item's
    targets: Float
    shape: tuple[int, int]
    seed: int
    fitted: dict[str, Any]  # the library's model, once there is one


@dataclass(kw_only=True, eq=False)
class MyFM(Peer):
    """``myfm.MyFMRegressor`` with users and items as the two groups of features.

    An epoch is one sample of all parameters. The model is the mean of what the samples after the
    first ``burn_in`` predict, of the last ``samples`` of them: its rank is that many times ``rank``
    (see `posterior_mean`). Up to ``burn_in`` epochs it is the last sample alone.

    Parameters
    ----------
    burn_in, samples
        See above.
    """

    facts: ClassVar[PeerFacts] = PeerFacts(
        library="myfm",
        licence="MIT",
        minimises="nothing: samples from the posterior, whose priors it samples as well",
        biases=OWN_BIASES,
        start="its own: normal, standard deviation 0.1",
        seed="all its random numbers",
        stepping=RESTARTS,
        threads=ONE_THREAD,
        precision="float64",
    )
    modules: ClassVar[tuple[str, ...]] = ("myfm",)
    steppable: ClassVar[bool] = False
    unused: ClassVar[tuple[str, ...]] = ("reg", "bias")
    # Its priors are sampled too; what is left is how it starts.
    search_space: ClassVar[dict[str, tuple[float, float]]] = {"start_scale": (0.02, 0.5)}

    start_scale: float = 0.1
    burn_in: int = 5
    samples: int = 20

    def begin(self, train: Ratings, targets: Float, initial: Parameters, seed: int) -> _Session:
        """Return the features: one column per user and one per item."""
        from scipy.sparse import csr_matrix

        n, shape = len(train), (train.n_users, train.n_items)
        columns = np.empty(2 * n, np.int64)
        columns[::2], columns[1::2] = train.users, train.n_users + train.items.astype(np.int64)
        starts = np.arange(0, 2 * n + 1, 2)
        features = csr_matrix((np.ones(2 * n), columns, starts), shape=(n, sum(shape)))
        return _Session(features, targets.astype(np.float64), shape, seed, {})

    def fit_epochs(self, session: _Session, n_epochs: int) -> None:
        """Sample from the beginning."""
        import myfm

        session.fitted["model"] = myfm.MyFMRegressor(
            rank=self.rank, init_stdev=self.start_scale, random_seed=session.seed
        ).fit(
            session.features,
            session.targets,
            n_iter=n_epochs,
            n_kept_samples=min(max(n_epochs - self.burn_in, 1), self.samples),
            group_shapes=list(session.shape),
        )

    def read(self, session: _Session) -> Parameters:
        """Return the mean of the samples that the library kept."""
        n_users, n_items = session.shape
        if "model" not in session.fitted:
            p, q = np.zeros((n_users, self.rank)), np.zeros((n_items, self.rank))
            return Parameters(0.0, p[:, 0], q[:, 0], p, q)
        # Their weights and factors are those of the features, users first.
        samples = []
        for one in session.fitted["model"].predictor_.samples:
            (b, c), (p, q) = (np.split(array, [n_users]) for array in (one.w, one.V))
            samples.append(Parameters(one.w0, b, c, p, q))
        return posterior_mean(samples)

    def minimised(self, train: Ratings) -> Objective | None:
        """Return None: it minimises nothing."""
        return None

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_count("samples", self.samples)
        check_count("burn_in", self.burn_in)
