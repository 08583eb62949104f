"""What other settings do anew: which texts would be extracted or embedded again, counted before it begins.

Why so: "The data root remembers its settings" in docs/decisions.md.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import islice

from quarry_dagster.embed import load_encoder, vector_id, why_other_vectors
from quarry_dagster.errors import ConfigError
from quarry_dagster.extract import Extractor, extractor_version, normal_form, plain_version
from quarry_dagster.plural import plural
from quarry_dagster.profiles.remembered import made_with, to_remember
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.stages.extracted_text import page_of
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import ACCEPTED

MANY = 1000
"""Above so many texts somebody is asked first."""
_SAMPLE = 16
"""So many texts are worked on to say how long all will take."""
_NOT_TEXTS = {
    "crawl": "pages are kept, dropped or asked for again by the other rules of the crawl",
    "page_metadata": "what pages say of themselves is read anew, by the other processors",
    "index": "the index is built anew where its type changes",
    "quality": "which documents are good enough is decided anew, by signals that are there or read from the texts",
    "deduplication": "what is a duplicate is decided anew",
    "partitions": "new documents are cut into partitions of the other size; those that have one keep it",
}
"""What other settings of a section do, where they do not touch texts."""


@dataclass(frozen=True)
class Redo:
    """What would be done anew in a data root under a profile."""

    sections: frozenset[str] = frozenset()
    """Sections of the settings that differ from those that rows were made with."""
    extracted: int = 0
    """Pages whose text would be extracted anew."""
    embedded: int = 0
    """Documents that would be embedded anew."""
    why: str = ""
    """Why vectors would be others although the settings are the same: this machine or this version differs."""

    @property
    def is_to_be_confirmed(self) -> bool:
        """Whether somebody has to say that it is meant: other settings, or another machine, and many texts."""
        return max(self.extracted, self.embedded) > MANY and bool(self.sections or self.why)

    @property
    def cause(self) -> str:
        """Why anything is done anew."""
        return "other settings than before" if self.sections else "another version, or another machine, than before"

    def lines(self, store: Store, profile: HardwareProfile) -> list[str]:
        """What would be done anew and about how long it takes on this machine, in sentences; empty where nothing is."""
        found = [_NOT_TEXTS[section] for section in sorted(self.sections & _NOT_TEXTS.keys())]
        if self.extracted:
            seconds = self.extracted * seconds_a_page(store, profile)
            found.append(f"{plural(self.extracted, 'text is', 'texts are')} extracted anew, about {duration(seconds)}")
        if self.embedded:
            seconds = self.embedded * seconds_a_text(store, profile)
            why = f" ({self.why})" if self.why else ""
            found.append(
                f"{plural(self.embedded, 'text is', 'texts are')} embedded anew, about {duration(seconds)}{why}"
            )
        elif self.extracted:
            found.append("texts that come out otherwise are embedded anew")
        return found


def redo(store: Store, profile: HardwareProfile) -> Redo:
    """What a run under this profile would do anew, over all texts that there are.

    Where everything is as the data root remembers it, no table is looked at.
    """
    root, now = store.root(), made_with(profile)
    version, vectors = extractor_version(profile.extraction), vector_id(profile.embedding)
    if (root.made_with, root.extractor, root.vectors) == (now, version, vectors):
        return Redo()
    texts, made = store.extracted_text.segments().values(), store.embeddings.segments().values()
    sections = {name for name, value in now.items() if root.made_with.get(name, value) != value}
    if not root.made_with:  # of before settings were remembered: what the tables say counts
        sections |= {"embedding"} if any(s.notes.rows and s.notes.model != vectors for s in made) else set()
    found = Redo(
        frozenset(sections),
        sum(s.notes.outdated(version, plain_version(profile.extraction)) for s in texts),
        sum(s.notes.rows for s in made if s.notes.model != vectors),
    )
    if not found.embedded or "embedding" in sections or not root.vectors:
        return found
    return replace(found, why=why_other_vectors(profile.embedding, root.vectors))


def adopt(store: Store, profile: HardwareProfile, *, confirmed: bool, how: str) -> Redo:
    """Remember the settings of a profile in the data root, before anything is made with them; returns what that redoes.

    `confirmed` says that somebody meant it: whatever differs from what the published corpus was made with. `how` tells
    how to say so, for the message.

    Raises:
        ConfigError: so much would be done anew that somebody has to say that it is meant.
        StoreError: the data root cannot be written.
    """
    found, root, digests = redo(store, profile), store.root(), made_with(profile)
    if found.is_to_be_confirmed and not confirmed:
        what = "; ".join(found.lines(store, profile))
        raise ConfigError(f"{found.cause}: {what}. If it is meant, {how}")
    corpus = store.deduped_corpus.current() if confirmed else None
    standing = corpus.made_with if corpus else {}
    meant = {section for section, value in digests.items() if standing.get(section, value) != value}
    now = replace(
        root,
        settings=to_remember(profile),
        made_with=digests,
        extractor=extractor_version(profile.extraction),
        vectors=vector_id(profile.embedding),
        confirmed=sorted(({*root.confirmed} - found.sections) | meant),
    )
    if now != root:
        now.write(store.files)
    return found


def seconds_a_page(store: Store, profile: HardwareProfile) -> float:
    """Seconds to extract a page on this machine under these settings, by a sample."""
    frames = (frame for segment in store.raw_pages.segments().values() for frame in segment.batches())
    rows = (row for frame in frames for row in frame.iter_rows(named=True) if row["body"] is not None)
    pages = [page_of(r) for r in islice(rows, _SAMPLE)]
    with Extractor(profile.extraction, profile.hardware.worker_count) as extractor:
        list(extractor.extract(pages[:1]))  # the workers start
        began = time.monotonic()
        list(extractor.extract(pages))
    return (time.monotonic() - began) / max(1, len(pages))


def seconds_a_text(store: Store, profile: HardwareProfile) -> float:
    """Seconds to embed a text on this machine under these settings, by a sample."""
    texts = store.extracted_text.scan().filter(ACCEPTED).select("text").head(_SAMPLE).collect()["text"]
    encoder = load_encoder(profile.embedding, profile.hardware.gpu_memory_fraction)
    began = time.monotonic()
    encoder.encode([normal_form(text) for text in texts])
    return (time.monotonic() - began) / max(1, len(texts))


def duration(seconds: float) -> str:
    """So many seconds, as a person says it."""
    if seconds < 90:
        return plural(max(1, round(seconds)), "second")
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
