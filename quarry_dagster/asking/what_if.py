"""What a run would do with one document: the published corpus with it beside the published one as it is.

The document is extracted, rated, sketched, paired, scored and decided on by the functions that a run calls. What a run
does with all documents is done here with those that the change can reach: documents of the same page or text, texts
that a rule joins, and so on until there are no more. Stars do not reach beyond that, so the decisions are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from quarry_dagster.asking.questions import Place, place_of
from quarry_dagster.asking.snapshot import FILTERED, WAITING, Snapshot
from quarry_dagster.asking.standing import BEFORE, STEP, Changed
from quarry_dagster.dates import day_of
from quarry_dagster.dedup import candidates, decide, near, scoring, verify
from quarry_dagster.dedup.shingles import sketches
from quarry_dagster.errors import ConfigError, InvalidId, InvalidUrl
from quarry_dagster.extract import Extraction, Page
from quarry_dagster.quality.classifiers import Scorer
from quarry_dagster.stages.corpus.filtering import Ruling
from quarry_dagster.stages.corpus.sketches import with_page_urls
from quarry_dagster.stages.quality_signals import rated
from quarry_dagster.store.schemas import DOCUMENTS, EXTRACTED, HOST, PAIRS
from quarry_dagster.urls import doc_id
from quarry_dagster.urns import own_id, urn_of

NAMESPACE = "asked"
"""What the ids are ids of, of documents without a URL."""
_TYPE = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Given:
    """A document as a seed would give it."""

    text: str
    url: str | None = None
    id: str | None = None
    """Of a document without a URL; without either it is one of its own."""
    name: str = NAMESPACE
    """The seed's name, of which the id is one."""
    date: str | None = None
    language: str | None = None


@dataclass(frozen=True)
class Failure:
    """A rule of the quality policy that a document fails."""

    rule: str
    value: float
    threshold: float


@dataclass(frozen=True)
class Verdict:
    """What a run would do with a document."""

    verdict: str
    """`kept`, `removed` (a duplicate), `filtered` (by the quality policy), `not_accepted` (no document) or `forgotten`
    (a takedown keeps it out)."""
    doc_id: str
    url: str
    outcome: str
    """As `extracted_text` would have it."""
    detail: str | None = None
    level: str | None = None
    rule: str | None = None
    witness: Place | None = None
    kept: Place | None = None
    containment: float | None = None
    jaccard: float | None = None
    displaces: tuple[Place, ...] = ()
    """Documents that are kept now and would go for it, or because of it."""
    failed: tuple[Failure, ...] = ()
    policy: str | None = None
    replaces: bool = False
    """Whether the corpus has a document of this id, whose next version it would be."""


def decide_on(snapshot: Snapshot, given: Given, scorers: dict[str, Scorer] | None = None) -> Verdict:
    """What a run would do with a document if nothing else came.

    `scorers` are the models of the profile whose scores the policy asks for.

    Raises:
        ConfigError: the document's URL or id is none; or the corpus is decided on cosines as well, which are not asked.
        StoreError: a text that it is compared with cannot be read.
    """
    if snapshot.settings.by_vector:
        raise ConfigError(
            "this corpus is decided on cosines too (deduplication.mode aggressive, or candidates sketches+vectors), "
            "and a single document is decided on by texts alone: quarry run tells"
        )
    address, own, id_ = _identity(snapshot, given)
    if reason := snapshot.store.forgotten().reason(address):
        return Verdict("forgotten", id_, address, "not_fetched", reason)
    row = _extracted(snapshot, given, address)
    replaced = snapshot.row_of_id(id_)
    facts = {"doc_id": id_, "url": address, "outcome": row.outcome, "detail": row.detail}
    facts["replaces"] = replaced is not None
    if row.outcome != EXTRACTED or row.text is None:
        return Verdict("not_accepted", **facts)
    date, language = day_of(given.date.strip()) if given.date else None, given.language or row.language
    failed = _failures(snapshot.ruling, row, language, address, scorers or {})
    if snapshot.ruling:
        facts |= {"failed": failed, "policy": snapshot.ruling.policy.stamp}
    is_filtered = bool(failed and snapshot.ruling and snapshot.ruling.drops)
    document = with_page_urls(
        pl.DataFrame(
            {
                **{"doc_id": id_, "url": address, "final_url": address, "canonical_url": None},
                **{"text_digest": row.text_digest, "word_count": row.word_count, "date": date},
                **{"partition": "", "own_id": own},
            },
            schema={c: pl.Int64 if c == "word_count" else pl.String for c in _OF_TEXT},
        )
    ).select(DOCUMENTS.names())
    change = _Change(snapshot, document, row.text, replaced)
    before, after = change.decided(is_candidate=not is_filtered, is_failing=bool(failed))
    facts["displaces"] = () if snapshot.settings.mode == "annotate" else change.displaced(before, after)
    if is_filtered:
        return Verdict("filtered", **facts)
    mine = after.filter(removed_id=id_)
    if mine.is_empty():
        return Verdict("kept", **facts)
    (decision,) = mine.rows(named=True)
    facts |= {name: decision[name] for name in ("level", "rule", "containment", "jaccard")}
    facts |= {"witness": change.place(decision["witness_id"]), "kept": change.place(decision["kept_id"])}
    return Verdict("kept" if snapshot.settings.mode == "annotate" else "removed", **facts)


