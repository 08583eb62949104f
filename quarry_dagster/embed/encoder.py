"""Feeding a model: what is read of a text, batches without waste, tokens ready before they are needed."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from quarry_dagster.embed.backend import Backend, Choice, choose
from quarry_dagster.embed.model import identity
from quarry_dagster.embed.work import Work, count
from quarry_dagster.profiles.settings import Embedding

_LONGEST_WORD = 10_000
"""Letters of a word that are looked at, at least."""
_CHUNK = 512  # texts tokenized at once, while those before them are embedded
_LETTERS = 8  # a token has fewer on average, in nearly every text


def vector_id(settings: Embedding) -> str:
    """Names everything that changes a text's vector: model, revision, how it is made and run, what is read.

    Vectors with one id are comparable and are never computed twice.
    """
    chosen = choose(settings)
    if chosen.backend == "static":
        from quarry_dagster.embed.static_model import static_id

        way = static_id()
    elif chosen.backend == "openvino" and chosen.precision == "int8":
        from quarry_dagster.embed.calibration import calibration_id

        way = f"openvino int8-{calibration_id()}-unpadded"
    elif chosen.backend in ("openvino", "onnx"):
        way = f"{chosen.backend} {chosen.precision}"
    else:
        way = chosen.precision
    windows = f" x{settings.windows}" if settings.windows > 1 else ""
    return f"{identity(settings.model, settings.revision)} {way} {settings.max_tokens}t{windows}"


class _Piece(NamedTuple):
    """A window of a text."""

    row: int
    is_last: bool
    ids: list[int]


class Encoder:
    """A loaded model."""

    def __init__(self, backend: Backend, settings: Embedding, choice: Choice) -> None:
        self._backend = backend
        self._settings = settings
        self.choice = choice
        self.device = backend.device
        self.dim = backend.dim
        # Its scales are of a whole batch: padding would make a vector depend on the texts beside it.
        self._is_padded = (choice.backend, choice.precision) != ("openvino", "int8")
        self._length = min(settings.max_tokens, backend.max_tokens or settings.max_tokens)
        backend.tokenizer.no_padding()
        backend.tokenizer.enable_truncation(self._length)

    def encode(self, texts: Sequence[str], advance: Callable[[int], None] | None = None) -> np.ndarray:
        """Vectors of texts: float32, shape (len(texts), dim), unit norm, in the order of the texts.

        `advance` is called with the number of texts done since the last call.
        """
        began, tokens = time.monotonic(), 0
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        batches = (batch for pieces in self._pieces(texts) for batch in self._batches(pieces))
        for batch, vectors in self._embedded(batches):
            tokens += sum(len(p.ids) for p in batch)
            # In float32 whatever the model's precision, so that a cosine is a plain dot product.
            np.add.at(out, [p.row for p in batch], _unit(vectors))
            if advance:
                advance(sum(p.is_last for p in batch))
        count(Work(len(texts), tokens, time.monotonic() - began))
        return out if self._settings.windows == 1 else _unit(out)

    def _embedded(self, batches: Iterator[list[_Piece]]) -> Iterator[tuple[list[_Piece], np.ndarray]]:
        """Each batch with the vectors of its pieces, in order, as many at the same time as the model can run."""
        waiting: deque[tuple[list[_Piece], Future[np.ndarray]]] = deque()
        with ThreadPoolExecutor(self._backend.at_once) as threads:
            for batch in batches:
                waiting.append((batch, threads.submit(self._forward, batch)))
                if len(waiting) > self._backend.at_once:
                    first, vectors = waiting.popleft()
                    yield first, vectors.result()
            for batch, vectors in waiting:
                yield batch, vectors.result()

    def _pieces(self, texts: Sequence[str]) -> Iterator[list[_Piece]]:
        """The texts' windows, those of like length together, tokenized a chunk ahead in a thread."""
        read = self._letters()
        order = sorted(range(len(texts)), key=lambda i: -min(len(texts[i]), read))
        chunks = [order[start : start + _CHUNK] for start in range(0, len(order), _CHUNK)]
        with ThreadPoolExecutor(1) as thread:
            ahead = [thread.submit(self._tokenize, texts, chunk) for chunk in chunks[:1]]
            for _, after in pairwise([*chunks, None]):
                ready = ahead.pop().result()
                if after is not None:
                    ahead.append(thread.submit(self._tokenize, texts, after))
                yield ready

    def _tokenize(self, texts: Sequence[str], rows: list[int]) -> list[_Piece]:
        """Of each text the first windows. Only its beginning is tokenized where that is enough."""
        tokenizer, windows, special = self._backend.tokenizer, self._settings.windows, self._backend.adds_special
        letters = self._letters()
        whole = {i: _without_long_words(texts[i], max(_LONGEST_WORD, 4 * letters)) for i in rows}
        beginnings = [_beginning(whole[i], letters) for i in rows]
        encodings = tokenizer.encode_batch(beginnings, add_special_tokens=special)
        pieces = []
        for row, beginning, encoding in zip(rows, beginnings, encodings, strict=True):
            if len(beginning) < len(whole[row]) and len(encoding.overflowing) < windows:
                encoding = tokenizer.encode(whole[row], add_special_tokens=special)
            parts = [encoding.ids, *(e.ids for e in encoding.overflowing)][:windows]
            pieces += [_Piece(row, part is parts[-1], part) for part in parts]
        return pieces

    def _letters(self) -> int:
        return self._settings.windows * self._length * _LETTERS

    def _batches(self, pieces: list[_Piece]) -> Iterator[list[_Piece]]:
        """Batches of so many tokens, the padding counted: it is computed like text. Windows of one length alone are
        together where a vector must not be padded."""
        batch: list[_Piece] = []
        longest = 0
        for piece in sorted(pieces, key=lambda p: -len(p.ids)):
            is_full = longest * (len(batch) + 1) > self._settings.batch_tokens
            if batch and (is_full or not (self._is_padded or len(piece.ids) == longest)):
                yield batch
                batch = []
            longest = longest if batch else len(piece.ids)
            batch.append(piece)
        if batch:
            yield batch

    def _forward(self, batch: list[_Piece]) -> np.ndarray:
        lengths = np.array([len(p.ids) for p in batch])
        mask = (np.arange(max(1, lengths.max())) < lengths[:, None]).astype(np.int64)
        ids = np.full(mask.shape, self._backend.pad, np.int64)
        ids[mask == 1] = np.concatenate([p.ids for p in batch])
        return self._backend.forward(ids, mask).astype(np.float32, copy=False)


