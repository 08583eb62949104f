"""The model converted for OpenVINO: float32, bfloat16, or quantized to int8, which is several times as fast on a CPU.

Converted here with OpenVINO and NNCF themselves: optimum-intel would bring an older transformers.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from quarry_dagster.embed.calibration import calibration_id, calibration_texts
from quarry_dagster.embed.made import made_once
from quarry_dagster.embed.model import identity
from quarry_dagster.embed.torch_model import load_sentence_transformer
from quarry_dagster.errors import ModelError
from quarry_dagster.profiles import Embedding

log = logging.getLogger("quarry_dagster")

_MODEL, _TOKENIZER = "model.xml", "tokenizer.json"
_CALIBRATION_TOKENS = 256
_AGREES = 0.98
"""Mean cosine with the published model's vectors, below which a conversion is refused; int8 has about .997."""
_HINTS = {"float32": {"INFERENCE_PRECISION_HINT": "f32"}, "bfloat16": {"INFERENCE_PRECISION_HINT": "bf16"}, "int8": {}}


class OpenVinoModel:
    """A converted model on the CPU."""

    adds_special = True
    device = "cpu"
    at_once = 1

    def __init__(self, settings: Embedding, precision: str) -> None:
        """
        Raises:
            ModelError: the model cannot be loaded, or its conversion does not give its vectors.
        """
        import openvino
        from tokenizers import Tokenizer

        quantized = precision == "int8"
        recipe = {
            "backend": "openvino",
            "model": identity(settings.model, settings.revision),
            "openvino": version("openvino"),
            "quantized": calibration_id() + " nncf " + version("nncf") if quantized else None,
        }
        folder, facts = made_once(recipe, lambda new: _convert(settings, quantized, new))
        self.tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        self.pad, self.max_tokens, self.dim = facts["pad"], facts["max_tokens"], facts["dim"]
        compiled = openvino.Core().compile_model(folder / _MODEL, "CPU", _HINTS[precision])
        self._request = compiled.create_infer_request()

    def forward(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.array(self._request.infer([ids, mask])[0])


@contextmanager
def _quietly() -> Iterator[None]:
    """Without telemetry, which both packages send unless they believe to run in CI, nor their notes to developers."""
    in_ci = {"CI": "true", "NNCF_CI": "1"}
    before = {name: os.environ.get(name) for name in in_ci}
    os.environ.update(in_ci)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _convert(settings: Embedding, quantized: bool, folder: Path) -> dict[str, Any]:
    log.info("%s is converted for OpenVINO: once on a machine, about a minute", settings.model)
    with _quietly():
        return _converted(settings, quantized, folder)


def _converted(settings: Embedding, quantized: bool, folder: Path) -> dict[str, Any]:
    import openvino
    import torch

    model = load_sentence_transformer(settings, "float32", "cpu")
    tokenizer = model.tokenizer.backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(folder / _TOKENIZER))
    tokenizer.enable_truncation(min(_CALIBRATION_TOKENS, model.max_seq_length or _CALIBRATION_TOKENS))
    texts = [np.array([e.ids], np.int64) for e in tokenizer.encode_batch(calibration_texts())]

    class Pooled(torch.nn.Module):
        """The whole model, pooling included, with plain arguments."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.model({"input_ids": input_ids, "attention_mask": attention_mask})["sentence_embedding"]

    example = torch.ones(2, 8, dtype=torch.int64)
    with torch.inference_mode():
        wanted = [Pooled()(torch.from_numpy(t), torch.ones(t.shape, dtype=torch.int64)).numpy() for t in texts]
    with torch.no_grad():
        converted = openvino.convert_model(Pooled().eval(), example_input=(example, example))
    if quantized:
        import nncf

        nncf.set_log_level(logging.ERROR)
        converted = nncf.quantize(
            converted,
            nncf.Dataset(texts, lambda ids: [ids, np.ones_like(ids)]),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(texts),
        )
    openvino.save_model(converted, folder / _MODEL, compress_to_fp16=False)
    run = openvino.Core().compile_model(converted, "CPU")
    made = [run([t, np.ones_like(t)])[0] for t in texts]
    agreement = float(np.mean([_cosine(a, b) for a, b in zip(made, wanted, strict=True)]))
    if agreement < _AGREES:
        raise ModelError(
            f"{settings.model} converted for OpenVINO gives other vectors: their mean cosine with the model's is "
            f"{agreement:.3f}; set embedding.backend to torch for this model"
        )
    return {
        "pad": int(model.tokenizer.pad_token_id or 0),
        "max_tokens": model.max_seq_length,
        "dim": int(wanted[0].shape[1]),
        "agreement": round(agreement, 4),
    }


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b)))
