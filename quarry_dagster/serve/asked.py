"""What requests may ask: the bodies of the endpoints, typed. Their JSON schemas are those of `/openapi.json`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from quarry_dagster.asking.snapshot import Fate
from quarry_dagster.asking.what_if import NAMESPACE, Given

BATCH = 256
"""Texts of one request."""
MOST = 1000
"""Neighbours of one text."""

Text = Annotated[str, Field(description="as it would stand in a seed's column text")]
Name = Annotated[str, Field(max_length=200)]


class Asked(BaseModel):
    """Base of all bodies: an unknown member is an error, and nothing is taken for what it is not."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Texts(Asked):
    """One text, or several."""

    text: Text | None = None
    texts: Annotated[list[Text], Field(min_length=1, max_length=BATCH)] | None = None

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if (self.text is None) == (self.texts is None):
            raise ValueError("give text, or texts, and not both")
        return self

    @property
    def each(self) -> list[str]:
        """The texts."""
        return self.texts or [self.text or ""]


class ContainsAsked(Texts):
    """Whether the corpus has these."""


class SimilarAsked(Asked):
    """What is near a text, or a vector of the index' model."""

    text: Text | None = None
    texts: Annotated[list[Text], Field(min_length=1, max_length=BATCH)] | None = None
    vector: Annotated[list[float], Field(min_length=1, max_length=8192)] | None = None
    k: Annotated[int, Field(ge=1, le=MOST)] = 10
    language: Name | None = None
    host: Name | None = None
    page_type: Name | None = None
    verdict: Fate | None = None
    """Only documents of which this became; other than kept with include removed alone."""
    include: Literal["removed"] | None = None
    """Answer with documents too that were removed, or that the policy keeps out."""
    with_text: bool = False

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if sum(each is not None for each in (self.text, self.texts, self.vector)) != 1:
            raise ValueError("give one of text, texts and vector")
        if self.verdict not in (None, "kept") and self.include != "removed":
            raise ValueError(f"documents with verdict {self.verdict} are answered with include: removed alone")
        most = MOST if self.with_text else 4 * MOST
        if self.k * len(self.texts or [""]) > most:
            raise ValueError(f"k times texts is more than {most:,}: ask for fewer neighbours, or in parts")
        return self


class Document(Asked):
    """A document as a seed would give it."""

    text: Text
    url: Annotated[str, Field(max_length=8192)] | None = None
    id: Annotated[str, Field(max_length=1000)] | None = None
    name: Name = NAMESPACE
    date: Annotated[str, Field(max_length=100)] | None = None
    language: Annotated[str, Field(pattern="^[a-z]{2}$")] | None = None

    def given(self) -> Given:
        """It as it is decided on."""
        return Given(**self.model_dump())


class DecideAsked(Asked):
    """What a run would do with these, each by itself."""

    document: Document | None = None
    documents: Annotated[list[Document], Field(min_length=1, max_length=BATCH)] | None = None

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if (self.document is None) == (self.documents is None):
            raise ValueError("give document, or documents, and not both")
        return self

    @property
    def each(self) -> list[Document]:
        """The documents."""
        return self.documents or [each for each in (self.document,) if each]
