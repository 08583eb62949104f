"""Whether a file is a whole fastText model, told by walking through it.

fastText's own loader believes what a file says of itself: it reads a file that is cut off as zeros, and asks for the
memory that a damaged one names. The format is that of fastText 0.9 (`fasttext.cc`, `dictionary.cc`, `densematrix.cc`,
`quantmatrix.cc`, `productquantizer.cc`), versions 11 and 12, whose numbers are little-endian.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_MAGIC = 793712314
_VERSIONS = (11, 12)
_CENTROIDS = 256
"""Of a part of a vector that is quantised."""
_LABEL = "__label__"


class _Walk:
    """A place in a file that only goes forward, and not beyond its end."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self.at = 0

    def read(self, form: str) -> tuple[int, ...]:
        """The numbers of a format at this place; the walk goes behind them."""
        at = self.skip(struct.calcsize(f"<{form}"))
        return struct.unpack_from(f"<{form}", self._content, at)

    def skip(self, size: int) -> int:
        """Go so many bytes on; returns where the walk was."""
        at = self.at
        if size < 0 or at + size > len(self._content):
            raise ValueError("it ends before what it says it holds")
        self.at += size
        return at

    @property
    def left(self) -> int:
        """Bytes behind this place."""
        return len(self._content) - self.at

    def word(self) -> bytes:
        """The bytes until the next zero; the walk goes behind it."""
        at, end = self.at, self._content.find(b"\0", self.at)
        if end < 0:
            raise ValueError("its words end nowhere")
        self.at = end + 1
        return self._content[at:end]


def labels_of(path: str) -> list[str]:
    """The labels of a model, in its order.

    Raises:
        ValueError: the file is no model, or not a whole one; the message says why.
    """
    with Path(path).open("rb") as file:
        if file.read(8)[:4] != struct.pack("<i", _MAGIC):
            raise ValueError("is no fastText model (.bin or .ftz)")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                return _walked(_Walk(content))
            except ValueError as e:
                raise ValueError(f"is damaged, or a fastText model of another version: {e}") from e


def _walked(walk: _Walk) -> list[str]:
    _, version = walk.read("ii")
    if version not in _VERSIONS:
        raise ValueError(f"its version is {version}")
    walk.read("12id")
    entries, words, labels, _, pruned = walk.read("iiiqq")
    if entries < 0 or labels < 1 or words < 0 or words + labels != entries:
        raise ValueError(f"it says it has {words} words and {labels} labels, {entries} together")
    found = []
    for _ in range(entries):
        word = walk.word()
        _, kind = walk.read("qb")
        if kind == 1:
            found.append(word.decode("utf-8", "replace"))
    if len(found) != labels or not all(label.startswith(_LABEL) for label in found):
        raise ValueError(f"{labels} labels are not what it has")
    walk.skip(max(0, pruned) * 8)
    (is_quantised,) = walk.read("?")
    _matrix(walk, bool(is_quantised))
    (is_output_quantised,) = walk.read("?")
    rows = _matrix(walk, bool(is_quantised and is_output_quantised))
    if rows != labels:
        raise ValueError(f"it has {labels} labels, and weights of {rows}")
    if walk.left:
        raise ValueError("it goes on behind its end")
    return found


def _matrix(walk: _Walk, is_quantised: bool) -> int:
    """Go through a matrix; returns its rows."""
    if not is_quantised:
        rows, columns = walk.read("qq")
        walk.skip(rows * columns * 4 if rows >= 0 and columns > 0 else -1)
        return rows
    has_norms, rows, _, codes = walk.read("?qqi")
    walk.skip(codes)
    _quantiser(walk)
    if has_norms:
        walk.skip(rows)
        _quantiser(walk)
    return rows


def _quantiser(walk: _Walk) -> None:
    dim, _, _, _ = walk.read("4i")
    walk.skip(dim * _CENTROIDS * 4)
