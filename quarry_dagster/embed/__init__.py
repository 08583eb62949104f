"""Text to vectors: the model, how it is run on the profile's device, and nothing of where vectors are kept."""

from quarry_dagster.embed.backend import Choice, choose
from quarry_dagster.embed.encoder import Encoder, load_encoder, vector_id
from quarry_dagster.embed.readiness import check_ready, is_at_hand, why_other_vectors
from quarry_dagster.embed.work import Work, work_done

__all__ = [
    "Choice",
    "Encoder",
    "Work",
    "check_ready",
    "choose",
    "is_at_hand",
    "load_encoder",
    "vector_id",
    "why_other_vectors",
    "work_done",
]
