"""The tables' contracts: column names and types, and the closed lists of outcomes.

A reader may count on these columns; a writer may add none that is not here.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

UTC_TIME = pl.Datetime("us", "UTC")

FETCH_OUTCOMES = (
    "fetched",  # the body was downloaded
    "not_modified",  # the server said 304: the row carries the earlier body
    "archived",  # from a WARC or WACZ
    "given",  # the seed carried the document
    "robots_disallowed",
    "opted_out",
    "blocked_address",
    "too_large",
    "unsupported_type",
    "timeout",
    "http_error",
    "network_error",
    "invalid_url",
)
WITH_BODY = ("fetched", "not_modified", "archived", "given")
"""Fetch outcomes whose row carries a body."""
CAME = ("fetched", "not_modified")
"""Fetch outcomes of a page that was asked for and came."""
KEPT_BODY = "kept the body of"
"""How the `detail` of a row of `raw_pages` begins whose page did not come, but was held; "<time>: <why>" follows."""
HELD = pl.col("outcome").is_in(WITH_BODY) & pl.col("detail").str.starts_with(KEPT_BODY).fill_null(False)
"""Whether a row of `raw_pages` carries the body of before because its page did not come."""
WITHDRAWN = "withdrawn"
"""How the `detail` of an `opted_out` row begins whose seed, a mirror, no longer names it; ": <why>" follows."""
IS_WITHDRAWN = pl.col("detail").str.starts_with(f"{WITHDRAWN}: ").fill_null(False)
"""Whether the seed of a row of `batches` or `raw_pages`, a mirror, no longer names it."""
CAME_OF_IT = pl.when(HELD).then(pl.col("detail").str.extract(r": (\w+)", 1)).otherwise("outcome").alias("outcome")
"""What asking for the page of a row of `raw_pages` gave last, whether or not a body of before is held."""
DID_NOT_COME = ("robots_disallowed", "blocked_address", "timeout", "http_error", "network_error")
"""Fetch outcomes of a page that did not come, and may come when it is asked for again.

