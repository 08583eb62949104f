"""From seed files in the inbox to crawl batches: what is new, and which partition it goes to.

How a seed file is read belongs to :mod:`quarry_dagster.seeds`; telling Dagster of the partitions belongs to
:mod:`quarry_dagster.orchestration.partitions`.
"""

from quarry_dagster.intake.inbox import SEEDS, files_of, passed_over, pending, put
from quarry_dagster.intake.ledger import Ledger, SeedReport
from quarry_dagster.intake.take_in import take_in, take_in_seeds

__all__ = ["SEEDS", "Ledger", "SeedReport", "files_of", "passed_over", "pending", "put", "take_in", "take_in_seeds"]
