"""Bytes that can be made in order alone, as a file that can be wound back: it is made again from the start."""

from __future__ import annotations

import io
from abc import abstractmethod
from typing import Any

_SKIPPED = 1 << 16


class Forward(io.RawIOBase):
    """A file whose bytes a subclass makes piece by piece."""

    def __init__(self) -> None:
        self._rewind()

    @abstractmethod
    def _begin(self) -> None:
        """Go back to where nothing was made."""

    @abstractmethod
    def _more(self) -> bytes | None:
        """The next piece, which may be empty; None at the end."""

    def _rewind(self) -> None:
        self._piece = memoryview(b"")
        self._at = 0
        self._begin()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("the end is not known")
        if offset < self._at:
            self._rewind()
        waste = bytearray(_SKIPPED)
        while self._at < offset and self.readinto(memoryview(waste)[: min(_SKIPPED, offset - self._at)]):
            pass
        return self._at

    def readinto(self, buffer: Any) -> int:
        while not len(self._piece):
            piece = self._more()
            if piece is None:
                return 0
            self._piece = memoryview(piece)
        size = min(len(buffer), len(self._piece))
        buffer[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        self._at += size
        return size