A page that is `opted_out`, `too_large` or of an `unsupported_type` was seen, and decided on.
"""
FAILED = HELD | pl.col("outcome").is_in(DID_NOT_COME)
"""Whether the newest answer for a row of `raw_pages` is a failure, whether or not a body of before is held."""

SCORED_LEVELS = ("near", "contained", "semantic")
"""Levels of removals that the scores of a pair of texts decide."""
LEVELS = ("url", "exact", *SCORED_LEVELS)
"""Levels of removals, the surest first."""

EXTRACTED = "extracted"
"""The one outcome of a row of `extracted_text` that makes it a document."""
TOO_SHORT = "too_short"
JAVASCRIPT_ONLY = "javascript_only"
"""The outcome of a page that shows nothing to who runs no scripts."""
ACCEPTED = pl.col("outcome") == EXTRACTED
"""Whether a row of `extracted_text` is a document."""

EXTRACT_FAILURES = ("timeout", "error")
"""Outcomes of `extracted_text` that say nothing about the page: another try may give its text."""
EXTRACT_OUTCOMES = (EXTRACTED, "not_fetched", "empty", TOO_SHORT, JAVASCRIPT_ONLY, *EXTRACT_FAILURES)

BATCHES = pl.Schema(
    {
        "doc_id": pl.String,
        "url": pl.String,
        "seed": pl.String,  # the seed file's name
        "line": pl.Int64,  # line, row or record number in it, from 1
        "outcome": pl.String,  # null: to be fetched; else given, archived, or why the archive has no page
        "detail": pl.String,
        "discover": pl.String,  # what else to look for there, as the seed asks; null: nothing
        "final_url": pl.String,
        "status": pl.Int32,
        "fetched_at": UTC_TIME,
        "content_type": pl.String,
        "etag": pl.String,
        "last_modified": pl.String,
        "body": pl.Binary,
        "body_digest": pl.String,
        "own_columns": pl.String,
        "consent_headers": pl.String,  # what an archived answer's headers say of its use, a line each
    }
)
"""One seed of a partition: what `raw_pages` has to fetch, or was given."""

RAW_PAGES = pl.Schema(
    {
        "doc_id": pl.String,
        "url": pl.String,
        "final_url": pl.String,
        "outcome": pl.String,
        "detail": pl.String,
        "status": pl.Int32,
        "fetched_at": UTC_TIME,  # when this body was obtained
        "content_type": pl.String,
        "etag": pl.String,
        "last_modified": pl.String,
        "body": pl.Binary,
        "body_digest": pl.String,
        "refused_since": UTC_TIME,
        "own_columns": pl.String,
        "partition": pl.String,
    }
)

EXTRACTED_TEXT = pl.Schema(
    {
        "doc_id": pl.String,
        "url": pl.String,
        "final_url": pl.String,
        "fetched_at": UTC_TIME,
        "outcome": pl.String,
        "detail": pl.String,
        "title": pl.String,
        "author": pl.String,
        "author_source": pl.String,  # head, byline or seed
        "date": pl.String,
        "date_source": pl.String,  # meta, json_ld, markup, url, text, later or seed
        "language": pl.String,  # ISO 639-1
        "text": pl.String,
        "text_format": pl.String,  # markdown or plain
        "word_count": pl.Int64,
        "text_digest": pl.String,
        "canonical_url": pl.String,
        "page_type": pl.String,
        "page_type_source": pl.String,  # schema.org, opengraph, generator, url or structure
        "extractor": pl.String,
        "page_digest": pl.String,  # of the bytes, their type and address: what the row was made from
        "metadata": pl.String,
        "partition": pl.String,
    }
)

PAGE_METADATA = pl.Schema(
    {
        "doc_id": pl.String,
        "page_type": pl.String,
        "page_type_source": pl.String,  # as in extracted_text, or identifiers
        "schema_types": pl.List(pl.String),
        "site_name": pl.String,
        "canonical_url": pl.String,
        "published": pl.String,
        "modified": pl.String,
        "paywalled": pl.Boolean,
        "license": pl.String,
        "license_source": pl.String,  # rel, link, json_ld, dublin_core, text or conflict
        "fields": pl.String,
        "detail": pl.String,
        "made_from": pl.String,
        "partition": pl.String,
    }
)
"""What the page of a document says of itself: a row for each document."""

PERSONAL_DATA_BY_DOCUMENT = pl.Schema(
    {
        "doc_id": pl.String,
        "made_from": pl.String,
        "found": pl.List(
            pl.Struct(
                {
                    "type": pl.String,
                    "rule": pl.String,
                    "confidence": pl.Float64,
                    "start": pl.Int64,
                    "end": pl.Int64,
                }
            )
        ),
        "partition": pl.String,
    }
)
"""Where the personal data of a document stands: a row for each document, so that only changed texts are read anew."""

PERSONAL_DATA = pl.Schema(
    {
        "doc_id": pl.String,
        "type": pl.String,  # email, phone, ip, card, iban, national_id or secret
        "rule": pl.String,
        "confidence": pl.Float64,
        "start": pl.Int64,
        "end": pl.Int64,
        "partition": pl.String,
    }
)
"""The same as users read it: a row for each piece of personal data."""


def quality_signals_schema(signals: Sequence[str] = ()) -> pl.Schema:
    """Schema of `quality_signals` with these signals, a row a document."""
    return pl.Schema(
        {
            "doc_id": pl.String,
            "text_digest": pl.String,
            **dict.fromkeys(signals, pl.Float32),
            "signals": pl.String,
            "language": pl.String,
            "page_type": pl.String,
            "made_from": pl.String,
            "partition": pl.String,
        }
    )


PROBLEMS = pl.Schema(
    {
        "source": pl.String,  # seed, sitemap, feed, page, robots.txt or host
        "url": pl.String,
        "place": pl.String,
        "kind": pl.String,
        "detail": pl.String,
        "first_seen": UTC_TIME,
        "count": pl.Int64,
        "partition": pl.String,
    }
)
"""What was found and could not be used: a row a kind of it at one source."""

CONSENT = pl.Schema(
    {
        "host": pl.String,
        "source": pl.String,  # robots, header, tag, tdmrep, content-signal or rsl
        "says": pl.String,
        "digest": pl.String,
        "seen_at": UTC_TIME,
        "done": pl.String,
        "partition": pl.String,
    }
)
"""What a host allows, and what we did: a row a thing that it says."""


def own_id_in(column: str) -> pl.Expr:
    """The id that its seed gave a document, in a column `own_columns` or `metadata`; null where it gave none."""
    return pl.col(column).str.json_path_match("$.id")


def embeddings_schema(dim: int) -> pl.Schema:
    """Schema of `embeddings` for vectors of `dim` float32 components."""
    return pl.Schema(
        {
            "doc_id": pl.String,
            "text_digest": pl.String,
            "embedding": pl.Array(pl.Float32, dim),
            "model": pl.String,
            "partition": pl.String,
        }
    )


DOCUMENTS = pl.Schema(
    {
        "doc_id": pl.String,
        "url": pl.String,
        "page_url": pl.String,  # same_page_url of the final URL
        "canonical_page": pl.String,  # same_page_url of what the page calls its URL, where it is on its host
        "text_digest": pl.String,
        "word_count": pl.Int64,
        "date": pl.String,  # of publication, ISO 8601, as the page states it
        "own_id": pl.String,  # that its seed gave it
    }
)
"""What deciding on a document asks of it."""

SKETCHES = pl.Schema(
    {
        **DOCUMENTS,
        "partition": pl.String,
        # Null where an earlier row of the partition has the same text:
        "hashes": pl.Binary,  # sampled shingles, uint64: quarry_dagster.dedup.shingles
        "outline": pl.Binary,  # of the vector, float16: quarry_dagster.index.outlines
    }
)
"""What deciding on an embedded document needs of it."""

KEPT = pl.Schema(
    {
        "doc_id": pl.String,
        "partition": pl.String,
        "failed": pl.String,  # the rules of the policy that it fails, by blanks; null where it has no signals
        "duplicates": pl.Int64,
    }
)
"""A kept document; the rest of its columns in DEDUPED_CORPUS are those of its row in `extracted_text`."""

DEDUPED_CORPUS = pl.Schema(
    {
        "doc_id": pl.String,
        "url": pl.String,
        "title": pl.String,
        "author": pl.String,
        "date": pl.String,
        "language": pl.String,
        "text": pl.String,
        "text_format": pl.String,
        "word_count": pl.Int64,
        "fetched_at": UTC_TIME,
        "metadata": pl.String,
        "failed_rules": pl.List(pl.String),
        "duplicates": pl.Int64,
    }
)

DECISIONS = pl.Schema(
    {
        "removed_id": pl.String,
        "kept_id": pl.String,
        "witness_id": pl.String,
        "level": pl.String,
        "rule": pl.String,
        "cosine": pl.Float64,
        "jaccard": pl.Float64,
        "containment": pl.Float64,  # of the removed text's shingles in the witness' text
        "removed_url": pl.String,
        "kept_url": pl.String,
        "removed_own_id": pl.String,
        "kept_own_id": pl.String,
    }
)
"""A removed document, what it was removed for, and what is kept in its place."""

DEDUP_DECISIONS = pl.Schema({**DECISIONS, "run_id": pl.String})

FILTER_DECISIONS = pl.Schema(
    {
        "doc_id": pl.String,
        "url": pl.String,
        "policy": pl.String,  # name, version and digest
        "rule": pl.String,
        "value": pl.Float32,
        "threshold": pl.Float64,
    }
)
"""A rule that keeps a document out of the corpus: a row a failed rule."""

PAIRS = pl.Schema(
    {
        "left": pl.String,  # text digests; as stored, the left text comes first in the order of keeping
        "right": pl.String,
        "cosine": pl.Float64,
        "jaccard": pl.Float64,
        "left_in_right": pl.Float64,
        "right_in_left": pl.Float64,
        "left_guards": pl.UInt8,  # what speaks against removing it for the other: quarry_dagster.dedup.near
        "right_guards": pl.UInt8,
        "right_is_cleaner": pl.Boolean,  # of two near duplicates; null where they are alike
    }
)
"""Scores of two distinct texts, see :mod:`quarry_dagster.dedup.verify`."""

SCORED_PAIRS = pl.Schema(
    {
        **PAIRS,
        "by_sketch": pl.Boolean,  # whether shared shingles make it a candidate; a cosine may as well
    }
)
"""The pairs that a corpus was decided on, and how each was found."""

REMOVED_POSITIONS = pl.Schema({"position": pl.Int64})
"""Positions of the published index that are passed over."""

HOST = pl.coalesce(
    pl.col("url").str.extract(r"^[A-Za-z]+://(?:[^/?#@]*@)?([^/?#]+)", 1).str.to_lowercase(),
    pl.col("url").str.extract(r"^(urn:quarry:[^:]+):", 1),
)
"""The host (and port) of a row's `url`; of a document without a URL its URN without the id; null of any other text."""

