"""The error that this package raises for data that is missing or cannot be read."""


class DatasetError(ValueError):
    """Data is missing or cannot be read; the message names the file and says what to do."""
