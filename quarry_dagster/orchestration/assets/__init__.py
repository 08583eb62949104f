"""The assets, one file each, named after it: the five of the lineage, and the report.

Thin: they call a stage and report what it did.
"""

from quarry_dagster.orchestration.assets.corpus_report import corpus_report
from quarry_dagster.orchestration.assets.deduped_corpus import deduped_corpus
from quarry_dagster.orchestration.assets.embeddings import embeddings
from quarry_dagster.orchestration.assets.extracted_text import extracted_text
from quarry_dagster.orchestration.assets.faiss_index import faiss_index
from quarry_dagster.orchestration.assets.raw_pages import raw_pages

__all__ = ["corpus_report", "deduped_corpus", "embeddings", "extracted_text", "faiss_index", "raw_pages"]
