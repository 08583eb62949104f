"""Errors that a user can act on: each message names what is wrong, where, and what to do."""


class QuarryError(Exception):
    """Base of all errors this package raises on purpose."""


class ConfigError(QuarryError):
    """A profile or an environment variable is wrong."""


class StoreError(QuarryError):
    """The data root cannot be read or written."""


class ModelError(QuarryError):
    """The embedding model cannot be loaded, or is not the one that was pinned."""


class IndexCorruptError(QuarryError):
    """A published index does not match its manifest."""
