"""A takedown: a page or a host is put on the list of what is kept out, and taken out of every table.

What is forgotten is deleted, not hidden: the versions and snapshots that still hold it go too. The network is not
asked. The list itself is :class:`quarry_dagster.store.Forgotten`; crawl and intake ask it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

import polars as pl

from quarry_dagster.checks.standing import INPUTS, refuse_while_failed
from quarry_dagster.crawl.journal import forget_journals
from quarry_dagster.embed import vector_id
from quarry_dagster.errors import ChecksFailedError, ConfigError, CorpusShrankError, InvalidUrl
from quarry_dagster.extract import Extractor
from quarry_dagster.intake import SEEDS, pending
from quarry_dagster.naming import seed_of
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.stages import corpus_report, embeddings, extracted_text, faiss_index
from quarry_dagster.stages.corpus import deduped_corpus
from quarry_dagster.stages.pages.crawling import journals
from quarry_dagster.stages.pages.findings import forget_in_findings
from quarry_dagster.stages.pages.further_seeds import FOUND
from quarry_dagster.stages.pages.raw_pages import CONTENT
from quarry_dagster.stages.pages.warc_files import forget_in_warcs
from quarry_dagster.stages.sweep import sweep
from quarry_dagster.store import Acceptance, Forgotten, Segment, Store, TextSegment, again, digest_rows
from quarry_dagster.store.schemas import EXTRACTED
from quarry_dagster.urls import UrlForm, canonical_url, host_of, same_page_url
from quarry_dagster.urns import normal_urn

_UNFINISHED = "takedown"
"""A value of the log while a takedown is under way, or could not end."""
_LIKE = 0.75
"""How like a host's name is one that may have been meant, by difflib's ratio; two letters of twelve changed places."""
_EMPTIED = ("body", "body_digest", "etag", "last_modified", "content_type", "own_columns")


def forget(store: Store, profile: HardwareProfile, url_or_host: str, *, accepted: Sequence[Acceptance] = ()) -> int:
    """Keep a URL, a document by its id, or a host out for good; returns how many pages went.

    Killed half-way, it goes on where it stopped when it is called again. `accepted` is what somebody said to publish
    although it was to be refused.

    Raises:
        CorpusShrankError: as :func:`take_out`.
        ConfigError: nothing here is named by it, several documents are, or the corpus was made under another model than
            the profile's.
        StoreError: the store cannot be written.
    """
    index = store.faiss_index.current()
    if index and index.model != vector_id(profile.embedding):
        raise ConfigError(
            f"the corpus was made under another profile (vectors of {index.model!r}): name that one with --profile"
        )
    named = _meant(store, url_or_host)
    _check_known(store, named)
    forgotten = put_on_list(store, named)
    return take_out(store, profile, forgotten, accepted)


def put_on_list(store: Store, url_or_host: str) -> Forgotten:
    """Put a URL or a host on the list; returns the list.

    Raises:
        ConfigError: it is neither.
    """
    form = store.root().urls  # of URLs that have one id here, to forget one is to forget the document
    key, now = _key(url_or_host, form), datetime.now(UTC)
    store.files.log.set(_UNFINISHED, lambda before: before or {"begun": now.isoformat(timespec="seconds")})
    Forgotten.put(store.files, key, form, now.date())
    return store.forgotten()


def _meant(store: Store, named: str) -> str:
    """The URL or host that is meant: an id stands for its document's address, where no host here has that name."""
    if normal_urn(named) or "://" in named:
        return named
    found = seed_of(store, named)
    if found is None:
        return named
    hosts = {host_of(url) for frame in _known_frames(store) for url in frame}
    names = hosts | {host.partition(":")[0] for host in hosts}
    return named if named.strip().lower() in names else found["url"]


