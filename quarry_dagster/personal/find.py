"""All personal data in a text."""

from __future__ import annotations

from importlib import metadata

from quarry_dagster.personal.finding import TYPES, Finding
from quarry_dagster.personal.network import addresses, emails
from quarry_dagster.personal.numbers import cards, ibans, national_ids
from quarry_dagster.personal.phones import has_phonenumbers, phones
from quarry_dagster.personal.secrets import secrets

RULES = 2
"""Revision of the rules; raise it with any change of what is found in a text."""
_RANK = {name: i for i, name in enumerate(TYPES)}


def personal_data(text: str) -> list[Finding]:
    """What a text has of e-mail, phones, public addresses of hosts, cards, accounts, ids of people and secrets.

    In the order of the text; none overlaps another one. Linear in the text's length.
    """
    found = [
        *secrets(text),
        *ibans(text),
        *cards(text),
        *national_ids(text),
        *emails(text),
        *addresses(text),
        *phones(text),
    ]
    found.sort(key=lambda each: (each.start, _RANK[each.type], -each.end))
    kept: list[Finding] = []
    for each in found:
        if not kept or each.start >= kept[-1].end:
            kept.append(each)
        elif _RANK[each.type] < _RANK[kept[-1].type]:
            kept[-1] = each
    return kept


def version() -> str:
    """Everything that changes what is found: where it is equal, stored rows are still valid."""
    libraries = ["python-stdnum", *(["phonenumbers"] if has_phonenumbers() else [])]
    return f"personal data {RULES}, " + ", ".join(f"{name} {metadata.version(name)}" for name in libraries)
