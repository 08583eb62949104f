"""Problems as they are told: what was found and could not be used, a sentence a row of the table `problems`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quarry_dagster.seeds import printable


def told(row: Mapping[str, Any]) -> str:
    """A row of the schema PROBLEMS in a sentence."""
    place = f", {row['place']}" if row["place"] else ""
    count = f"{row['count']:,}: " if row["count"] != 1 else ""
    return printable(f"{row['source']} {row['url']}{place}: {count}{row['detail']}")
