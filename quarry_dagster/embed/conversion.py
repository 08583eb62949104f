"""Converting a model for another runtime: once on a machine, and only if it still gives its vectors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quarry_dagster.embed.calibration import calibration_texts
from quarry_dagster.embed.made import made_once
from quarry_dagster.embed.torch_model import load_sentence_transformer
from quarry_dagster.errors import ModelError
from quarry_dagster.profiles.settings import Embedding

if TYPE_CHECKING:
    import torch

log = logging.getLogger("quarry_dagster")

_TOKENIZER = "tokenizer.json"
_TOKENS = 256
_AGREES = 0.98
"""Mean cosine with the published model's vectors, below which a conversion is refused; int8 has about .99."""

Run = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Vectors of token ids and mask, both int64 of shape (n, length)."""
Convert = Callable[["torch.nn.Module", list[np.ndarray]], Run]
"""Writes the converted model and returns what runs it; of the model, pooling included, with ids and mask as its
arguments, and the token ids of texts to quantize it by, each of shape (1, length)."""


class ConvertedModel:
    """A converted model on the CPU: what is the same for each runtime, which adds `forward`."""

    adds_special = True
    device = "cpu"
    at_once = 1

    def __init__(self, recipe: dict[str, Any], make: Callable[[Path], dict[str, Any]]) -> None:
        """
        Args:
            recipe: what the conversion depends on; `backend` names the runtime.
            make: converts into a folder, by :func:`convert_model`.

        Raises:
            ModelError: the model cannot be loaded, or its conversion does not give its vectors.
        """
        from tokenizers import Tokenizer

        self.folder, facts = made_once(recipe, make)
        self.tokenizer = Tokenizer.from_file(str(self.folder / _TOKENIZER))
        self.pad, self.max_tokens, self.dim = facts["pad"], facts["max_tokens"], facts["dim"]


def convert_model(settings: Embedding, runtime: str, folder: Path, convert: Convert) -> dict[str, Any]:
    """Convert the settings' model, and put its tokenizer beside it; returns what is worth knowing of it.

    Raises:
        ModelError: the model cannot be loaded, or its conversion does not give its vectors.
    """
    import torch

    log.info("%s is converted for %s: once on a machine, about a minute", settings.model, runtime)
    model = load_sentence_transformer(settings, "float32", "cpu")
    tokenizer = model.tokenizer.backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(folder / _TOKENIZER))
    tokenizer.enable_truncation(min(_TOKENS, model.max_seq_length or _TOKENS))
    texts = [np.array([e.ids], np.int64) for e in tokenizer.encode_batch(calibration_texts())]

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.model({"input_ids": input_ids, "attention_mask": attention_mask})["sentence_embedding"]

    pooled = Pooled().eval()
    with torch.inference_mode():
        wanted = [pooled(torch.from_numpy(t), torch.ones(t.shape, dtype=torch.int64)).numpy() for t in texts]
    with torch.no_grad(), _untold():
        run = convert(pooled, texts)
    made = [run(t, np.ones_like(t)) for t in texts]
    agreement = float(np.mean([_cosine(a, b) for a, b in zip(made, wanted, strict=True)]))
    if agreement < _AGREES:
        raise ModelError(
            f"{settings.model} converted for {runtime} gives other vectors: their mean cosine with the model's is "
            f"{agreement:.3f}; set embedding.backend to torch for this model"
        )
    return {
        "pad": int(model.tokenizer.pad_token_id or 0),
        "max_tokens": model.max_seq_length,
        "dim": int(wanted[0].shape[1]),
        "agreement": round(agreement, 4),
    }


@contextmanager
def _untold() -> Iterator[None]:
    """The tracer reads every attribute of a model, its loss too: without what transformers warns of these."""
    import transformers

    before = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(before)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b)))
