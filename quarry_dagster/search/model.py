"""The model that makes vectors to search a published index with."""

from __future__ import annotations

from quarry_dagster.embed import Encoder, load_encoder, vector_id
from quarry_dagster.errors import ConfigError
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.store import Index


def encoder_of(index: Index, profile: HardwareProfile) -> Encoder:
    """The model that the vectors of an index were made with, loaded once in a process.

    Raises:
        ConfigError: the profile names another one.
        ModelError: it cannot be loaded.
    """
    if index.model != vector_id(profile.embedding):
        raise ConfigError(
            f"the index holds vectors of {index.model!r}, profile {profile.name!r} names "
            f"{vector_id(profile.embedding)!r}: search with the profile that the corpus was made with (--profile)"
        )
    return load_encoder(profile.embedding, profile.hardware.gpu_memory_fraction)
