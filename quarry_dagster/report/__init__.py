"""The corpus report: what a corpus holds, what it left out and why, as one HTML page that needs nothing else.

`facts` reads the numbers and excerpts from the tables, `render` makes the page of them. The page depends on the
tables alone, not on when or in which partitions they were made, and every list in it is bounded.
"""

from quarry_dagster.report.figures import Facts, facts
from quarry_dagster.report.page import render

__all__ = ["Facts", "facts", "render"]