def _check_known(store: Store, url_or_host: str) -> None:
    """Look whether there is anything that the entry would keep out, or it is on the list already.

    What a crawl under way or a killed one has got is in no table yet, and may be named: then all is known.

    Raises:
        ConfigError: there is not; hosts with a like name are named.
    """
    form, today, listed = store.root().urls, datetime.now(UTC).date(), store.forgotten()
    key = _key(url_or_host, form)
    entry = Forgotten({}).with_entry(key, form, today)
    if listed.with_entry(key, form, today) == listed or any(journals(store).glob("*/*.journal")):
        return
    if any(map(entry.reason, _known_urls(store))):
        return
    wanted = host_of(key) or key
    near: list[str] = []
    for frame in _known_frames(store):
        hosts = {host_of(url) for url in frame}
        named = hosts if ":" in wanted else {host.rsplit(":", 1)[0] for host in hosts}
        near = difflib.get_close_matches(wanted, {*near, *named}, 3, _LIKE)
    remedy = f"did you mean {' or '.join(near)}?" if near else "nothing in it has a name like that"
    if wanted in near:
        remedy = f"it has other pages of {wanted}"
    raise ConfigError(f"the data root has no page that {url_or_host!r} names, and nothing was changed: {remedy}")


def _known_urls(store: Store) -> Iterator[str]:
    """Each URL of a seed or page, redirected ones by both; and those that pages named and that wait to be taken in."""
    return (url for frame in _known_frames(store) for url in frame)


def _known_frames(store: Store) -> Iterator[list[str]]:
    """These URLs, a few thousand at a time."""
    for table in (store.batches, store.raw_pages):
        for segment in table.segments().values():
            for frame in segment.batches(["url", "final_url"], rows=4096):
                yield [url for pair in frame.iter_rows() for url in pair if url]
    for name in pending(store):
        if name.startswith(FOUND):
            with store.files.open(f"{SEEDS}/{name}") as file:
                while lines := list(islice(file, 4096)):
                    yield [line.decode().split()[0] for line in lines if line.strip()]


def take_out(store: Store, profile: HardwareProfile, forgotten: Forgotten, accepted: Sequence[Acceptance] = ()) -> int:
    """Take all that is on the list out of every table; returns how many pages with a body went.

    Raises:
        CorpusShrankError, ChecksFailedError: index and corpus are not to be published, by what else the tables hold;
            the next that are published end the takedown.
        StoreError: the store cannot be written.
    """
    taken = empty(store, forgotten)
    with Extractor(profile.extraction, profile.hardware.worker_count) as extractor:
        for partition in store.raw_pages.segments():
            if store.extracted_text.segment(partition):
                extracted_text.refresh(store, partition, extractor)
            if store.embeddings.segment(partition):
                embeddings.refresh(store, partition, profile)
    try:
        _publish(store, profile, accepted)
    except (CorpusShrankError, ChecksFailedError) as e:
        raise type(e)(
            "what is forgotten is out of every table, but not yet out of the corpus that is published, for more would "
            f"change in it: {e}. Whatever publishes the next corpus ends the takedown"
        ) from e
    finally:
        finish(store)
    if store.files.exists(corpus_report.PATH):
        corpus_report.refresh(store, profile)
    return taken


def is_unfinished(store: Store) -> bool:
    """Whether a takedown is under way, or could not end: then index and corpus are to be published anew."""
    return store.files.log.value(_UNFINISHED) is not None


def empty(store: Store, forgotten: Forgotten) -> int:
    """Empty batches, raw pages, journals and WARC files of what is on the list; returns how many pages had a body.

    Raises:
        StoreError: the store cannot be written.
    """
    forget_journals(journals(store))
    before = {partition: segment.version for partition, segment in store.batches.segments().items()}
    with store.files.lock("intake"):
        for partition in store.batches.segments():
            again(lambda: _empty_batch(store, partition, forgotten))  # noqa: B023
    after = {partition: segment.version for partition, segment in store.batches.segments().items()}
    taken = 0
    for partition in store.raw_pages.segments():
        with store.raw_pages.lock(partition):
            taken += again(
                lambda: _empty_pages(store, partition, forgotten, before[partition], after[partition])  # noqa: B023
            )
    forget_in_findings(store, forgotten)
    forget_in_warcs(store, forgotten)  # after that: a crawl under way may have written one until then
    return taken


def finish(store: Store) -> None:
    """Delete what only earlier versions hold; where none of what is forgotten is left, the takedown has ended.

    Raises:
        StoreError: the store cannot be written.
    """
    sweep(store, at_once=True)
    forgotten, corpus = store.forgotten(), store.deduped_corpus.current()
    texts = store.extracted_text.segments_at(corpus.inputs.texts).values() if corpus else ()
    tables = (segment for table in (store.batches, store.raw_pages) for segment in table.segments().values())
    if not any(_with_body(segment, forgotten) for segment in tables) and not any(
        _with_text(segment, forgotten) for segment in texts
    ):
        store.files.log.set(_UNFINISHED, lambda _: None)


