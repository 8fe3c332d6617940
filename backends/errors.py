"""Errors and warnings. Each message says what is wrong, what was given and what to do."""

__all__ = [
    "BackendUnavailable",
    "ClusterError",
    "DivergenceWarning",
    "ModelFileError",
    "NotFittedError",
    "RatingsError",
    "UnknownBackend",
    "UnknownIdError",
]


class RatingsError(ValueError):
    """Ratings, ids or indices that cannot be factorised as given."""


class UnknownBackend(ValueError):
    """A backend name that is not in the registry."""


class BackendUnavailable(RuntimeError):
    """A known backend that cannot run here; the message says what is missing, and the remedy."""


class ClusterError(RuntimeError):
    """A job on a cluster failed; the message says why, and the remedy."""


class UnknownIdError(LookupError):
    """User or item ids that the model was not trained on."""


class NotFittedError(ValueError, AttributeError):
    """A fitted attribute was read before a successful ``fit``.

    It has both base classes because that of scikit-learn has.
    """


class ModelFileError(ValueError):
    """A file that is not a saved model, or one of a version that this release does not read."""


class DivergenceWarning(RuntimeWarning):
    """A fit whose loss became non-finite or exploded; it has no model."""
