"""The user's own columns: what a row of a table says of its document besides the document itself.

They travel as one JSON object, the values as they are, nulls left out. Where the text is extracted, :func:`split`
tells those that fill a column of ours from the rest.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from quarry_dagster.dates import day_of
from quarry_dagster.seeds.model import shown
from quarry_dagster.seeds.settings import GIVEN

MAX_BYTES = 64 << 10
"""Bytes of JSON that the columns of one document may have."""
_LANGUAGE = re.compile(r"([A-Za-z]{2})(?:[-_][A-Za-z0-9_-]+)?")


def packed(columns: Mapping[str, Any], own_id: str | None) -> tuple[str | None, str]:
    """The JSON object of these columns and of the id, and what of them had to be left out, "" for nothing.

    It is None where there is neither. One that is too large keeps the id alone.
    """
    values = {name: value for name, value in columns.items() if value is not None}
    if own_id is not None:
        values = {"id": own_id, **values}
    if not values:
        return None, ""
    try:
        packed = json.dumps(_plain(values), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as e:
        packed, wrong = "", f"its further columns are no JSON ({shown(e)}); write texts, numbers, lists or objects"
    else:
        wrong = ""
    packed = packed.encode("utf-8", "replace").decode()
    if len(packed.encode()) > MAX_BYTES:
        wrong = f"its further columns have {len(packed.encode()):,} bytes, more than {MAX_BYTES:,}; leave some out"
    if wrong:
        kept = json.dumps({"id": own_id}, ensure_ascii=False, separators=(",", ":")) if own_id is not None else None
        return kept, f"{wrong}. The document is taken without them"
    return packed, ""


def _plain(value: Any) -> Any:
    """The value as JSON has it; times in ISO 8601."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal() | UUID() | timedelta():
            return str(value)
        case _:
            raise TypeError(f"a {type(value).__name__}")


def given(row: Mapping[str, Any]) -> Iterator[tuple[str, str | None, str]]:
    """What a row gives for the columns of GIVEN: name, value (None where it is not usable), and what is wrong."""
    for name in GIVEN:
        value = row.get(name)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        text = _text(value)
        if text == "":
            continue
        if text is None:
            yield name, None, f"{name} is a {type(value).__name__} and was ignored; write it as text"
        elif name == "language":
            found = _LANGUAGE.fullmatch(text)
            wrong = "" if found else "language is no ISO 639-1 code and was ignored; write en or en-GB"
            yield name, found[1].lower() if found else None, wrong
        elif name == "date":
            day = day_of(text)
            yield name, day, "" if day else "date is no ISO 8601 date and was ignored; write 2026-01-31"
        else:
            yield name, text, ""


def _text(value: Any) -> str | None:
    """The value as one line of text; None where it is none."""
    match value:
        case bytes():
            value = value.decode(errors="replace")
        case list() | tuple() if all(isinstance(each, str) for each in value):
            value = ", ".join(value)
        case datetime() | date():
            value = value.isoformat()
        case int() | float() if not isinstance(value, bool):
            value = str(value)
        case str():
            pass
        case _:
            return None
    return " ".join(value.split())


def split(packed: str | None) -> tuple[dict[str, str], str | None]:
    """What the own columns of a document fill of ours, by name; and the rest, its metadata, as a JSON object."""
    if packed is None:
        return {}, None
    values = json.loads(packed)
    fills = {name: values.pop(name) for name in GIVEN if name in values}
    fills |= {f"{name}_source": "seed" for name in ("author", "date") if name in fills}
    return fills, json.dumps(values, ensure_ascii=False, separators=(",", ":")) if values else None
