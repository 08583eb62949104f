"""Text to vectors: the model, how it is run on the profile's device, and nothing of where vectors are kept."""

from quarry_dagster.embed.encoder import Encoder, load_encoder, vector_id

__all__ = ["Encoder", "load_encoder", "vector_id"]
