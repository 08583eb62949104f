"""Jobs that people rerun: for one partition, a range, or as a backfill; from the UI, a schedule or a sensor."""

import dagster as dg

from quarry_dagster.orchestration.assets.faiss_index import IndexConfig

_PER_PARTITION = ("raw_pages", "extracted_text", "embeddings")
_GLOBAL = ("faiss_index", "deduped_corpus", "corpus_report")

ingest = dg.define_asset_job(
    "ingest",
    dg.AssetSelection.assets(*_PER_PARTITION),
    description="Crawl batches, extract their text and embed it.",
)

embed = dg.define_asset_job(
    "embed",
    dg.AssetSelection.assets("embeddings"),
    description="Embed the texts that are there, without the network: after a change of model.",
)

corpus = dg.define_asset_job(
    "corpus",
    dg.AssetSelection.assets(*_GLOBAL),
    description="Bring the index, the corpus and its report in line with all partitions.",
)

everything = dg.define_asset_job(
    "everything",
    dg.AssetSelection.assets(*_PER_PARTITION, *_GLOBAL),
    description="From seeds to corpus in one run: batches, then the index, the corpus and its report.",
)

compaction = dg.define_asset_job(
    "compaction",
    dg.AssetSelection.assets("faiss_index"),
    config=dg.RunConfig(ops={"faiss_index": IndexConfig(compact=True)}),
    description="Build the index anew, without what removals and growth left in it.",
)

checks = dg.define_asset_job(
    "checks",
    dg.AssetSelection.all_asset_checks(),
    description="Ask every check about the tables as they are, materializing nothing.",
)

ALL = (ingest, embed, corpus, everything, compaction, checks)
