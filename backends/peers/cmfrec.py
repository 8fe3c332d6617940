"""cmfrec's ``CMF``: exact or approximate ALS, or L-BFGS, with biases among the unknowns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from backends._arrays import Float
from backends._validation import check_choice
from backends.objective import Objective, Parameters, RegScaling
from backends.ratings import Ratings

from .peer import N_JOBS, OWN_BIASES, RESTARTS, Peer, PeerFacts

_FACTS = PeerFacts(
    library="cmfrec",
    licence="MIT",
    minimises="squared error + reg for each rating on factors and biases",
    biases=OWN_BIASES,
    start="its own: random",
    seed="the start",
    stepping=RESTARTS,
    threads=N_JOBS,
    precision="float32 or float64, as dtype says",
)


class _Session(NamedTuple):
    matrix: Any  # a scipy.sparse.coo_matrix of the targets
    seed: int
    fitted: dict[str, Any]  # the library's model, once there is one


@dataclass(kw_only=True, eq=False)
class Cmfrec(Peer):
    """``cmfrec.CMF`` (Cortes 2018, arXiv:1809.00366); the subclasses choose its method."""

    facts: ClassVar[PeerFacts] = _FACTS
    modules: ClassVar[tuple[str, ...]] = ("cmfrec",)
    steppable: ClassVar[bool] = False

    def begin(self, train: Ratings, targets: Float, initial: Parameters, seed: int) -> _Session:
        """Return the targets as a sparse matrix."""
        from scipy.sparse import coo_matrix

        values = targets.astype(self.dtype)
        shape = train.n_users, train.n_items
        return _Session(coo_matrix((values, (train.users, train.items)), shape=shape), seed, {})

    def options(self, n_epochs: int) -> dict[str, Any]:
        """Return the arguments of ``CMF`` that differ between its methods."""
        raise NotImplementedError

    def fit_epochs(self, session: _Session, n_epochs: int) -> None:
        """Fit from the beginning."""
        from cmfrec import CMF

        session.fitted["model"] = CMF(
            k=self.rank,
            lambda_=self.reg,
            user_bias=self.bias,
            item_bias=self.bias,
            center=self.bias,
            use_float=self.dtype == "float32",
            nthreads=self.n_threads,
            random_state=session.seed,
            precompute_for_predictions=False,
            handle_interrupt=False,  # it would end early, and say nothing
            verbose=False,
            **self.options(n_epochs),
        ).fit(session.matrix)

    def read(self, session: _Session) -> Parameters:
        """Return the factors, biases and the mean, which the library keeps fixed."""
        n_users, n_items = session.matrix.shape
        b, c = np.zeros(n_users), np.zeros(n_items)
        if "model" not in session.fitted:
            p, q = np.zeros((n_users, self.rank)), np.zeros((n_items, self.rank))
            return Parameters(0.0, b, c, p, q)
        found = session.fitted["model"]
        if self.bias:
            b, c = found.user_bias_, found.item_bias_
        return Parameters(float(found.glob_mean_), b, c, found.A_, found.B_)


@dataclass(kw_only=True, eq=False)
class CmfrecALS(Cmfrec):
    """Exact ALS: each row's normal equations by Cholesky's method.

    ``reg`` counts for each rating (``scale_lam=True``); the library's default is one penalty for
    all rows, which no other solver here has.
    """

    search_space: ClassVar[dict[str, tuple[float, float]]] = {"reg": (0.01, 0.3)}

    reg: float = 0.05  # what the library's documentation gives for MovieLens 10M with scale_lam

    def options(self, n_epochs: int) -> dict[str, Any]:
        """Return the arguments of ``CMF``; see the base class."""
        return {"method": "als", "use_cg": False, "scale_lam": True, "niter": n_epochs}


@dataclass(kw_only=True, eq=False)
class CmfrecALSCG(CmfrecALS):
    """ALS with three steps of conjugate gradients per row; the library's default method.

    With biases and a rank above 2 it ends a little above the minimum, however many the epochs.
    """

    def options(self, n_epochs: int) -> dict[str, Any]:
        """Return the arguments of ``CMF``; the last iteration is like all others."""
        return super().options(n_epochs) | {"use_cg": True, "finalize_chol": False}


@dataclass(kw_only=True, eq=False)
class CmfrecLBFGS(Cmfrec):
    """L-BFGS over all parameters; an epoch is one of its iterations.

    Parameters
    ----------
    parallelize
        How the gradient is computed by several threads. The library's own default, "separate",
        returned wrong models with two threads in release 3.5.1.post14, with MSEs above that of the
        mean alone, so that "single" is the default here.

    In that release it uses memory that it never wrote, so that what some earlier call left there
    decides whether the model is good or useless. Neither the seed nor ``dtype`` helps.
    """

    facts: ClassVar[PeerFacts] = _FACTS._replace(
        minimises="squared error + reg for each row of factors and each bias"
    )
    search_space: ClassVar[dict[str, tuple[float, float]]] = {"reg": (1.0, 100.0)}

    reg: float = 10.0
    reg_scaling: RegScaling = "per_entity"
    bias_reg: float = 0.0
    user_bias_damping: float = 0.0
    item_bias_damping: float = 0.0
    parallelize: Literal["single", "separate"] = "single"

    def options(self, n_epochs: int) -> dict[str, Any]:
        """Return the arguments of ``CMF``; see the base class."""
        return {"method": "lbfgs", "maxiter": n_epochs, "parallelize": self.parallelize}

    def minimised(self, train: Ratings) -> Objective | None:
        """Return what L-BFGS minimises: the penalty does not grow with a row's ratings."""
        reg = self.reg / len(train)
        return Objective(
            rank=self.rank,
            reg=reg,
            bias=self.bias,
            reg_unit="rating",
            reg_scaling="per_entity",
            damping=0.0,
            bias_reg=reg,
            user_bias_damping=0.0,
            item_bias_damping=0.0,
        )

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_choice("parallelize", self.parallelize, ("single", "separate"))
