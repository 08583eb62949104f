"""What can run a model, and which of it a profile gets.

Why so: "`auto` names int8, and what it was resolved to is in the vectors' name" in docs/decisions.md.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from quarry_dagster.errors import ConfigError
from quarry_dagster.profiles.settings import Embedding

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_NEEDS = {"openvino": ("workstation", "openvino", "nncf"), "onnx": ("onnx", "onnxruntime", "onnx")}
"""The extra that brings what a backend needs beyond what is always there, and the packages that this is."""


class Backend(Protocol):
    """A loaded model: tokens in, vectors out."""

    tokenizer: Tokenizer
    adds_special: bool
    """Whether the model wants its special tokens around the text's."""
    max_tokens: int | None
    """Tokens it can read at once; None: any number."""
    pad: int
    """The token that fills a batch up; it is masked, or counts for nothing."""
    dim: int
    device: str
    at_once: int
    """Batches that :meth:`forward` is to be given at the same time, each by a thread of its own."""

    def forward(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Vectors of padded texts: float32 of shape (n, dim) of token ids and mask, int64 of shape (n, length)."""
        ...


@dataclass(frozen=True)
class Choice:
    """How a model is run, and why."""

    backend: Literal["torch", "openvino", "onnx", "static"]
    precision: str
    reason: str
    lacking: str = ""
    """What is not installed, and how to install it, where this is not the way that `auto` would take with it."""


def choose(settings: Embedding) -> Choice:
    """How the settings' model is run here: what they name, or for `auto` the fastest that is installed.

    Raises:
        ConfigError: the settings name a backend that is not installed.
    """
    if settings.backend != "auto":
        if lacking := lacking_of(settings.backend):
            raise ConfigError(f"embedding.backend is {settings.backend}, but {lacking}, or set it to auto")
        return Choice(settings.backend, settings.precision, "as the profile says")
    if settings.precision != "int8":
        return Choice("torch", settings.precision, f"auto: torch runs {settings.precision}")
    if not (lacking := lacking_of("openvino")):
        return Choice("openvino", "int8", "auto: int8, and openvino is installed")
    return Choice("torch", "float32", f"auto: int8 would be several times as fast, but {lacking}", lacking)


def lacking_of(backend: str) -> str:
    """What is not installed of what a backend needs, and how to install it; empty where nothing lacks."""
    extra, *packages = _NEEDS.get(backend, ("",))
    missing = [p for p in packages if find_spec(p) is None]
    if not missing:
        return ""
    remedy = f"pip install 'quarry-dagster[{extra}]'"
    if backend == "openvino" and platform.machine() not in ("x86_64", "AMD64"):  # the extra brings nothing there
        remedy = "they are for x86-64; elsewhere set embedding.backend to onnx or static"
    return f"{' and '.join(missing)} not installed: {remedy}"
