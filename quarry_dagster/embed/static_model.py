"""A static model distilled from a transformer: a vector a token, a text is the sum of its tokens.

Made as by Model2Vec (Tulkens and van Dongen, 2024, github.com/MinishLab/model2vec): each token of the vocabulary is
embedded alone, and frequent tokens weigh less (smooth inverse frequency of Arora et al., 2017, with the rank in the
vocabulary for the frequency). In two ways it is not: the mean of ordinary text is subtracted, not that of the
vocabulary, which leaves unrelated texts near each other; and components are not rotated, since the vectors would
depend on signs that differ between machines. model2vec's own distillation needs an older transformers.

Why so: "The static model is distilled by us" in docs/decisions.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from quarry_dagster.embed.calibration import calibration_id, calibration_texts
from quarry_dagster.embed.made import made_once
from quarry_dagster.embed.model import identity
from quarry_dagster.embed.torch_model import load_sentence_transformer
from quarry_dagster.profiles.settings import Embedding

_SIF = 1e-4
_BATCH = 1024
_TABLE, _TOKENIZER = "table.npy", "tokenizer.json"


class StaticModel:
    """A table of token vectors."""

    adds_special = False
    max_tokens: int | None = None
    device = "cpu"
    at_once = 1

    def __init__(self, settings: Embedding) -> None:
        """
        Raises:
            ModelError: the model to distill from cannot be loaded; the message says what to do.
        """
        from tokenizers import Tokenizer

        folder, _ = made_once(recipe(settings), lambda new: _distill(settings, new))
        self.tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        self._table = np.load(folder / _TABLE)
        self.dim = self._table.shape[1]
        self.pad = len(self._table) - 1

    def forward(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        vectors = self._table[ids].sum(axis=1)
        vectors[~mask.any(axis=1)] = self._table[0]  # texts without tokens are alike
        return vectors


def recipe(settings: Embedding) -> dict[str, Any]:
    """What the settings' static model is made from."""
    return {"backend": "static", "way": static_id(), "model": identity(settings.model, settings.revision)}


def static_id() -> str:
    """Names the way a static model is made."""
    return f"static-1-{calibration_id()}"


def _distill(settings: Embedding, folder: Path) -> dict[str, Any]:
    import torch

    model = load_sentence_transformer(settings, "float32", "cpu")
    tokenizer = model.tokenizer.backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(folder / _TOKENIZER))
    around = tokenizer.encode("").ids  # the special tokens, of which the first and the last frame a text
    tokens = tokenizer.get_vocab_size()
    framed = np.array([[*around[:1], token, *around[-1:]] for token in range(tokens)])
    vectors = []
    with torch.inference_mode():
        for start in range(0, tokens, _BATCH):
            ids = torch.from_numpy(framed[start : start + _BATCH])
            vectors.append(model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})["sentence_embedding"])
    table = torch.cat(vectors).numpy().astype(np.float64)
    frequency = 1 / np.arange(2, tokens + 2)
    frequency /= frequency.sum()
    table = (table - table.mean(axis=0)) * (_SIF / (_SIF + frequency))[:, None]
    ordinary = tokenizer.encode_batch(calibration_texts(), add_special_tokens=False)
    table -= table[np.concatenate([e.ids for e in ordinary])].mean(axis=0)
    # The last row fills batches up.
    np.save(folder / _TABLE, np.concatenate([table, np.zeros((1, table.shape[1]))]).astype(np.float32))
    return {"tokens": tokens, "dim": table.shape[1]}
