"""What must hold of each table (its contract), and how good it is. A module an asset; each question a function.

A question reads the stored tables and answers with a :class:`Finding`. How severe a failure is, and what it
blocks, belongs to :mod:`quarry_dagster.orchestration.asset_checks`.
"""

from quarry_dagster.checks.finding import Finding

__all__ = ["Finding"]
