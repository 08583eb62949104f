"""Running a model: device, precision, batches. One model is loaded once in a process."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from quarry_dagster.embed.model import load_error, resolve_model, revision_of
from quarry_dagster.errors import ConfigError
from quarry_dagster.profiles import Embedding

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def vector_id(settings: Embedding) -> str:
    """Names everything that changes a text's vector: model, revision, precision, tokens read.

    Vectors with one id are comparable and are never computed twice.
    """
    revision = (revision_of(settings.model, settings.revision) or "local")[:12]
    return f"{settings.model}@{revision} {settings.precision} {settings.max_tokens}t"


class Encoder:
    """A loaded model."""

    def __init__(self, model: SentenceTransformer, settings: Embedding) -> None:
        self._model = model
        self._settings = settings
        self.device = str(model.device)
        self.dim = int(model.get_embedding_dimension() or 0)

    def encode(self, texts: Sequence[str], advance: Callable[[int], None] | None = None) -> np.ndarray:
        """Vectors of texts: float32, shape (len(texts), dim), unit norm, in the order of the texts.

        `advance` is called with the number of texts done since the last call.
        """
        out = np.empty((len(texts), self.dim), dtype=np.float32)
        for rows in self._batches(texts):
            vectors = self._model.encode(
                [texts[i] for i in rows],
                batch_size=len(rows),
                convert_to_numpy=True,
                normalize_embeddings=False,
                show_progress_bar=False,
            ).astype(np.float32)
            # In float32 whatever the model's precision, so that a cosine is a plain dot product.
            out[rows] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            if advance:
                advance(len(rows))
        return out

    def _batches(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Rows of texts of like length: padding is computed like text, so a batch should need little of it."""
        # The model reads no further than max_tokens, about 6 characters each: longer texts count as equal.
        limit = self._settings.max_tokens * 6
        order = sorted(range(len(texts)), key=lambda i: -min(len(texts[i]), limit))
        size = self._settings.batch_size
        for start in range(0, len(order), size):
            yield order[start : start + size]


def load_encoder(settings: Embedding, gpu_memory_fraction: float) -> Encoder:
    """The settings' model, loaded at the first call in a process and kept.

    Raises:
        ModelError: it cannot be loaded; the message says what to do.
        ConfigError: the profile asks for a GPU and torch sees none.
    """
    return _load(settings, gpu_memory_fraction)  # pyright: ignore[reportArgumentType]  (frozen: hashable)


@lru_cache(maxsize=1)
def _load(settings: Embedding, gpu_memory_fraction: float) -> Encoder:
    source, revision = resolve_model(settings.model, settings.revision)

    import torch
    import transformers
    from sentence_transformers import SentenceTransformer

    has_gpu = torch.cuda.is_available()
    if settings.device == "cuda" and not has_gpu:
        raise ConfigError(
            "the profile sets embedding.device: cuda, but torch sees no CUDA GPU; "
            "set it to auto or cpu, or install a CUDA build of torch (quarry doctor shows what is there)"
        )
    device = "cuda" if has_gpu and settings.device != "cpu" else "cpu"
    if device == "cuda":
        torch.cuda.set_per_process_memory_fraction(gpu_memory_fraction)
    transformers.utils.logging.disable_progress_bar()
    try:
        model = SentenceTransformer(
            source,
            revision=revision,
            device=device,
            trust_remote_code=False,
            model_kwargs={"dtype": getattr(torch, settings.precision)},
        )
    except (OSError, ValueError) as e:
        raise load_error(settings.model, revision, e) from e
    model.max_seq_length = min(settings.max_tokens, model.max_seq_length or settings.max_tokens)
    model.eval()
    gc.collect()
    return Encoder(model, settings)
