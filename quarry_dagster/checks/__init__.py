"""Asset checks, one file an asset. A check with severity ERROR blocks what comes after it and fails a run."""

from quarry_dagster.checks.deduped_corpus import conservation, witnesses

__all__ = ["conservation", "witnesses"]
