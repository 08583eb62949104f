"""Which encoding bytes are in, by what they would say in each: chardet, on the part of a page that can tell.

Asked are the encodings of the WHATWG standard, by the names of Python's codecs.
"""

from __future__ import annotations

import re
import unicodedata

_SINGLE = (
    *("cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874", "cp866"),
    *("iso8859-2", "iso8859-3", "iso8859-4", "iso8859-5", "iso8859-6", "iso8859-7", "iso8859-8", "iso8859-10"),
    *("iso8859-13", "iso8859-14", "iso8859-15", "iso8859-16", "koi8-r", "koi8-u", "mac-roman", "mac-cyrillic"),
)
_MULTIPLE = ("cp932", "euc_jp", "gb18030", "big5hkscs", "cp949")
_RARE = frozenset({"iso8859-3", "iso8859-4", "iso8859-10", "iso8859-14", "iso8859-16", "mac-roman", "mac-cyrillic"})
"""Encodings that few pages are in: where another is as good, it is that one."""
_SELDOM = 0.97
_OTHERS = ("iso2022_jp", "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
WEB = frozenset({*_SINGLE, *_MULTIPLE, *_OTHERS})
"""What a page may declare. Python has codecs that are none of text, and others that no page is written in."""

_SAMPLE = 2_000
_BETWEEN_TAGS = re.compile(rb"[^<>]+")
_FOREIGN = re.compile(rb"[\x80-\xff]")
_ENOUGH = 12
"""Bytes outside ASCII from which they may contradict a declaration that they can be read by."""
_SPARSE = 3
"""Where at least two of so many bytes are ASCII, the others are signs, or accents in a word of Latin letters."""
_DOUBTFUL = 0.06
_CLEAN = 0.02
"""An encoding that cannot read so much of the bytes outside ASCII may still be the one: a byte was damaged."""
_SIGNS = frozenset("’‘“”„‚–—…«»‹›°©®€£§·•¿¡№×÷½¼¾±²³\u00a0、。「」『』，！？・：；（）《》")
"""Signs outside ASCII that are common in prose."""
_TORN = re.compile(
    r"[a-zß-öø-ÿа-яα-ω][A-ZÀ-ÖØ-ÞА-ЯΑ-Ω]"  # a small letter before a large one
    r"|[^\W\d_][¿¡©®°№«»§£€·•„‚][^\W\d_]"  # a sign between two letters
    r"|[A-Za-z](?=[\u0370-\u1fff\uff66-\uff9f])|(?<=[\u0370-\u1fff\uff66-\uff9f])[A-Za-z]"  # two scripts in a word
    r"|[À-ÖØ-öø-ÿ]{4}"  # vowels with accents alone
)
"""What stands in words that were read in a wrong encoding, and in hardly any other."""
_ASKED = {"euc_jp": "euc-jp"}
"""What chardet calls an encoding, where it does not know Python's name."""
_ANSWERED = {"euc_jis_2004": "euc_jp"}


class Evidence:
    """What the bytes of a page outside ASCII say of its encoding."""

    def __init__(self, body: bytes) -> None:
        self.sample = _sample(body)
        self.size = len(_FOREIGN.findall(self.sample))
        """Bytes outside ASCII that it is judged by."""
        self.likely = _likely(self.sample)
        """How likely each encoding is, from 0 to 1, the likeliest first; those that cannot be are left out."""

    @property
    def is_scant(self) -> bool:
        """Whether there is little to judge by: then it does not contradict a declaration that can be."""
        return self.size < _ENOUGH

    @property
    def likeliest(self) -> str:
        """The encoding that the bytes speak for; of a sign or two among ASCII the web's own, but for good reasons."""
        found = self.likely
        if self.is_scant and self.size * _SPARSE <= len(b"".join(self.sample.split())):
            found = {encoding: p for encoding, p in found.items() if p > _DOUBTFUL and encoding not in _MULTIPLE}
        return next(iter(found), "cp1252")

    def says_the_same(self, one: str, other: str) -> bool:
        """Whether the sample is one text in both encodings."""
        return self.sample.decode(one, "replace") == self.sample.decode(other, "replace")


def _sample(body: bytes) -> bytes:
    """The first texts between tags with a byte outside ASCII: the markup around them only dilutes the evidence."""
    found, size = [], 0
    for run in _BETWEEN_TAGS.finditer(body):
        if not run[0].isascii():  # not a part of the pattern: on a long script it would try every beginning
            found.append(run[0].strip()[:_SAMPLE])
            size += len(found[-1])
            if size >= _SAMPLE:
                break
    return b" ".join(found)


def _likely(sample: bytes) -> dict[str, float]:
    found = _asked(sample, (*_SINGLE, *_MULTIPLE))
    for encoding in (*_MULTIPLE, *_SINGLE):
        if encoding not in found and encoding not in _RARE:
            # One damaged byte, or a character that was cut, takes a whole encoding out of the race.
            clean = _readable(sample, encoding)
            lost = (len(sample) - len(clean)) / max(1, len(_FOREIGN.findall(sample)))
            if clean and lost <= _CLEAN:
                found |= _asked(clean, (encoding,))
    for encoding in found:
        found[encoding] *= _plausible(sample.decode(encoding, "ignore")) * (_SELDOM if encoding in _RARE else 1)
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _asked(sample: bytes, encodings: tuple[str, ...]) -> dict[str, float]:
    import chardet

    # The last two are what it answers where it finds none; without them it warns.
    names = [*(_ASKED.get(encoding, encoding) for encoding in encodings), "cp1252", "utf-8"]
    answers = chardet.detect_all(sample, ignore_threshold=True, compat_names=False, include_encodings=names)
    found = {_ANSWERED.get(each["encoding"] or "", each["encoding"]): each["confidence"] for each in answers}
    return {encoding: found[encoding] for encoding in encodings if encoding in found}


def _plausible(text: str) -> float:
    """How well the letters go together, from 0 to 1, whatever the language: chardet knows pairs of bytes alone."""
    foreign = [c for c in text if not c.isascii()]
    fitting = sum(c in _SIGNS or unicodedata.category(c)[0] in "LM" for c in foreign) / max(1, len(foreign))
    torn = len(_TORN.findall(text)) / max(1, len(foreign))
    return max(0.01, fitting - torn)


def _readable(sample: bytes, encoding: str) -> bytes:
    return sample.decode(encoding, "ignore").encode(encoding, "ignore")