def load_encoder(settings: Embedding, gpu_memory_fraction: float) -> Encoder:
    """The settings' model, loaded at the first call in a process and kept.

    Raises:
        ModelError: it cannot be loaded; the message says what to do.
        ConfigError: the profile asks for a GPU and torch sees none, or for a backend that is not installed.
    """
    return _load(settings, gpu_memory_fraction)  # pyright: ignore[reportArgumentType]  (frozen: hashable)


@lru_cache(maxsize=1)
def _load(settings: Embedding, gpu_memory_fraction: float) -> Encoder:
    choice = choose(settings)
    if choice.backend == "static":
        from quarry_dagster.embed.static_model import StaticModel

        return Encoder(StaticModel(settings), settings, choice)
    if choice.backend == "openvino":
        from quarry_dagster.embed.openvino_model import OpenVinoModel

        return Encoder(OpenVinoModel(settings, choice.precision), settings, choice)
    if choice.backend == "onnx":
        from quarry_dagster.embed.onnx_model import OnnxModel

        return Encoder(OnnxModel(settings, choice.precision), settings, choice)
    from quarry_dagster.embed.torch_model import TorchModel, find_devices

    devices = find_devices(settings, gpu_memory_fraction)
    return Encoder(TorchModel(settings, choice.precision, devices), settings, choice)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _beginning(text: str, letters: int) -> str:
    """The first whole words of a text, about so many letters."""
    if len(text) <= letters:
        return text
    words, space, _ = text[:letters].rpartition(" ")
    if space:
        return words
    end = text.find(" ", letters)
    return text if end < 0 else text[:end]


def _without_long_words(text: str, letters: int) -> str:
    """The text with words up to so many letters.

    Data in a text, such as megabytes of base64, costs a tokenizer seconds; what is cut is behind all windows, or within
    a word that the model has no token for.
    """
    return re.sub(rf"(?<!\S)(\S{{{letters}}})\S+", r"\1", text) if len(text) > letters else text
