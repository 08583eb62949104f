"""What a snapshot is asked: is a text in, what is near it, what is known of a document.

Every function is one of its snapshot and its arguments alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from quarry_dagster.asking.snapshot import FATES, KEPT, REMOVED, Filters, Snapshot
from quarry_dagster.dedup import decide, near, verify
from quarry_dagster.dedup.shingles import sketches
from quarry_dagster.errors import ConfigError
from quarry_dagster.extract.words import of_plain_text, text_digest
from quarry_dagster.store.schemas import SCORED_LEVELS

_OF_DOCUMENT = ("doc_id", "url", "title", "language", "page_type", "host", "word_count", "date")


@dataclass(frozen=True)
class Place:
    """A document that an answer names."""

    doc_id: str
    url: str
    title: str | None


@dataclass(frozen=True)
class Contained:
    """Whether a text is in a corpus: whether one that the corpus has, or removed for one it has, makes it needless."""

    is_in: bool
    level: str | None = None
    """`exact`, `near` or `contained`; None where it is not in."""
    rule: str | None = None
    witness: Place | None = None
    """What the rule holds with; where the text is not in, the document that has most of it, if one was found."""
    kept: Place | None = None
    """The witness, or what is kept in its place; None where the text is not in."""
    containment: float | None = None
    """Of the text's word 3-grams in the witness' text."""
    jaccard: float | None = None
    against: tuple[str, ...] = ()
    """Where it is not in: the guards that speak against taking the witness for it."""


@dataclass(frozen=True)
class Neighbour:
    """A document near a text by meaning."""

    cosine: float
    doc_id: str
    url: str
    title: str | None
    language: str | None
    page_type: str | None
    verdict: str
    text: str | None = None


def contains(snapshot: Snapshot, text: str) -> Contained:
    """Whether a text is in the corpus, by the rules that the corpus was made by; cosines are not asked."""
    kept_form = of_plain_text(text.encode(errors="replace").decode())
    same = snapshot.text_of_digest(text_digest(kept_form))
    if same is not None and (row := _standing(snapshot, same)) is not None:
        place = place_of(snapshot, row)
        kept = _kept_for(snapshot, row)
        return Contained(True, "exact", decide.EXACT_RULE, place, kept, containment=1.0, jaccard=1.0)
    (sketch,) = sketches([kept_form])
    partners = [text for text in snapshot.standing.partners(sketch).tolist() if text != same]
    rows = {text: row for text in partners if (row := _standing(snapshot, text)) is not None}
    if not rows:
        return Contained(False)
    texts = [*near.Text.of([kept_form]), *snapshot.texts.shingled([snapshot.first(text) for text in rows])]
    numbers = np.arange(1, len(texts))
    scores = verify.scores(texts, np.zeros(len(numbers), np.int64), numbers)
    seen = scores.select(
        "jaccard",
        cosine=pl.lit(None, pl.Float64),
        containment="left_in_right",
        guards="left_guards",
    )
    ruled = decide.verdicts(seen, snapshot.settings).with_columns(text=pl.Series(list(rows), dtype=pl.Int64))
    fates = snapshot.documents["fate"]
    found = sorted(
        (SCORED_LEVELS.index(each["level"]), fates[rows[each["text"]]] != KEPT, each["text"], i)
        for i, each in enumerate(ruled.rows(named=True))
        if each["level"]
    )
    if found:
        best = ruled.row(found[0][-1], named=True)
        row = rows[best["text"]]
        scored = {"containment": best["containment"], "jaccard": best["jaccard"]}
        place = place_of(snapshot, row)
        return Contained(True, best["level"], best["rule"], place, _kept_for(snapshot, row), **scored)
    best = max(ruled.rows(named=True), key=lambda each: (each["containment"], -each["text"]))
    if best["guards"] == near.NOT_COMPARED:
        return Contained(False)
    against = tuple(near.named(best["guards"]))
    place = place_of(snapshot, rows[best["text"]])
    return Contained(False, None, None, place, None, best["containment"], best["jaccard"], against)


def similar(
    snapshot: Snapshot, vectors: np.ndarray, k: int, filters: Filters, *, with_text: bool = False
) -> list[list[Neighbour]]:
    """The k documents nearest to each unit vector (float32, shape (n, dim)) that pass the filters, best first.

    Raises:
        ConfigError: the vectors are not as long as those of the index.
    """
    if vectors.shape[1] != snapshot.index.dim:
        raise ConfigError(f"the index holds vectors of {snapshot.index.dim} numbers, and not of {vectors.shape[1]}")
    index, passing = snapshot.searched(filters)
    positions, cosines = index.search(vectors, min(k, max(1, len(index))), snapshot.profile.index)
    answers: list[list[Neighbour]] = []
    for of_row, values in zip(positions.tolist(), cosines.tolist(), strict=True):
        found: list[tuple[int, float]] = []
        for position, cosine in zip(of_row, values, strict=True):
            if position >= 0:
                rows = snapshot.of_text.of(int(snapshot.text_at[position]))
                found += [(row, cosine) for row in rows[passing[rows]].tolist()]
        answers.append(_neighbours(snapshot, found[:k], with_text=with_text))
    return answers


def document(snapshot: Snapshot, doc_id: str, *, include_removed: bool) -> dict[str, Any] | None:
    """What is known of a document, with its text; None where the corpus does not know it, or did not keep it and that
    is not asked for."""
    row = snapshot.row_of_id(doc_id)
    if row is None or not (include_removed or snapshot.documents["fate"][row] == KEPT):
        return None
    facts = snapshot.documents.select(*_OF_DOCUMENT).row(row, named=True)
    found = facts | {"verdict": snapshot.fate(row), "text": snapshot.texts.text(row)}
    columns = ("level", "rule", "witness", "kept", "containment", "jaccard")
    decision = snapshot.documents.select(columns).row(row, named=True)
    return found | {"decision": decision if decision["level"] else None}


def place_of(snapshot: Snapshot, row: int) -> Place:
    """How an answer names a document."""
    return Place(*snapshot.documents.select("doc_id", "url", "title").row(row))


def _standing(snapshot: Snapshot, text: int) -> int | None:
    """The row of the document by which a text is in the corpus: one that is kept, else one that was removed for
    another; None where the policy keeps all of them out."""
    rows = snapshot.of_text.of(text).tolist()
    fates = snapshot.documents["fate"]
    return next((row for fate in (KEPT, REMOVED) for row in rows if fates[row] == fate), None)


def _kept_for(snapshot: Snapshot, row: int) -> Place | None:
    """What is kept for a document that stands."""
    if snapshot.documents["fate"][row] == KEPT:
        return place_of(snapshot, row)
    kept = snapshot.row_of_id(snapshot.documents["kept"][row])
    return None if kept is None else place_of(snapshot, kept)


def _neighbours(snapshot: Snapshot, found: Sequence[tuple[int, float]], *, with_text: bool) -> list[Neighbour]:
    columns = ("doc_id", "url", "title", "language", "page_type", "fate")
    rows = snapshot.documents.select(columns)[[row for row, _ in found]].rows() if found else []
    answers: list[Neighbour] = []
    for (row, cosine), (id_, url, title, language, page_type, fate) in zip(found, rows, strict=True):
        text = snapshot.texts.text(row) if with_text else None
        answers.append(Neighbour(round(cosine, 4), id_, url, title, language, page_type, FATES[fate], text))
    return answers
