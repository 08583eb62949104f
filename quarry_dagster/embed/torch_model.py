"""The model as it was published, run by torch: on the CPU, or on every GPU it sees."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from quarry_dagster.embed.model import load_error, resolve_model
from quarry_dagster.errors import ConfigError
from quarry_dagster.gpu import count_gpus, multiply_float32_as
from quarry_dagster.profiles.settings import Embedding

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


_TYPES = {"tf32": "float32"}
"""Torch's type of the numbers of a precision, where it has another name."""


def load_sentence_transformer(settings: Embedding, precision: str, device: str) -> SentenceTransformer:
    """The settings' model, loaded by sentence-transformers, which runs no code that comes with it.

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
            # Both win over what the model's own files say: weights that are a pickle could run anything.
            model_kwargs={"dtype": getattr(torch, _TYPES.get(precision, precision)), "weights_only": True},
        )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as e:  # whatever the libraries say of a model: theirs are a dozen kinds of error
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

    check_device(settings)
    gpus = _visible_gpus()
    if settings.device == "cuda" and not gpus:
        raise _no_gpu("torch sees no CUDA GPU (its build must fit the driver: docs/hardware.md)")
    if settings.device == "cpu" or not gpus:
        return ["cpu"]
    for gpu in gpus:
        torch.cuda.set_per_process_memory_fraction(gpu_memory_fraction, gpu)
    return gpus


def check_device(settings: Embedding) -> None:
    """Look whether torch can have the GPU that the settings ask for; torch is loaded only where NVML sees none.

    A GPU that is there and that torch cannot use nevertheless is found when the model is loaded.

    Raises:
        ConfigError: they ask for one, and there is none, or torch is built without CUDA.
    """
    if settings.device != "cuda":
        return
    found = count_gpus()
    if not _is_built_for_gpus():
        lacking = "torch is built for the CPU alone: install a CUDA build of it"
        raise _no_gpu(lacking if found else "no NVIDIA GPU is found on this machine")
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        raise _no_gpu("CUDA_VISIBLE_DEVICES hides all GPUs")
    if not found and not _visible_gpus():  # in a container torch may see one that NVML does not
        raise _no_gpu("no NVIDIA GPU is found on this machine")


def _is_built_for_gpus() -> bool:
    """Whether the installed torch can use GPUs at all, by what its build noted; torch itself is not loaded."""
    torch = find_spec("torch")
    noted = Path(torch.origin).with_name("version.py") if torch and torch.origin else None
    spec = spec_from_file_location("torch_version", noted) if noted and noted.is_file() else None
    if spec is None or spec.loader is None:
        return True  # it says nothing: the GPU is asked for
    version = module_from_spec(spec)
    spec.loader.exec_module(version)
    return bool(getattr(version, "cuda", None) or getattr(version, "hip", None))


def _visible_gpus() -> list[str]:
    import torch

    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []


def _no_gpu(why: str) -> ConfigError:
    return ConfigError(
        f"the profile sets embedding.device: cuda, but {why}; set it to auto or cpu, or name another profile "
        "(quarry doctor shows what is there)"
    )


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
        self._precision = precision
        self.tokenizer = models[0].tokenizer.backend_tokenizer
        self.pad = int(models[0].tokenizer.pad_token_id or 0)
        self.max_tokens = models[0].max_seq_length
        self.dim = int(models[0].get_embedding_dimension() or 0)

    def forward(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        import torch

        model, device = self._free.get()
        try:
            return self._forward(model, device, ids, mask)
        except torch.OutOfMemoryError:  # another program may have taken of the GPU's memory since
            torch.cuda.empty_cache()
            half = len(ids) // 2
            if not half:
                raise
        finally:
            self._free.put((model, device))
        return np.concatenate([self.forward(ids[part], mask[part]) for part in (slice(half), slice(half, None))])

    def _forward(self, model: SentenceTransformer, device: str, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        import torch

        features = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        if device != "cpu":  # from pinned memory, the copy does not hold up what the GPU is doing
            multiply_float32_as("tf32" if self._precision == "tf32" else "ieee")
            features = {k: t.pin_memory().to(device, non_blocking=True) for k, t in features.items()}
        with torch.inference_mode():
            return model(features)["sentence_embedding"].float().cpu().numpy()
