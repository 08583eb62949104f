"""Tokens of texts, by a tokenizer that is a file, a folder, or a model's on the hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from quarry_dagster.digests import digest
from quarry_dagster.embed.model import resolve_model
from quarry_dagster.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Library

_FILE = "tokenizer.json"
_CHARACTERS = 500_000
"""Characters of the texts that are encoded at once, or one text."""
_UINT16 = 2**16


class Tokenizer:
    """A tokenizer of the library `tokenizers`, without the marks that a model wants around a text.

    Raises:
        ConfigError: there is none by that name, or it has no such token as `end_of_text`.
    """

    def __init__(self, name: str, revision: str | None = None, end_of_text: str | None = None) -> None:
        self.name = name
        self._library = _loaded(name, revision)
        self._library.no_truncation()
        self._library.no_padding()
        self.end = self._library.token_to_id(end_of_text) if end_of_text else None
        if end_of_text and self.end is None:
            raise ConfigError(f"end_of_text: the tokenizer {name} has no token {end_of_text!r}")

    @property
    def digest(self) -> str:
        """Names the tokenizer by what it does."""
        return digest(self._library.to_str().encode())

    @property
    def dtype(self) -> npt.DTypeLike:
        """The smallest type of array that holds every token: uint16, or int32."""
        highest = max(self._library.get_vocab(with_added_tokens=True).values(), default=0)
        return np.uint16 if highest < _UINT16 else np.int32

    def encode(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """The tokens of each text, in order; with the one that ends a text, where there is one.

        A text of which the tokenizer makes nothing, or at which it fails, has no tokens at all.
        """
        waiting: list[str] = []
        size = 0
        for text in texts:
            if waiting and size + len(text) > _CHARACTERS:
                yield from self._encoded(waiting)
                waiting, size = [], 0
            waiting.append(text)
            size += len(text)
        yield from self._encoded(waiting)

    def bounds(self, texts: Sequence[str]) -> Iterator[npt.NDArray[np.int64]]:
        """The first character of each token of each text, and the one behind its last: arrays of shape (tokens, 2).

        They are empty of a text as :meth:`encode` says.
        """
        for text in texts:
            try:
                offsets = self._library.encode(text, add_special_tokens=False).offsets
            except Exception:  # noqa: BLE001  # the library has no error of its own
                offsets = []
            yield np.array(offsets, np.int64).reshape(-1, 2)

    def _encoded(self, texts: list[str]) -> Iterator[list[int]]:
        try:
            found = [each.ids for each in self._library.encode_batch_fast(texts, add_special_tokens=False)]
        except Exception:  # noqa: BLE001  # the library has no error of its own
            found = [self._alone(text) for text in texts]
        last = [] if self.end is None else [self.end]
        return (ids + last if ids else [] for ids in found)

    def _alone(self, text: str) -> list[int]:
        try:
            return self._library.encode(text, add_special_tokens=False).ids
        except Exception:  # noqa: BLE001  # as above
            return []


def _loaded(name: str, revision: str | None) -> Library:
    from tokenizers import Tokenizer as Library

    path = Path(name)
    if not path.exists():
        path = Path(_of_model(name, revision))
    if path.is_dir():
        path = path / _FILE
    try:
        return Library.from_file(str(path))
    except Exception as e:  # the library has no error of its own
        raise ConfigError(f"tokenizer: {path} cannot be read as a tokenizer.json: {e}") from e


def _of_model(name: str, revision: str | None) -> str:
    """The path of the tokenizer of a model on the hub, or of the packaged one."""
    try:
        found, commit = resolve_model(name, revision)
    except ModelError as e:
        raise ConfigError(f"tokenizer: there is no file or folder {name!r}, and no such model: {e}") from e
    if commit is None:
        return found
    from huggingface_hub import hf_hub_download

    try:
        return hf_hub_download(found, _FILE, revision=commit)
    except Exception as e:  # its errors are of many modules
        raise ConfigError(
            f"tokenizer: {_FILE} of {name} at {commit} cannot be had ({type(e).__name__}): bring the file, and name it"
        ) from e
