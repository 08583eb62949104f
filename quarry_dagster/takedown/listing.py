"""What a takedown names: what it would take, what stays beside it, and putting it on the list or taking it off."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

import polars as pl

from quarry_dagster.errors import ConfigError, InvalidUrl
from quarry_dagster.intake import SEEDS, Ledger, pending
from quarry_dagster.naming import seed_of
from quarry_dagster.stages.pages.crawling import journals
from quarry_dagster.stages.pages.further_seeds import FOUND
from quarry_dagster.store import Corpus, Forgotten, Store, Takedown
from quarry_dagster.store.state import CORPUS
from quarry_dagster.urls import UrlForm, canonical_url, host_of, same_page_url
from quarry_dagster.urns import normal_urn, parts_of

_MOST = 0.8
"""The share of a text's word 3-grams from which another text holds most of it."""
_LIKE = 0.75
"""How like a host's name is one that may have been meant, by difflib's ratio; two letters of twelve changed places."""


@dataclass
class Plan:
    """What a takedown would take out, and what would stay."""

    named: str
    """As the user named it."""
    key: str
    """The URL, URN or host that goes on the list."""
    form: UrlForm
    copies: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema={"doc_id": pl.String, "url": pl.String, "key": pl.String})
    )
    """Documents with the same or a near text, sorted by URL: columns doc_id, url, key."""
    holders: list[str] = field(default_factory=list)
    """URLs of further documents that hold most of such a text, and stay whatever is asked: it may be a quotation."""
    tags: list[str] = field(default_factory=list)
    """Tags that go, with the corpora of before."""
    held: int | None = None
    """The corpus that is held; the takedown publishes a new one, and the hold ends."""
    pages: int = 0
    """Pages and given documents with a body that would go."""
    rows: int = 0
    """Rows of seeds that it names."""
    seeds: dict[str, list[int]] = field(default_factory=dict)
    """Seed files that carry such a document, each with the lines (rows, records) where it stands."""
    with_copies: bool = False
    """Whether the copies go too."""

    def takedowns(self, who: str, why: str) -> list[Takedown]:
        """What goes on the list."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        keys = [(self.key, why)]
        if self.with_copies:
            keys += [(key, f"it has the text of {self.key}, or one near to it") for key in self.copies["key"]]
        return [Takedown(key, self.form, now, who, said) for key, said in dict(reversed(keys)).items()]


@dataclass
class Undone:
    """What came off the list, and how it may come back."""

    key: str
    crawled: int
    """Pages that come with the next crawl of their partition."""
    given: int
    """Documents that come when their seeds are read again."""
    seeds: list[str]
    """These seed files; the next run reads those that are in the inbox."""


def plan(store: Store, named: str, *, with_copies: bool = False) -> Plan:
    """What a takedown of this URL, document (by its id) or host would take out; nothing is changed.

    Raises:
        ConfigError: nothing here is named by it, or several documents are.
        StoreError: a table is damaged.
    """
    form = store.root().urls  # of URLs that have one id here, to forget one is to forget the document
    key = _key(_meant(store, named), form)
    found = Plan(named, key, form, with_copies=with_copies)
    entry = Forgotten((Takedown(key, form, ""),))
    found.copies, found.holders = _copies(store, entry)
    state = store.files.state()
    found.tags = sorted(state.tags)
    found.held = state.currents.get(CORPUS) if state.hold else None
    if with_copies:
        entry = Forgotten((*entry.takedowns, *(Takedown(k, form, "") for k in found.copies["key"])))
    _count(store, entry, found)
    if not found.rows:
        _check_known(store, named, key, entry)
    return found


def put_on_list(store: Store, url_or_host: str, who: str = "", why: str = "") -> Forgotten:
    """Put a URL, a URN or a host on the list, whatever the tables hold; returns the list.

    Raises:
        ConfigError: it is none of these.
    """
    form = store.root().urls
    Forgotten.put(store.files, Plan(url_or_host, _key(url_or_host, form), form).takedowns(who, why))
    return store.forgotten()


def undo(store: Store, named: str) -> Undone:
    """Take a takedown off the list; returns how what it named may come back.

    Raises:
        ConfigError: it is not on the list, or something of it is left.
        StoreError: the store cannot be written.
    """
    listed = {each.key: each for each in store.forgotten().takedowns}
    key = _listed(listed, named) or _key(named, store.root().urls)
    if key not in listed:
        host = host_of(key)
        near = [host] if host in listed else difflib.get_close_matches(key, listed, 3, _LIKE)
        remedy = f"did you mean {' or '.join(near)}?" if near else "quarry forget --list shows what is"
        raise ConfigError(f"{named!r} is not on the list, and nothing was changed: {remedy}")
    if listed[key].applied is None:
        raise ConfigError(
            f"the takedown of {key} was begun and has not ended: let quarry run, or quarry forget {key}, end it first"
        )
    entry = Forgotten((listed[key],))
    given, crawled, names = 0, 0, set()
    for frame in _rows(store, ["url", "final_url", "seed", "outcome"]):
        for url, final_url, seed, outcome in frame.iter_rows():
            if entry.reason(url) or entry.reason(final_url):
                is_given = outcome is not None
                given, crawled = given + is_given, crawled + (not is_given)
                names |= {seed} if is_given else set()
    Forgotten.take_off(store.files, key)
    with store.files.lock("intake"):
        Ledger.read(store).read_again(store, names)
    return Undone(key, crawled, given, sorted(names))


def _listed(listed: Collection[str], named: str) -> str | None:
    """The takedown on the list that is named as it stands there, or by the own id of the document that it names."""
    if named in listed:
        return named
    own = [key for key in listed if (found := parts_of(key)) and found[1] == named]
    return own[0] if len(own) == 1 else None


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


def _count(store: Store, entry: Forgotten, found: Plan) -> None:
    """Count in a plan what the entry names."""
    for frame in _rows(store, ["url", "final_url", "seed", "line", "body_digest"]):
        for url, final_url, seed, line, digest in frame.iter_rows():
            if entry.reason(url) or entry.reason(final_url):
                found.rows += 1
                if digest is not None:
                    found.seeds.setdefault(seed, []).append(line)
    for segment in store.raw_pages.segments().values():
        for frame in segment.batches(["url", "final_url", "body_digest"], rows=4096):
            for url, final_url, digest in frame.iter_rows():
                if entry.reason(url) or entry.reason(final_url):
                    found.pages += digest is not None
                    found.rows += 1


def _rows(store: Store, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """All rows of the batches, a few thousand at a time."""
    for segment in store.batches.segments().values():
        yield from segment.batches(list(columns), rows=4096)


def _copies(store: Store, entry: Forgotten) -> tuple[pl.DataFrame, list[str]]:
    """The documents that stay with the same or a near text (columns doc_id, url, key, sorted by URL), and the URLs of
    those that hold most of such a text."""
    columns = ["doc_id", "url", "final_url", "text_digest"]
    pages: dict[str, tuple[str, str]] = {}
    digests: set[str] = set()
    for segment in store.extracted_text.segments().values():
        for frame in segment.batches(columns, rows=4096):
            for doc_id, url, final_url, digest in frame.drop_nulls("text_digest").iter_rows():
                if entry.reason(url) or entry.reason(final_url):
                    pages[doc_id] = url, final_url
                    digests.add(digest)
    near = set(pages)
    corpus = store.deduped_corpus.current()
    if corpus and pages:
        decisions = corpus.decisions().select("removed_id", "kept_id").collect()
        names = pl.Series("kept_id", sorted(near), pl.String)
        kept = decisions.filter(pl.col("removed_id").is_in(names.implode()) | pl.col("kept_id").is_in(names.implode()))[
            "kept_id"
        ]
        cluster = decisions.filter(pl.col("kept_id").is_in(kept.unique().implode()))
        near |= {*cluster["kept_id"], *cluster["removed_id"]}
    rows = store.extracted_text.scan().select(columns).drop_nulls("text_digest")
    is_near = pl.col("text_digest").is_in(sorted(digests)) | pl.col("doc_id").is_in(sorted(near))
    found = rows.filter(is_near & ~pl.col("doc_id").is_in(sorted(pages))).sort("url", "doc_id").collect()
    form = store.root().urls
    keys = pl.Series("key", [same_page_url(url, form) for url in found["url"]], pl.String)
    holders = _holders(corpus, digests) if corpus and digests else set()
    further = rows.filter(pl.col("text_digest").is_in(sorted(holders - digests - {*found["text_digest"]})))
    return found.select("doc_id", "url", keys), sorted(further.select("url").collect()["url"])


def _holders(corpus: Corpus, digests: set[str]) -> set[str]:
    """The digests of the texts that most of one of these texts stands in."""
    sides = (("left", "right", "left_in_right"), ("right", "left", "right_in_left"))
    found = [
        corpus.pairs().filter(pl.col(mine).is_in(sorted(digests)), pl.col(share) >= _MOST).select(digest=theirs)
        for mine, theirs, share in sides
    ]
    return {*pl.concat(found).collect()["digest"]}


def _check_known(store: Store, named: str, key: str, entry: Forgotten) -> None:
    """Look whether there is anything that the entry would keep out, or it is on the list already.

    What a crawl under way or a killed one has got is in no table yet, and may be named: then all is known.

    Raises:
        ConfigError: there is not; hosts with a like name are named.
    """
    if any(each.key == key for each in store.forgotten().takedowns) or any(journals(store).glob("*/*.journal")):
        return
    if any(entry.reason(url) for frame in _known_frames(store) for url in frame):
        return
    wanted = host_of(key) or key
    near: list[str] = []
    for frame in _known_frames(store):
        hosts = {host_of(url) for url in frame}
        found = hosts if ":" in wanted else {host.rsplit(":", 1)[0] for host in hosts}
        near = difflib.get_close_matches(wanted, {*near, *found}, 3, _LIKE)
    remedy = f"did you mean {' or '.join(near)}?" if near else "nothing in it has a name like that"
    if wanted in near:
        remedy = f"it has other pages of {wanted}"
    raise ConfigError(f"the data root has no page that {named!r} names, and nothing was changed: {remedy}")


def _known_frames(store: Store) -> Iterator[list[str]]:
    """Each URL of a seed or page, redirected ones by both, a few thousand at a time.

    With those that pages named and that wait to be taken in.
    """
    for table in (store.batches, store.raw_pages):
        for segment in table.segments().values():
            for frame in segment.batches(["url", "final_url"], rows=4096):
                yield [url for pair in frame.iter_rows() for url in pair if url]
    for name in pending(store):
        if name.startswith(FOUND):
            with store.files.open(f"{SEEDS}/{name}") as file:
                while lines := list(islice(file, 4096)):
                    yield [line.decode().split()[0] for line in lines if line.strip()]


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
