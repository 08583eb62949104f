"""Jobs that people rerun: for one partition, a range, or as a backfill; from the UI, a schedule or a sensor."""

import dagster as dg

from quarry_dagster.orchestration import assets
from quarry_dagster.orchestration.run_config import IndexConfig

ingest = dg.define_asset_job(
    "ingest",
    dg.AssetSelection.assets(*assets.PER_PARTITION),
    description="Crawl batches, extract their text and embed it.",
)

embed = dg.define_asset_job(
    "embed",
    dg.AssetSelection.assets(assets.embeddings),
    description="Embed the texts that are there, without the network: after a change of model.",
)

corpus = dg.define_asset_job(
    "corpus",
    dg.AssetSelection.assets(*assets.GLOBAL),
    description="Bring the index, the corpus, its report and its exports in line with all partitions.",
)

everything = dg.define_asset_job(
    "everything",
    dg.AssetSelection.assets(*assets.ALL),
    description="From seeds to corpus in one run: batches, then the index, the corpus, its report and its exports.",
)

compaction = dg.define_asset_job(
    "compaction",
    dg.AssetSelection.assets(assets.faiss_index),
    config=dg.RunConfig(ops={"faiss_index": IndexConfig(compact=True)}),
    description="Build the index anew, without what removals and growth left in it.",
)

checks = dg.define_asset_job(
    "checks",
    dg.AssetSelection.all_asset_checks() - dg.AssetSelection.checks(assets.SHRANK),
    description="Ask every check about the tables as they are, materializing nothing.",
)

ALL = (ingest, embed, corpus, everything, compaction, checks)