def _publish(store: Store, profile: HardwareProfile, accepted: Sequence[Acceptance]) -> None:
    """Publish index and corpus anew, where there are any."""
    if store.faiss_index.current():
        refuse_while_failed(store, INPUTS, [])
        faiss_index.refresh(store, list(store.batches.segments()), profile, anew=True)
    if store.deduped_corpus.current():
        deduped_corpus.refresh(
            store, profile.deduplication, "forget", checks=profile.checks, accepted=accepted, anew=True
        )


def _empty_batch(store: Store, partition: str, forgotten: Forgotten) -> None:
    """Write a batch again without what the forgotten seeds carry."""
    segment = store.batches.segment(partition)
    if segment and (ids := _with_body(segment, forgotten)):
        with store.batches.write(segment.partition, over=segment) as writer:
            for frame in segment.batches():
                writer.append(_emptied(frame, ids, forgotten))


def _empty_pages(store: Store, partition: str, forgotten: Forgotten, before: int, after: int) -> int:
    """Write raw pages again without what the forgotten ones hold; returns how many these are.

    `before` and `after` are the versions of the partition's batch before and after it was emptied.
    """
    segment = store.raw_pages.segment(partition)
    if segment is None or not (ids := _with_body(segment, forgotten)):
        return 0
    facts: list[pl.DataFrame] = []
    with store.raw_pages.write(partition, over=segment) as writer:
        for frame in segment.batches():
            rows = _emptied(frame, ids, forgotten)
            writer.append(rows)
            facts.append(rows.select(CONTENT))
        content = digest_rows(pl.concat(facts))
        is_behind = segment.notes.batch != before  # a partition that is behind its batch stays so
        writer.note(replace(segment.notes, content=content, batch=segment.notes.batch if is_behind else after))
    return len(ids)


def _with_body(segment: Segment, forgotten: Forgotten) -> list[str]:
    """The doc_ids of the forgotten rows of a segment that have a body, or columns of their user's."""
    carried = pl.col("body_digest").is_not_null() | pl.col("own_columns").is_not_null()
    return [
        doc_id
        for frame in segment.batches(["doc_id", "url", "final_url", "body_digest", "own_columns"], rows=4096)
        for doc_id, url, final_url in frame.filter(carried).select("doc_id", "url", "final_url").iter_rows()
        if forgotten.reason(url) or forgotten.reason(final_url)
    ]


def _with_text(segment: TextSegment, forgotten: Forgotten) -> bool:
    """Whether a segment has the text of a forgotten page."""
    columns = ["url", "final_url", "outcome"]
    rows = (row for frame in segment.batches(columns, rows=4096) for row in frame.iter_rows())
    return any(
        outcome == EXTRACTED and (forgotten.reason(url) or forgotten.reason(final_url))
        for url, final_url, outcome in rows
    )


def _emptied(frame: pl.DataFrame, ids: list[str], forgotten: Forgotten) -> pl.DataFrame:
    """The rows (of `batches` or `raw_pages`), those of these doc_ids without a body and with the reason."""
    gone = pl.col("doc_id").is_in(ids)
    urls = frame.select("url", "final_url").iter_rows()
    reasons = pl.Series([forgotten.reason(url) or forgotten.reason(final) for url, final in urls], dtype=pl.String)
    return frame.with_columns(
        *(pl.when(~gone).then(pl.col(c)).alias(c) for c in _EMPTIED),
        outcome=pl.when(gone).then(pl.lit("opted_out")).otherwise("outcome"),
        detail=pl.when(gone).then(reasons).otherwise("detail"),
    )


def _key(url_or_host: str, form: UrlForm) -> str:
    """What stands on the list for a URL, in this normal form, or a host."""
    if urn := normal_urn(url_or_host):
        return urn
    try:
        canonical_url(url_or_host)
        return same_page_url(url_or_host, form)
    except InvalidUrl:
        name = url_or_host.strip()
        host = host_of(f"http://{name}")
        # A default port is no part of a host: who names one may not mean the others.
        if not host or not {*"/?#@\\"}.isdisjoint(name) or host.count(":") != name.count(":"):
            raise ConfigError(
                f"{url_or_host!r} is neither a URL (http://host/page) nor a host (host:port), nor the id of a document"
            ) from None
        return host
