"""The one error of this package: data that cannot be read or is not there."""


class DatasetError(ValueError):
    """Data that cannot be read or is not there; the message names the file and what to do."""
