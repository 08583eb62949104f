"""Errors that a user can act on: each message names what is wrong, where, and what to do.

QuarryError
├── ConfigError            a profile, an environment variable or an argument is wrong
├── StoreError             the data root cannot be read or written
├── ModelError             the embedding model cannot be loaded
├── IndexCorruptError      the published index cannot be used
├── CorpusShrankError      a corpus was not published, since it would lose too much
├── ChecksFailedError      a table is not published, since a check of what it is made from stands failed
├── FetchError             a sitemap, or another single URL, cannot be fetched
└── StalePartitionsError   partitions were embedded under another model

ValueError
├── InvalidUrl             a text is no http or https URL
└── InvalidId              a value cannot be the id of a document
"""


class QuarryError(Exception):
    """Base of all errors this package raises on purpose."""


class ConfigError(QuarryError):
    """A profile, an environment variable or an argument is wrong."""


class StoreError(QuarryError):
    """The data root cannot be read or written."""


class ModelError(QuarryError):
    """The embedding model cannot be loaded, or is not the one that was pinned."""


class IndexCorruptError(QuarryError):
    """A published index does not match its manifest."""


class CorpusShrankError(QuarryError):
    """A corpus was not published, since it would have lost more than the bounds allow; the one of before stands."""


class ChecksFailedError(QuarryError):
    """A table was not published, since a blocking check of what it is made from stands failed."""


class FetchError(QuarryError):
    """A document that was asked for by itself cannot be had; the message names URL, outcome and detail."""


class StalePartitionsError(QuarryError):
    """Some partitions were embedded under another model than the profile names."""


class InvalidUrl(ValueError):
    """A text is no absolute http or https URL; the message says why."""


class InvalidId(ValueError):
    """A value cannot be the id of a document; the message says why, and what to do."""
