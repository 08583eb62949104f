"""The assets, one file each, named after it: the five of the lineage, what pages say of themselves,
personal data, signals of quality, the report, and what is exported.

Thin: they call a stage and report what it did. A new asset is a file here and a place in `ALL`; jobs, the command
`quarry`, documents and tests follow from it.
"""

from quarry_dagster.orchestration.assets.corpus_export import corpus_export
from quarry_dagster.orchestration.assets.corpus_report import corpus_report
from quarry_dagster.orchestration.assets.deduped_corpus import SHRANK as SHRANK
from quarry_dagster.orchestration.assets.deduped_corpus import deduped_corpus
from quarry_dagster.orchestration.assets.embeddings import embeddings
from quarry_dagster.orchestration.assets.extracted_text import extracted_text
from quarry_dagster.orchestration.assets.faiss_index import faiss_index
from quarry_dagster.orchestration.assets.page_metadata import page_metadata
from quarry_dagster.orchestration.assets.personal_data import personal_data
from quarry_dagster.orchestration.assets.quality_signals import quality_signals
from quarry_dagster.orchestration.assets.raw_pages import raw_pages

ALL = (
    *(raw_pages, extracted_text, embeddings, page_metadata, personal_data, quality_signals),
    *(faiss_index, deduped_corpus, corpus_export, corpus_report),
)
"""All assets, in order of the lineage."""
PER_PARTITION = tuple(asset for asset in ALL if asset.partitions_def is not None)
GLOBAL = tuple(asset for asset in ALL if asset.partitions_def is None)
NAMES = tuple(asset.key.to_user_string() for asset in ALL)
"""The names of all assets, in the same order."""
