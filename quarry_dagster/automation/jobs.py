"""Jobs that people rerun."""

import dagster as dg

ingest = dg.define_asset_job(
    "ingest",
    dg.AssetSelection.assets("raw_pages", "extracted_text", "embeddings"),
    description="Crawl batches, extract their text and embed it. For one partition, a range or a backfill.",
)

corpus = dg.define_asset_job(
    "corpus",
    dg.AssetSelection.assets("faiss_index", "deduped_corpus"),
    description="Bring the index and the corpus in line with all partitions.",
)
