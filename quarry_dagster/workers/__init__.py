"""Worker processes: what is parsed is parsed there, so that a page costs itself and nothing else.

Callers need :class:`Workers`, and give it jobs (:class:`Job`).
"""

from quarry_dagster.workers.job import Job
from quarry_dagster.workers.pool import Workers

__all__ = ["Job", "Workers"]
