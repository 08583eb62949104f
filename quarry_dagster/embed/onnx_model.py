"""The model converted for ONNX Runtime: float32, or with weights in int8. For CPUs that OpenVINO has no packages for.

Converted here with torch and ONNX Runtime themselves: optimum would bring an older transformers.
"""

from __future__ import annotations

import logging
import warnings
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quarry_dagster.embed.conversion import ConvertedModel, Run, convert_model
from quarry_dagster.embed.model import identity
from quarry_dagster.profiles.settings import Embedding

if TYPE_CHECKING:
    import torch

_MODEL = "model.onnx"
_OPSET = 18


class OnnxModel(ConvertedModel):
    """A model converted for ONNX Runtime."""

    def __init__(self, settings: Embedding, precision: str) -> None:
        """
        Raises:
            ModelError: the model cannot be loaded, or its conversion does not give its vectors.
        """
        quantized = precision == "int8"
        super().__init__(
            recipe(settings, precision),
            lambda new: convert_model(settings, "ONNX Runtime", new, partial(_save, new, quantized)),
        )
        self._run = _session(self.folder)

    def forward(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        # A text at a time: the scale of int8 activations is taken from all that is computed at once, and a vector is
        # to depend on its text alone. On a CPU batches are no faster.
        lengths = mask.sum(axis=1)
        rows = [self._run(i[None, :n], m[None, :n]) for i, m, n in zip(ids, mask, lengths, strict=True)]
        return np.concatenate(rows)


def recipe(settings: Embedding, precision: str) -> dict[str, Any]:
    """What the settings' model is converted from, and with."""
    versions = {name: version(name) for name in ("torch", "onnxruntime")}
    model = identity(settings.model, settings.revision)
    return {"backend": "onnx", **versions, "quantized": precision == "int8", "model": model}


def _save(folder: Path, quantized: bool, model: torch.nn.Module, texts: list[np.ndarray]) -> Run:
    import torch

    example = torch.ones(2, 8, dtype=torch.int64)
    sides = {0: "texts", 1: "tokens"}
    path = folder / _MODEL
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer; the vectors are compared
        torch.onnx.export(
            model,
            (example, example),
            path,
            input_names=["input_ids", "attention_mask"],
            output_names=["embedding"],
            dynamic_axes={"input_ids": sides, "attention_mask": sides, "embedding": {0: "texts"}},
            opset_version=_OPSET,
            dynamo=False,  # the other exporter needs onnxscript
        )
    if quantized:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        logging.getLogger().disabled, before = True, logging.getLogger().disabled  # its advice to developers
        try:
            quantize_dynamic(path, path, weight_type=QuantType.QInt8, per_channel=True)
        finally:
            logging.getLogger().disabled = before
    return _session(folder)


def _session(folder: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / _MODEL, providers=["CPUExecutionProvider"])
    return lambda ids, mask: np.asarray(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])
