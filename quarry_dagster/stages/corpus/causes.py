"""Why documents are no longer kept: what happened to the page, its text, or the documents that it is compared with."""

from __future__ import annotations

import polars as pl

from quarry_dagster.store import Forgotten
from quarry_dagster.store.schemas import ACCEPTED, CAME_OF_IT, IS_WITHDRAWN, WITHDRAWN

DELETED = "partition deleted"
FORGOTTEN = "forgotten"
DUPLICATE = "duplicate by level "
FAILED = "fails the policy: "
NOT_RATED = "no quality signals yet"
OPTED_OUT = "opted out"
UNNAMED = "no longer in a mirror"
TEXT = "text "
NOT_EMBEDDED = "text not embedded yet"
UNKNOWN = "its partition has no row of it"


def causes(
    gone: pl.DataFrame,
    decisions: pl.DataFrame,
    filtered: pl.DataFrame,
    pages: pl.LazyFrame,
    texts: pl.LazyFrame,
    partitions: list[str],
    forgotten: Forgotten,
) -> pl.DataFrame:
    """The cause of each document that would not be kept.

    Args:
        gone: the documents, columns doc_id, partition, url.
        decisions: what removes documents now, columns doc_id and level.
        filtered: what the quality policy keeps out, columns doc_id and rule (null where it waits for signals), a row a
            document.
        pages: rows of `raw_pages` of those partitions that are there, schema RAW_PAGES.
        texts: their rows of `extracted_text`, schema EXTRACTED_TEXT.
        partitions: those that are there.
        forgotten: what is kept out.

    Returns:
        `gone` with the columns `cause`, `is_gone` (whether the cause is that its page did not come), and `page`, the
        newest answer for it.
    """
    ids = gone.lazy().select("doc_id")
    page = pl.when(IS_WITHDRAWN).then(pl.lit(WITHDRAWN)).otherwise(CAME_OF_IT)
    has_body = pl.col("body_digest").is_not_null()
    rows = gone.join(decisions.select("doc_id", "level"), on="doc_id", how="left")
    kept_out = filtered.select("doc_id", "rule", is_kept_out=pl.lit(True))
    rows = rows.join(kept_out, on="doc_id", how="left").with_columns(pl.col("is_kept_out").fill_null(False))
    for table in (
        pages.select("doc_id", "status", page=page, has_body=has_body),
        texts.select("doc_id", text="outcome", is_accepted=ACCEPTED),
    ):
        rows = rows.join(table.join(ids, on="doc_id", how="semi").collect(), on="doc_id", how="left")
    is_forgotten = [forgotten.reason(url) is not None for url in rows["url"]]
    rows = rows.with_columns(pl.Series("is_forgotten", is_forgotten, pl.Boolean))
    status = pl.when(pl.col("status") >= 400).then(pl.format(" {}", "status")).otherwise(pl.lit(""))
    is_gone = ~pl.col("has_body")
    # The first that holds is the cause.
    found: list[tuple[pl.Expr, pl.Expr]] = [
        (~pl.col("partition").is_in(partitions), pl.lit(DELETED)),
        (pl.col("is_forgotten"), pl.lit(FORGOTTEN)),
        (pl.col("level").is_not_null(), pl.format(f"{DUPLICATE}{{}}", "level")),
        (pl.col("rule").is_not_null(), pl.format(f"{FAILED}{{}}", "rule")),
        (pl.col("page") == "opted_out", pl.lit(OPTED_OUT)),
        (pl.col("page") == WITHDRAWN, pl.lit(UNNAMED)),
        (is_gone, pl.format("{}{}", "page", status)),
        (~pl.col("is_accepted"), pl.format(f"{TEXT}{{}}", "text")),
        (pl.col("is_kept_out"), pl.lit(NOT_RATED)),
        (pl.col("is_accepted"), pl.lit(NOT_EMBEDDED)),
    ]
    cause, of_page = pl.lit(UNKNOWN), pl.lit(False)
    for holds, name in reversed(found):
        cause = pl.when(holds.fill_null(False)).then(name).otherwise(cause)
        of_page = pl.when(holds.fill_null(False)).then(pl.lit(holds is is_gone)).otherwise(of_page)
    return rows.select(*gone.columns, "page", cause=cause, is_gone=of_page)
