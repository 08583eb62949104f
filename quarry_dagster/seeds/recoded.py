"""Seeds in UTF-16 and UTF-32, as spreadsheets write tables: read as UTF-8, which every text format is read in."""

from __future__ import annotations

import codecs
from typing import BinaryIO

from quarry_dagster.seeds.forward import Forward

_PIECE = 1 << 16


class Recoded(Forward):
    """A file in another encoding as one in UTF-8; what cannot be decoded is U+FFFD.

    Args:
        file: seekable; it is not closed.
        encoding: as :func:`quarry_dagster.byte_order.wide_encoding` names it.
    """

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file = file
        self._new_decoder = codecs.getincrementaldecoder(encoding)
        super().__init__()

    def _begin(self) -> None:
        self._file.seek(0)
        self._decoder = self._new_decoder("replace")

    def _more(self) -> bytes | None:
        piece = self._file.read(_PIECE)
        text = self._decoder.decode(piece, final=not piece)
        return text.encode() if piece or text else None
