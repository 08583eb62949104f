"""The model converted for OpenVINO: float32, bfloat16, or quantized to int8, which is several times as fast on a CPU.

Converted here with OpenVINO and NNCF themselves: optimum-intel would bring an older transformers.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quarry_dagster.embed.calibration import calibration_id
from quarry_dagster.embed.conversion import ConvertedModel, Run, convert_model
from quarry_dagster.embed.model import identity
from quarry_dagster.profiles.settings import Embedding

if TYPE_CHECKING:
    import torch

_MODEL = "model.xml"
_HINTS = {"float32": {"INFERENCE_PRECISION_HINT": "f32"}, "bfloat16": {"INFERENCE_PRECISION_HINT": "bf16"}, "int8": {}}


class OpenVinoModel(ConvertedModel):
    """A model converted for OpenVINO."""

    def __init__(self, settings: Embedding, precision: str) -> None:
        """
        Raises:
            ModelError: the model cannot be loaded, or its conversion does not give its vectors.
        """
        import openvino

        quantized = precision == "int8"
        super().__init__(recipe(settings, precision), lambda new: _convert(settings, quantized, new))
        compiled = openvino.Core().compile_model(self.folder / _MODEL, "CPU", _HINTS[precision])
        self._request = compiled.create_infer_request()

    def forward(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.array(self._request.infer([ids, mask])[0])


def recipe(settings: Embedding, precision: str) -> dict[str, Any]:
    """What the settings' model is converted from, and with."""
    return {
        "backend": "openvino",
        "openvino": version("openvino"),
        "quantized": calibration_id() + " nncf " + version("nncf") if precision == "int8" else None,
        "model": identity(settings.model, settings.revision),
    }


@contextmanager
def _quietly() -> Iterator[None]:
    """Without telemetry, which both packages send unless they believe to run in CI, nor their notes to developers.

    NNCF draws bars on rich's own console, and OpenVINO has the root logger print what any library says, from then on.
    """
    import rich

    in_ci = {"CI": "true", "NNCF_CI": "1"}
    before = {name: os.environ.get(name) for name in in_ci}
    console, root = rich.get_console(), logging.getLogger()
    was_quiet, handlers, level = console.quiet, list(root.handlers), root.level
    console.quiet = True
    os.environ.update(in_ci)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        console.quiet, root.handlers = was_quiet, handlers
        root.setLevel(level)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _convert(settings: Embedding, quantized: bool, folder: Path) -> dict[str, Any]:
    with _quietly():
        return convert_model(settings, "OpenVINO", folder, partial(_save, folder, quantized))


def _save(folder: Path, quantized: bool, model: torch.nn.Module, texts: list[np.ndarray]) -> Run:
    import openvino
    import torch

    example = torch.ones(2, 8, dtype=torch.int64)
    converted = openvino.convert_model(model, example_input=(example, example))
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
    return lambda ids, mask: run([ids, mask])[0]
