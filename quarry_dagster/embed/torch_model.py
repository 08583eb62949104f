"""The model as it was published, run by torch: on the CPU, or on every GPU it sees."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from quarry_dagster.embed.model import load_error, resolve_model
from quarry_dagster.errors import ConfigError
from quarry_dagster.profiles.settings import Embedding

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


def find_devices(settings: Embedding, gpu_memory_fraction: float) -> list[str]:
    """Where to run a model: on all GPUs that torch sees (CUDA_VISIBLE_DEVICES limits them), or on the CPU.

    Of each GPU's memory this process may allocate `gpu_memory_fraction`.

    Raises:
        ConfigError: the profile asks for a GPU and torch sees none.
    """
    import torch

    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if settings.device == "cuda" and not gpus:
        raise ConfigError(
            "the profile sets embedding.device: cuda, but torch sees no CUDA GPU; "
            "set it to auto or cpu, or install a CUDA build of torch (quarry doctor shows what is there)"
        )
    if settings.device == "cpu" or not gpus:
        return ["cpu"]
    for gpu in gpus:
        torch.cuda.set_per_process_memory_fraction(gpu_memory_fraction, gpu)
    return gpus


class TorchModel:
    """A model on the CPU or on GPUs, a copy on each."""

    adds_special = True

    def __init__(self, settings: Embedding, precision: str, devices: Sequence[str]) -> None:
        """`devices` are torch's names, as :func:`find_devices` gives them.

        Raises:
            ModelError: it cannot be loaded; the message says what to do.
        """
        models = [load_sentence_transformer(settings, precision, device) for device in devices]
        # While a GPU computes one batch the next is on its way there.
        self.at_once = sum(1 if device == "cpu" else 2 for device in devices)
        self._free: SimpleQueue[tuple[SentenceTransformer, str]] = SimpleQueue()
        for model, device in [*zip(models, devices, strict=True)] * 2:
            self._free.put((model, device))
        self.device = ", ".join(devices)
        self.tokenizer = models[0].tokenizer.backend_tokenizer
        self.pad = int(models[0].tokenizer.pad_token_id or 0)
        self.max_tokens = models[0].max_seq_length
        self.dim = int(models[0].get_embedding_dimension() or 0)

    def forward(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        import torch

        features = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        model, device = self._free.get()
        try:
            if device != "cpu":  # from pinned memory, the copy does not hold up what the GPU is doing
                features = {k: t.pin_memory().to(device, non_blocking=True) for k, t in features.items()}
            with torch.inference_mode():
                return model(features)["sentence_embedding"].float().cpu().numpy()
        finally:
            self._free.put((model, device))