MEANINGS = {
    "count": "how often it was found there",
    "digest": "of the file that says it, 32 hex digits of its SHA-256; null for what pages say",
    "done": "what we did: obeyed, or recorded alone, and by which setting",
    "first_seen": "when it was found first, UTC",
    "host": "the host, with a port that is not the default",
    "kind": "what is wrong; docs/tables.md lists the kinds",
    "place": "where in it: a line, an entry; null where it is all of it",
    "says": "what the host says, in its own words as far as they are short",
    "seen_at": "since when it says so, UTC",
    "source": "what says it; docs/tables.md lists the sources",
    "author": "as the page states it",
    "body": "the bytes of the page; null without a page",
    "body_digest": "32 hex digits of the body's SHA-256",
    "content_type": "as the server sent it",
    "canonical_url": "what the page says is its URL: `link rel=canonical`, else `og:url`; null where it says none",
    "containment": "of the removed text's word 3-grams in the witness' text",
    "cosine": "of the two vectors",
    "author_source": "where the author was found: head, byline or seed",
    "confidence": "how sure the rule is, from 0 to 1: an order, not a probability",
    "date": "of publication, as the page states it, ISO 8601",
    "date_source": "where the date was found: meta, json_ld, markup, url, text or seed; later: after it was fetched",
    "detail": "why, where the outcome needs a reason",
    "doc_id": "the document: 20 hex digits of the SHA-256 of its canonical URL or URN, the same on every machine",
    "duplicates": "how many documents it stands for besides itself",
    "embedding": "unit vector of the text, float32",
    "end": "behind its last character, in code points of the text",
    "etag": "as the server sent it",
    "extractor": "library, version and mode",
    "failed_rules": "the rules of the policy that it fails; empty: it passes; null: it has no signals yet",
    "fetched_at": "when this body was obtained, UTC; for a failure, since when it fails",
    "fields": "what the processors of its domains found, a JSON object by domain; null where none found any",
    "final_url": "after redirects",
    "jaccard": "of the two texts' word 3-grams",
    "kept_id": "the kept document that it duplicates: its witness, or the cleaner copy that is kept for that one",
    "kept_own_id": "the kept document's id in its seed, null where it has none",
    "kept_url": "URL of the kept document",
    "language": "ISO 639-1, null where the text is too short to tell",
    "last_modified": "as the server sent it",
    "level": f"{', '.join(LEVELS[:-1])} or {LEVELS[-1]}",
    "license": "its licence by SPDX, or the licence's URL; null where the page says none, or two that differ",
    "license_source": "where it was found: rel, link, json_ld, dublin_core or text; conflict: two differ",
    "made_from": "digest of what the row was made from",
    "metadata": "the other columns of its seed, a JSON object; null where it has none",
    "model": "name, revision, precision and tokens read",
    "modified": "when it was changed last, as the page states it, ISO 8601",
    "outcome": "what became of the row; docs/tables.md lists the outcomes",
    "own_columns": "what else its seed says of it, a JSON object; null where it says nothing",
    "page_digest": "of the bytes, their type and address: what the row was made from",
    "partition": "its crawl batch",
    "paywalled": "whether the page says that not everybody may read all of it; null where it says nothing",
    "policy": "name, version and digest of the policy that decided",
    "published": "when it was published, as the page states it, ISO 8601",
    "refused_since": "since when the site refuses a page whose earlier body is held, UTC; null where it does not",
    "removed_id": "the document that is not in the corpus",
    "removed_own_id": "the removed document's id in its seed, null where it has none",
    "removed_url": "URL of the removed document",
    "rule": "what decided: name and version of the rule that removed it, or what found the personal data",
    "run_id": "the Dagster run that decided it",
    "schema_types": "the types of schema.org that the page gives itself",
    "signals": "version of the signals' definitions",
    "site_name": "the site's name, as the page states it",
    "start": "its first character, in code points of the text from 0",
    "status": "HTTP status, null without an answer",
    "text": "the main text",
    "text_digest": "of the NFKC, casefolded text without Markdown's marks, white space collapsed; equal texts share it",
    "threshold": "what the rule compares the value with",
    "title": "as the page states it",
    "type": "email, phone, ip, card, iban, national_id or secret",
    "url": "as the seed has it; of a document without one the URN of its seed's name and its id",
    "value": "of the rule's signal",
    "witness_id": "the document that it satisfies the rule with: the kept one, or one that was itself removed for it",
    "page_type": "what kind of page it is: docs/tables.md lists them; null for a text that is no page",
    "page_type_source": "what told it: schema.org, opengraph, generator, url, structure or identifiers; null: nothing",
    "text_format": "how the text is to be read: markdown or plain; null without a text",
    "word_count": "words of the text; scripts without spaces count letters by twos",
}
"""What each column means, in every table that has it."""
