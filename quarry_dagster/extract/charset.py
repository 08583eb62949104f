"""The encoding of bytes that declare none.

A wrong encoding shows in two ways: letters turn into signs, and words stop being of any language. Each encoding
used on the web is scored by both. charset_normalizer, which sees only the first, took French in Windows-1252 for
Windows-1250 and Hebrew for Cyrillic.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

from quarry_dagster.extract.language import likeliest_language

_ENCODINGS = (
    *("shift_jis", "euc_jp", "euc_kr", "big5", "gb18030"),
    *("cp1252", "cp1251", "koi8_r", "cp1250", "iso8859_2", "cp1255", "cp1253", "iso8859_7", "cp1254", "cp1256"),
    *("cp874", "cp1257", "cp1258"),
)
"""Encodings of the WHATWG standard that pages still use; of equally good ones the first is taken
(Hebrew read as Greek is all letters too, not the reverse)."""

_SAMPLE = 2_000
_BETWEEN_TAGS = re.compile(rb"[^<>]+")
_SIGNS = frozenset("’‘“”„‚–—…«»‹›°©®€£§·•¿¡№\u00a0、。「」『』，！？・：；（）《》")
"""Signs outside ASCII that are common in prose."""
_CASE_BREAK = re.compile(r"[a-zß-öø-ÿа-яα-ω][A-ZÀ-ÖØ-ÞА-ЯΑ-Ω]")


def guess_encoding(body: bytes) -> str | None:
    """The likeliest encoding of a page that is not UTF-8; None where none fits."""
    sample = _sample(body)
    scored = [(_score(text), encoding) for encoding in _ENCODINGS if (text := _decoded(sample, encoding))]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def _sample(body: bytes) -> bytes:
    """The first texts between tags with a byte outside ASCII: the markup around them only dilutes the evidence."""
    found, size = [], 0
    for run in _BETWEEN_TAGS.finditer(body):
        if not run[0].isascii():  # not a part of the pattern: on a long script it would try every beginning
            found.append(run[0])
            size += len(run[0])
            if size >= _SAMPLE:
                break
    return b" ".join(found)[:_SAMPLE]


def _decoded(sample: bytes, encoding: str) -> str | None:
    try:
        # Incremental, because the sample may end inside a character.
        return codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeDecodeError:
        return None


def _score(text: str) -> float:
    foreign = [c for c in text if not c.isascii()]
    plausible = sum(c in _SIGNS or unicodedata.category(c)[0] in "LM" for c in foreign) / max(1, len(foreign))
    case_breaks = len(_CASE_BREAK.findall(text)) / len(text)
    return (plausible - 5 * case_breaks) * likeliest_language(text)[1]