def prepare() -> None:
    """Load what the first decision would otherwise wait for."""
    from quarry_dagster.extract.language import likeliest_language
    from quarry_dagster.extract.page import extract_page

    assert extract_page
    likeliest_language("a text")


_OF_TEXT = (
    *("doc_id", "url", "final_url", "canonical_url", "text_digest", "word_count", "date", "partition"),
    "own_id",
)


def _identity(snapshot: Snapshot, given: Given) -> tuple[str, str | None, str]:
    """The address of a document, the id that its seed gives it, and its doc_id."""
    form = snapshot.store.root().urls
    try:
        own = own_id(given.id)
        if given.url is not None:
            return given.url, own, doc_id(given.url, form)
        address = urn_of(given.name, own if own is not None else "this text")
        return address, own, doc_id(address, form)
    except InvalidUrl as e:
        raise ConfigError(f"the document's url is none: {e}") from e
    except InvalidId as e:
        raise ConfigError(str(e)) from e
    except UnicodeEncodeError as e:
        raise ConfigError("the name has half a character (a lone surrogate); write it anew") from e


def _extracted(snapshot: Snapshot, given: Given, address: str) -> Extraction:
    """The document's row of `extracted_text`."""
    from quarry_dagster.extract.page import extract_page  # it loads the parsers, which a plain text does not need

    body = given.text.encode(errors="replace")
    return extract_page(Page("", address, body, _TYPE), snapshot.profile.extraction)


def _failures(
    ruling: Ruling | None, row: Extraction, language: str | None, address: str, scorers: dict[str, Scorer]
) -> tuple[Failure, ...]:
    """The rules of the policy that the document fails."""
    if ruling is None:
        return ()
    strings = {"text": pl.String, "text_format": pl.String, "language": pl.String}
    texts = pl.DataFrame([[row.text, row.text_format, language]], strings, orient="row")
    facts = texts.select("language", page_type=pl.lit(None, pl.String), url=pl.lit(address))
    signals = pl.concat([facts.with_columns(HOST.alias("host")), rated(texts, scorers)], how="horizontal")
    columns = ("rule", "value", "threshold")
    return tuple(Failure(*each) for each in ruling.policy.failures(signals).select(columns).rows())


@dataclass
class _Reached:
    """What a change can reach: texts by digest, and rows of standing documents."""

    texts: set[int] = field(default_factory=set)
    rows: set[int] = field(default_factory=set)


