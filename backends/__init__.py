"""Solvers for matrix factorisation of explicit ratings, behind one interface.

>>> from backends import Ratings, get_backend
>>> train = Ratings.from_arrays(["ann", "ann", "bob"], [7, 9, 7], [4.0, 2.0, 5.0])
>>> solver = get_backend("numpy", rank=2).fit(train)
>>> solver.predict("bob", 9).shape
(1,)
"""

from backends._engine.interrupt import checkpoint

from ._engine.cores import available_cores, cpu_quota, memory_limit
from .biases import damped_biases
from .errors import (
    BackendUnavailable,
    ClusterError,
    DivergenceWarning,
    ModelFileError,
    NotFittedError,
    RatingsError,
    UnknownBackend,
    UnknownIdError,
)
from .factorizer import Factorizer, State
from .lists import Lists, Recommendation, Similar
from .model import FactorModel
from .objective import Objective, Parameters, Penalties, mean_squared_error
from .ratings import EncodedRatings, RatingEncoder, Ratings
from .registry import backend_class, get_backend, list_backends
from .start import initial_model
from .stopping import EpochRecord, Progress
from .tables import to_arrow

__all__ = [
    "BackendUnavailable",
    "ClusterError",
    "DivergenceWarning",
    "EncodedRatings",
    "EpochRecord",
    "FactorModel",
    "Factorizer",
    "Lists",
    "ModelFileError",
    "NotFittedError",
    "Objective",
    "Parameters",
    "Penalties",
    "Progress",
    "RatingEncoder",
    "Ratings",
    "RatingsError",
    "Recommendation",
    "Similar",
    "State",
    "UnknownBackend",
    "UnknownIdError",
    "available_cores",
    "backend_class",
    "checkpoint",
    "cpu_quota",
    "damped_biases",
    "get_backend",
    "initial_model",
    "list_backends",
    "mean_squared_error",
    "memory_limit",
    "to_arrow",
]
