"""Which split a document is on: a function of the document alone, so that growth and deletions move nothing.

A group goes to one side as a whole, by the hash of its name: the pages of a site resemble each other, and a model that
was trained on one of them has seen a part of the others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import polars as pl

from quarry_dagster.errors import ConfigError

TRAIN = "train"
"""The split of all that no other one takes."""
GROUPS = ("domain", "host", "seed", "document")
"""What may be kept together, besides `metadata.KEY`."""
_ADDRESS = re.compile(r"\[.*\]|\d+(?:\.\d+){3}")
_PORT = re.compile(r":\d+$")


def check_group(group: str) -> None:
    """Look whether documents can be grouped by this.

    Raises:
        ConfigError: they cannot.
    """
    if group not in GROUPS and not re.fullmatch(r"metadata\..+", group):
        raise ConfigError(f"group: {', '.join(GROUPS)} or metadata.KEY, not {group!r}")


def group_of(group: str) -> list[str]:
    """The columns that :func:`groups` asks for."""
    return {"domain": ["host"], "host": ["host"], "document": []}.get(group, [group])


def groups(documents: pl.DataFrame, group: str) -> pl.Series:
    """The group of each document, String: the document itself where it has none.

    `documents` has the column doc_id, and those of :func:`group_of`.
    """
    if group == "document":
        return documents["doc_id"]
    values = documents["host" if group == "domain" else group]
    if group == "domain":
        values = domains(values)
    return pl.select(pl.coalesce(values.alias("group"), documents["doc_id"])).to_series()


def domains(hosts: pl.Series) -> pl.Series:
    """The registered domain of each host, String; null where it has none, as a document without a URL."""
    distinct = hosts.unique().drop_nulls()
    found = pl.Series([_domain(host) for host in distinct], dtype=pl.String)
    return hosts.replace_strict(distinct, found, default=None)


def sides(names: pl.Series, splits: Mapping[str, float], salt: str) -> pl.Series:
    """The split of each group name, String.

    A name's hash with the salt is a number from 0 to 1, and each split takes its share of these, in the order of
    `splits`: so to add one behind the others moves nothing between them.
    """
    distinct = names.unique()
    found = pl.Series([_side(name, splits, salt) for name in distinct], dtype=pl.String)
    return names.replace_strict(distinct, found)


def check_shares(documents: pl.DataFrame, splits: Mapping[str, float]) -> None:
    """Look whether each split has about its share of the documents.

    `documents` has the columns `side` and `group`, a row a document.

    Raises:
        ConfigError: one has less than half of its share, or more than twice as much, which groups that are large do.
    """
    for name, share in splits.items():
        reached = int((documents["side"] == name).sum()) / max(1, documents.height)
        if share / 2 <= reached <= 2 * share:
            continue
        largest = documents.group_by("group").len().sort("len", "group", descending=[True, False]).row(0)
        raise ConfigError(
            f"split {name}: {share:g} was asked for, and it has {reached:.4f} of {documents.height:,} documents; the "
            f"largest group, {largest[0]}, has {largest[1]:,}: set another group (document) or another salt"
        )


def _domain(host: str) -> str | None:
    """The registered domain of a host; an address as it is; None where there is neither."""
    from tld import get_fld, is_tld

    bare = _PORT.sub("", host)
    if host.startswith("urn:"):
        return None
    if _ADDRESS.fullmatch(bare) or "." not in bare:
        return bare
    labels = bare.split(".")
    if not is_tld(labels[-1]):  # the list's own rule for what it does not know, as for a company's network
        return ".".join(labels[-2:])
    return get_fld(f"http://{bare}", fail_silently=True) or bare


def fraction(name: str, salt: str) -> float:
    """The hash of a name with a salt, as a number from 0 to 1."""
    return int.from_bytes(hashlib.sha256(f"{salt}\n{name}".encode()).digest()[:8], "big") / 2**64


def _side(name: str, splits: Mapping[str, float], salt: str) -> str:
    at = fraction(name, salt)
    below = 0.0
    for split, share in splits.items():
        below += share
        if at < below:
            return split
    return TRAIN