class _Change:
    """A corpus with one document more, or with another version of one."""

    def __init__(self, snapshot: Snapshot, document: pl.DataFrame, text: str, replaced: int | None) -> None:
        """`document`: its row, schema DOCUMENTS; `replaced`: the row of the standing document of its id."""
        self._snapshot = snapshot
        self._document = document
        self._text = text
        self._replaced = replaced
        self._digest: str = document["text_digest"][0]
        self._same = snapshot.text_of_digest(self._digest)
        self._came: dict[int, str] = {}  # digests by number
        self._sketches: dict[int, np.ndarray] = {}
        self._gone: list[int] = []  # numbers of standing texts
        self._find_places()
        self._pair()
        self._reach()

    def decided(self, *, is_candidate: bool, is_failing: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The decisions (schema DECISIONS) on what is reached, before and after the change."""
        s = self._snapshot
        rows = s.documents[sorted(self._reached.rows)]
        standing = rows.filter(~pl.col("fate").is_in([FILTERED, WAITING]))
        failing = standing.filter("is_failing")["doc_id"]
        columns = DOCUMENTS.names()
        before = decide.decide(standing.select(columns), self._known_pairs(), s.settings, failing)
        id_ = self._document["doc_id"][0]
        others = standing.filter(pl.col("doc_id") != id_).select(columns)
        documents = pl.concat([others, self._document]) if is_candidate else others
        failing = pl.concat([failing.filter(failing != id_), pl.Series([id_] if is_failing else [], dtype=pl.String)])
        self._standing = standing.filter(pl.col("doc_id") != id_)["doc_id"]
        return before, decide.decide(documents, self._pairs_after(), s.settings, failing)

    def displaced(self, before: pl.DataFrame, after: pl.DataFrame) -> tuple[Place, ...]:
        """The documents that were kept and are not any more."""
        now = set(after["removed_id"]) - set(before["removed_id"])
        found = [self._snapshot.row_of_id(id_) for id_ in self._standing if id_ in now]
        return tuple(place_of(self._snapshot, row) for row in found if row is not None)

    def place(self, id_: str) -> Place | None:
        """How an answer names the document of an id."""
        if id_ == self._document["doc_id"][0]:
            return Place(id_, self._document["url"][0], None)
        row = self._snapshot.row_of_id(id_)
        return None if row is None else place_of(self._snapshot, row)

    def _find_places(self) -> None:
        """Find the texts that come to a place in the order of keeping, and those that leave one.

        A text stands where its first document does.
        """
        s = self._snapshot
        of_replaced = None if self._replaced is None else int(s.documents["text"][self._replaced])
        places: list[tuple[pl.DataFrame, str, int | None]] = []
        for text in {self._same, of_replaced} - {None} | ({None} if self._same is None else set()):
            rows = [] if text is None else [row for row in s.of_text.of(text).tolist() if row != self._replaced]
            others = s.documents[rows].select(DOCUMENTS.names())
            after = pl.concat([others, self._document]) if text == self._same else others
            first = decide.in_order(after, s.settings).head(1)
            if text is not None:
                before = s.documents[[s.first(text)]]
                if first.select(_PLACE).equals(before.select(_PLACE)):
                    continue
                self._gone.append(STEP * text + BEFORE)
            if first.height:
                places.append((first, self._digest if text is None else s.digest(text), text))
        ordered = decide.in_order(pl.concat([self._document.clear(), *(each[0] for each in places)]), s.settings)
        made = dict(zip(ordered["doc_id"].to_list(), range(len(places)), strict=True))
        for first, digest, text in places:
            number = STEP * self._texts_before(first) + made[first["doc_id"][0]]
            self._came[number] = digest
            self._sketches[number] = sketches([self._text])[0] if text is None else s.standing.sketch(text)

    def _texts_before(self, document: pl.DataFrame) -> int:
        """How many standing texts come before a document in the order of keeping."""
        s = self._snapshot
        low, high = 0, s.count
        while low < high:
            middle = (low + high) // 2
            row = s.documents[[s.first(middle)]].select(DOCUMENTS.names())
            both = pl.concat([row.with_columns(is_it=False), document.with_columns(is_it=True)])
            is_before = not decide.in_order(both, s.settings)["is_it"][0]
            low, high = (middle + 1, high) if is_before else (low, middle)
        return low

    def _pair(self) -> None:
        """Find and score the candidate pairs of texts that came, and of those whose candidates that changed."""
        s = self._snapshot
        every = Changed(s.standing, self._sketches)
        came, gone = (pl.Series(sorted(each), dtype=pl.UInt32) for each in (self._came, self._gone))
        again, found = candidates.by_sketch(every, came, gone)
        self._again = {*again.to_list(), *self._gone}
        digests = self._digests(pl.concat([found["left"], found["right"]]))
        named = pl.DataFrame({side: [digests[n] for n in found[side].to_list()] for side in ("left", "right")}, _NAMED)
        known = self._known([number // STEP for number in self._again if number not in self._came])
        is_new = found.select(pl.any_horizontal(pl.col("left", "right").is_in([*self._came]))).to_series()
        fresh = pl.concat([named.filter(is_new), named.filter(~is_new).join(known, on=["left", "right"], how="anti")])
        stays = named.filter(~is_new).join(known, on=["left", "right"], maintain_order="left").select(PAIRS.names())
        self._found = pl.concat([stays, self._scored(fresh)])

    def _scored(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """Pairs of digests with their scores, schema PAIRS, as far as these are worth keeping."""
        s = self._snapshot
        if pairs.is_empty():
            return pl.DataFrame(schema=PAIRS)
        digests = pl.concat([pairs["left"], pairs["right"]]).unique().sort()
        (mine,) = near.Text.of([self._text])
        others = [d for d in digests.to_list() if d != self._digest]
        standing = [s.text_of_digest(digest) for digest in others]
        rows = [s.first(text) for text in standing if text is not None]
        text_of = dict(zip(others, s.texts.shingled(rows), strict=True)) | {self._digest: mine}
        left, right = (digests.search_sorted(pairs[side]).to_numpy() for side in ("left", "right"))
        scores = verify.scores([text_of[digest] for digest in digests.to_list()], left, right)
        scored = pl.concat([pairs, scores], how="horizontal").filter(scoring.WORTH_KEEPING)
        return scored.with_columns(cosine=pl.lit(None, pl.Float64)).select(PAIRS.names())

    def _digests(self, numbers: pl.Series) -> dict[int, str]:
        s = self._snapshot
        return {n: self._came[n] if n in self._came else s.digest(n // STEP) for n in numbers.unique().to_list()}

    def _known(self, texts: Iterable[int]) -> pl.DataFrame:
        """The scored pairs of standing texts, schema PAIRS and the numbers of the two."""
        s = self._snapshot
        rows = np.unique(np.concatenate([np.empty(0, np.int64), *(s.known_pairs(text) for text in texts)]))
        return s.pairs[rows].select(*PAIRS.names(), "left_text", "right_text")

    def _reach(self) -> None:
        """Find what the change can reach, see the module."""
        s = self._snapshot
        self._reached = _Reached()
        seen_pages: set[str] = set()
        sides = decide.seen_from_both(self._found, s.settings).filter(pl.col("rule").is_not_null())
        digests = {*sides["text"].to_list(), *sides["other"].to_list()} - {self._digest}
        waiting = [text for digest in digests if (text := s.text_of_digest(digest)) is not None]
        waiting += [self._same] if self._same is not None else []
        waiting += [n // STEP for n in self._again if n not in self._came]
        rows = s.rows_of_page(self._document["page_url"][0])
        rows += [] if self._replaced is None else [self._replaced]
        waiting += s.documents["text"][rows].to_list() if rows else []
        pairs = s.pairs.select("left_text", "right_text")
        while waiting:
            text = waiting.pop()
            if text in self._reached.texts:
                continue
            self._reached.texts.add(text)
            rows = s.of_text.of(text).tolist()
            self._reached.rows.update(rows)
            for page in s.documents["page_url"][rows].to_list():
                if page not in seen_pages:
                    seen_pages.add(page)
                    waiting += s.documents["text"][s.rows_of_page(page)].to_list()
            for both in pairs[s.rivals(text)].rows():
                waiting += both

    def _known_pairs(self) -> pl.DataFrame:
        """The pairs of reached texts as the corpus has them, schema PAIRS."""
        return self._known(sorted(self._reached.texts)).select(PAIRS.names())

    def _pairs_after(self) -> pl.DataFrame:
        """The pairs of reached texts after the change, schema PAIRS."""
        again = [number // STEP for number in self._again if number not in self._came]
        is_again = pl.any_horizontal(pl.col("left_text", "right_text").is_in(again))
        stays = self._known(sorted(self._reached.texts)).filter(~is_again)
        return pl.concat([stays.select(PAIRS.names()), self._found])


_NAMED = pl.Schema({"left": pl.String, "right": pl.String})
_PLACE = ["text_digest", "word_count", "date", "doc_id"]
"""What a text's place in the order of keeping is of."""
