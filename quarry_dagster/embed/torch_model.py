"""The model as it was published, run by torch."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import numpy as np

from quarry_dagster.embed.model import load_error, resolve_model
from quarry_dagster.errors import ConfigError
from quarry_dagster.profiles import Embedding

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def load_sentence_transformer(settings: Embedding, precision: str, device: str) -> SentenceTransformer:
    """The settings' model, loaded by sentence-transformers.

    Raises:
        ModelError: it cannot be loaded; the message says what to do.
    """
    source, revision = resolve_model(settings.model, settings.revision)

    import torch
    import transformers
    from sentence_transformers import SentenceTransformer

    transformers.utils.logging.disable_progress_bar()
    try:
        model = SentenceTransformer(
            source,
            revision=revision,
            device=device,
            trust_remote_code=False,
            model_kwargs={"dtype": getattr(torch, precision)},
        )
    except (OSError, ValueError) as e:
        raise load_error(settings.model, revision, e) from e
    model.eval()
    gc.collect()
    return model


class TorchModel:
    """A model on a CPU or a GPU."""

    adds_special = True

    def __init__(self, settings: Embedding, precision: str, gpu_memory_fraction: float) -> None:
        """
        Raises:
            ModelError: it cannot be loaded; the message says what to do.
            ConfigError: the profile asks for a GPU and torch sees none.
        """
        import torch

        has_gpu = torch.cuda.is_available()
        if settings.device == "cuda" and not has_gpu:
            raise ConfigError(
                "the profile sets embedding.device: cuda, but torch sees no CUDA GPU; "
                "set it to auto or cpu, or install a CUDA build of torch (quarry doctor shows what is there)"
            )
        self.device = "cuda" if has_gpu and settings.device != "cpu" else "cpu"
        if self.device == "cuda":
            torch.cuda.set_per_process_memory_fraction(gpu_memory_fraction)
        self._model = load_sentence_transformer(settings, precision, self.device)
        self.tokenizer = self._model.tokenizer.backend_tokenizer
        self.pad = int(self._model.tokenizer.pad_token_id or 0)
        self.max_tokens = self._model.max_seq_length
        self.dim = int(self._model.get_embedding_dimension() or 0)

    def forward(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        import torch

        features = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        if self.device == "cuda":  # from pinned memory, the copy does not hold up what the GPU is doing
            features = {k: t.pin_memory().to(self.device, non_blocking=True) for k, t in features.items()}
        with torch.inference_mode():
            return self._model(features)["sentence_embedding"].float().cpu().numpy()
