"""Which document a user means: by its URL, its URN, its doc_id, or the id that its seed gave it."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from quarry_dagster.errors import ConfigError, InvalidUrl
from quarry_dagster.store import Store
from quarry_dagster.store.schemas import own_id_in
from quarry_dagster.urls import doc_id
from quarry_dagster.urns import URN_PREFIX, parts_of, urn_of

_SHOWN = 5


def seed_of(store: Store, named: str) -> dict[str, Any] | None:
    """The row of `batches`, without its body, of the document that is named; None where there is none.

    A line of a seed that is no URL is named by its text.

    Raises:
        ConfigError: an id names several documents; the message lists them.
        StoreError: a batch is damaged.
    """
    batches = store.batches.scan().drop("body")
    found = batches.filter((pl.col("doc_id") == id_named(store, named)) | (pl.col("url") == named)).collect()
    if found.is_empty():
        found = with_own_id(store, named)
    if found.height > 1:
        urls = sorted(found["url"].unique())
        more = f" and {len(urls) - _SHOWN:,} more" if len(urls) > _SHOWN else ""
        raise ConfigError(f"{len(urls):,} documents have the id {named!r}; name one: {', '.join(urls[:_SHOWN])}{more}")
    return None if found.is_empty() else found.row(0, named=True)


def with_own_id(store: Store, own_id: str) -> pl.DataFrame:
    """The rows of `batches`, without bodies, of the documents with this id in their seeds.

    What a seed gave may be gone from a row; the address of a document without a URL still has its id.
    """
    try:
        urn = urn_of("", own_id)
    except UnicodeEncodeError:  # bytes of a command line that are no UTF-8 are no id
        return store.batches.scan().drop("body").clear().collect()
    ends_so = pl.col("url").str.starts_with(URN_PREFIX) & pl.col("url").str.ends_with(urn[len(URN_PREFIX) :])
    rows = store.batches.scan().drop("body").filter((own_id_in("own_columns") == own_id) | ends_so).collect()
    is_it = [(parts_of(url) or (None, own_id))[1] == own_id for url in rows["url"]]
    return rows.filter(pl.Series(is_it, dtype=pl.Boolean))


def own_id_of(own_columns: str | None) -> str | None:
    """The id in the own columns of a document, or in its metadata; None where there is none."""
    return json.loads(own_columns).get("id") if own_columns else None


def id_named(store: Store, named: str) -> str:
    """The doc_id of a document that is named by its URL, its URN or its doc_id."""
    try:
        return doc_id(named, store.root().urls)
    except InvalidUrl:
        return named.strip().lower()
