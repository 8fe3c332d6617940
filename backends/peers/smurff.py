"""SMURFF's Bayesian probabilistic matrix factorisation (BPMF), by Gibbs sampling."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from backends._arrays import Float
from backends._validation import check_count, check_number
from backends.objective import Objective, Parameters
from backends.ratings import Ratings

from .peer import GOES_ON, N_JOBS, FitTo, Peer, PeerFacts, posterior_mean

_MOST_EPOCHS = 1_000_000  # a session has to know how many there will be at most


@dataclass(eq=False)
class _Session:
    training: Any  # a smurff.TrainSession
    path: Path  # to which it writes each sample
    shape: tuple[int, int]
    drawn: int = 0  # samples


@dataclass(kw_only=True, eq=False)
class Smurff(Peer):
    """SMURFF's BPMF (Vander Aa et al. 2019, arXiv:1904.02514; Salakhutdinov and Mnih 2008, ICML).

    An epoch is one sample of all factors. The model is the mean of what the samples after the
    first ``burn_in`` predict, of the last ``samples`` of them: its rank is that many times ``rank``
    (see `posterior_mean`). Up to ``burn_in`` epochs it is the last sample alone. A temporary file
    holds all samples during a fit.

    Parameters
    ----------
    noise_precision
        One over the variance of the ratings around the model, in rating units; the library's
        default is 5.
    burn_in, samples
        See above.
    """

    facts: ClassVar[PeerFacts] = PeerFacts(
        library="smurff",
        licence="MIT",
        minimises="nothing: samples from the posterior, whose priors it samples as well",
        biases="none; the mean is subtracted before",
        start="its own: random",
        seed="all its random numbers",
        stepping=GOES_ON,
        threads=N_JOBS,
        precision="float64",
    )
    modules: ClassVar[tuple[str, ...]] = ("h5py", "smurff")
    unused: ClassVar[tuple[str, ...]] = ("reg",)
    search_space: ClassVar[dict[str, tuple[float, float]]] = {"noise_precision": (0.3, 10.0)}

    fit_to: FitTo = "centred"
    noise_precision: float = 5.0
    burn_in: int = 5
    samples: int = 20

    def begin(self, train: Ratings, targets: Float, initial: Parameters, seed: int) -> _Session:
        """Return a training session that writes each sample to a file."""
        import smurff
        from scipy.sparse import coo_matrix

        shape = train.n_users, train.n_items
        places = train.users, train.items
        matrix = coo_matrix((targets.astype(np.float64), places), shape=shape).tocsr()
        if matrix.nnz < len(train):
            raise ValueError(
                "smurff takes one rating of a pair, and would add up several; drop those before"
            )
        folder = tempfile.mkdtemp(prefix="smurff-")
        path = Path(folder) / "samples.h5"
        training = smurff.TrainSession(
            priors=["normal", "normal"],
            num_latent=self.rank,
            burnin=0,
            nsamples=_MOST_EPOCHS,
            num_threads=self.n_threads,
            seed=seed + 1,  # 0 stands for none
            verbose=0,
            save_freq=1,
            save_name=str(path),
        )
        session = _Session(training, path, shape)
        weakref.finalize(session, shutil.rmtree, folder, ignore_errors=True)
        training.setTrain(matrix, smurff.FixedNoise(self.noise_precision))
        training.init()
        return session

    def fit_epochs(self, session: _Session, n_epochs: int) -> None:
        """Draw further samples."""
        for _ in range(n_epochs):
            session.training.step()
            session.drawn += 1

    def read(self, session: _Session) -> Parameters:
        """Return the mean of the samples that count."""
        import h5py

        n_users, n_items = session.shape
        if not session.drawn:
            p, q = np.zeros((n_users, self.rank)), np.zeros((n_items, self.rank))
            return Parameters(0.0, p[:, 0], q[:, 0], p, q)
        first = max(self.burn_in, session.drawn - self.samples)
        samples = []
        # The session keeps the file open, and locked.
        with h5py.File(session.path, "r", locking=False) as file:
            for number in range(min(first, session.drawn - 1), session.drawn):
                latents = file[f"sample_{number + 1}/latents"]
                p, q = (latents[f"latents_{side}"][()] for side in (0, 1))
                samples.append(Parameters(0.0, np.zeros(n_users), np.zeros(n_items), p, q))
        return posterior_mean(samples)

    def minimised(self, train: Ratings) -> Objective | None:
        """Return None: it minimises nothing."""
        return None

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_number("noise_precision", self.noise_precision, positive=True)
        check_count("samples", self.samples)
        check_count("burn_in", self.burn_in)
