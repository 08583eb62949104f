"""Domains: what a page of a kind says beyond its text, a processor a file.

`view.py` is the page as a processor sees it, `registry.py` names the processors and runs them, `identifiers.py` has the
patterns of identifiers that several of them look for.
"""

from quarry_dagster.domains.describe import IDENTIFIERS, Describer, Describing, Facts
from quarry_dagster.domains.registry import PROCESSORS, fields_of, load, version
from quarry_dagster.domains.view import PageView

__all__ = [
    "IDENTIFIERS",
    "PROCESSORS",
    "Describer",
    "Describing",
    "Facts",
    "PageView",
    "fields_of",
    "load",
    "version",
]
