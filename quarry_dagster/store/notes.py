"""What the writer of a segment notes beside its rows, typed.

Where notes are kept (the file's footer) is known to :mod:`quarry_dagster.store.tables` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class Fingerprint:
    """What a segment was made from. Equal fingerprints promise equal rows.

    `inputs` name what was read: the `content` of a segment, or its path; none of them has a blank. `maker` names what
    worked on them: versions of code and settings.
    """

    inputs: tuple[str, ...]
    maker: str

    def __str__(self) -> str:
        return " ".join([*self.inputs, self.maker])

    @classmethod
    def parse(cls, text: str, inputs: int) -> Fingerprint:
        """Take apart what `str` of a fingerprint with so many inputs gave."""
        *found, maker = text.split(" ", inputs)
        return cls(tuple(found), maker)


@dataclass(frozen=True, kw_only=True)
class Notes:
    """Base of all notes."""

    INPUTS: ClassVar[int] = 0
    """How many inputs the fingerprint `input` names, where these notes have one."""

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        """The notes that :meth:`stored` gave.

        Raises:
            KeyError: one is missing.
        """
        values = {f.name: stored[f.name] for f in fields(cls) if f.name in stored or not _has_default(f)}
        if "input" in values:
            values["input"] = Fingerprint.parse(values["input"], cls.INPUTS)
        return cls(**values)

    def stored(self) -> dict[str, Any]:
        """The notes as JSON values by name."""
        values = asdict(self)
        return values | ({"input": str(getattr(self, "input"))} if "input" in values else {})  # noqa: B009


def _has_default(f: Any) -> bool:
    return f.default is not MISSING or f.default_factory is not MISSING


@dataclass(frozen=True, kw_only=True)
class RawPagesNotes(Notes):
    """Notes of a segment of `raw_pages`."""

    content: str
    """Digest of what later stages depend on."""
    rows: int
    batch: int
    """The version of the batch that was crawled."""
    policy: str
    """The rules of the crawl: with others each page is asked for again."""


@dataclass(frozen=True, kw_only=True)
class TextNotes(Notes):
    """Notes of a segment of `extracted_text`."""

    INPUTS: ClassVar[int] = 1
    content: str
    """Digest of what later stages depend on: the accepted documents and their texts."""
    input: Fingerprint
    """What it was made from: the content of `raw_pages`, by the extractor under its limits."""
    extractor_version: str
    rows: int
    documents: int
    """How many rows are documents."""
    outcomes: dict[str, int]
    languages: dict[str, int] = field(default_factory=dict)
    """Accepted documents by language; those of the earliest versions have none."""
    plain_version: str = ""
    """What changes a row of a plain text; such rows stay where it is the same."""
    plain: int = 0
    """How many rows are of plain texts, as those that are given."""
    min_words: int = -1
    """From how many words a text was a document."""

    def outdated(self, version: str, plain_version: str) -> int:
        """How many texts an extractor of these versions would make anew."""
        if self.extractor_version == version:
            return 0
        kept = self.plain if self.plain_version == plain_version else 0
        return self.rows - self.outcomes.get("not_fetched", 0) - kept


@dataclass(frozen=True, kw_only=True)
class VectorNotes(Notes):
    """Notes of a segment of `embeddings`."""

    INPUTS: ClassVar[int] = 1
    input: Fingerprint
    """What it was made from: the content of `extracted_text`, by the model."""
    rows: int
    model: str
    dim: int


@dataclass(frozen=True, kw_only=True)
class SketchNotes(Notes):
    """Notes of a segment of `sketches`."""

    INPUTS: ClassVar[int] = 3
    input: Fingerprint
    """What it was made from: the paths of texts, vectors and directions, by the version of sketches."""
    rows: int


@dataclass(frozen=True, kw_only=True)
class FactNotes(Notes):
    """Notes of a segment of `page_metadata` or `personal_data`."""

    INPUTS: ClassVar[int] = 1
    input: Fingerprint
    """What it was made from: the path of the texts, by the version of what was looked for."""
    rows: int


@dataclass(frozen=True, kw_only=True)
class SignalNotes(FactNotes):
    """Notes of a segment of `quality_signals`."""

    names: Sequence[str]
    """Its signals, each a column."""
