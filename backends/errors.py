"""The errors and warnings a user can meet. Each message says what is wrong, what was given, what to do."""

__all__ = [
    "BackendUnavailable",
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
    """A known backend that cannot run here; the message names the missing package or device and the remedy."""


class UnknownIdError(LookupError):
    """User or item ids that the model was not trained on."""


class NotFittedError(ValueError, AttributeError):
    """A fitted attribute was asked for before a successful ``fit`` (both bases, as in scikit-learn)."""


class ModelFileError(ValueError):
    """A file that is not a saved model, or one of a version that this release does not read."""


class DivergenceWarning(RuntimeWarning):
    """A fit whose loss became non-finite or exploded; it has no model."""
