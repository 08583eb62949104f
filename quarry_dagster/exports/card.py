"""The card of a dataset, and its description for machines: what it is, where it is from, and what was done to it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import polars as pl
import yaml

from quarry_dagster.exports.formats import File

_SIZES = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6), ("1M<n<10M", 10**7))
_LARGEST = "10M<n<100M"
_TYPES = {
    pl.String: ("string", "sc:Text"),
    pl.Int64: ("int64", "sc:Integer"),
    pl.Datetime: ("timestamp[us, tz=UTC]", "sc:DateTime"),
}
_SPDX = re.compile(r"[A-Za-z0-9.+-]+")


@dataclass(frozen=True)
class Count:
    """How many documents have a value."""

    value: str
    n: int


@dataclass(frozen=True)
class Split:
    """One split of a dataset."""

    name: str
    documents: int
    words: int
    bytes: int
    """Of its files."""
    tokens: int | None = None
    """By the tokenizer of the export, where it has one."""


@dataclass(frozen=True)
class Facts:
    """What a card says."""

    title: str
    documents: int
    words: int
    splits: Sequence[Split]
    languages: Sequence[Count]
    hosts: Sequence[Count]
    licenses: Sequence[Count]
    page_types: Sequence[Count]
    funnel: Sequence[Count]
    fetch_outcomes: Sequence[Count]
    removed: Sequence[Count]
    """Duplicates by rule."""
    filtered: Sequence[Count]
    """Documents kept out by rule of the policy."""
    failed: Sequence[Count]
    """Documents of this export by rule of the policy that they fail."""
    policy: str | None
    of_export: Sequence[Count]
    """Documents that the export's own policy leaves out, by rule."""
    left_out: Sequence[Count]
    """By the export, by reason."""
    redacted: Sequence[Count]
    repeats: int
    """Rows that repeat a document."""
    size: Mapping[str, Any] | None
    """The size that the whole was to have: `unit`, `asked`, `reached`."""
    extractors: Sequence[str]
    settings: Mapping[str, Any]
    contact: str | None
    since: int | None
    """The corpus from which this has what came or changed; None: it has all."""
    corpus: int
    made_by: str


def written_card(facts: Facts, columns: pl.Schema, fields: Sequence[str], files: Sequence[File]) -> str:
    """README.md, with the header that dataset hubs read; `fields` are the columns as the files name them."""
    header = yaml.safe_dump(_header(facts, columns, files), sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{header}---\n\n{template('card.md.jinja').render(facts=facts, columns=fields)}"


def croissant(facts: Facts, columns: pl.Schema, files: Sequence[File]) -> str:
    """croissant.json: the dataset as Croissant 1.1 describes it (MLCommons), with the digest of every file."""
    data = [file for file in files if file.rows is not None]
    encoding = "application/x-parquet"
    objects = [
        {
            "@type": "cr:FileObject",
            "@id": file.path,
            "name": file.path,
            "contentUrl": file.path,
            "contentSize": f"{file.bytes} B",
            "encodingFormat": encoding,
            "sha256": file.sha256,
        }
        for file in data
    ]
    shards = {
        "@type": "cr:FileSet",
        "@id": "shards",
        "name": "shards",
        "includes": "data/*.parquet",
        "encodingFormat": encoding,
    }
    fields = [_field(name, kind) for name, kind in columns.items()]
    dataset = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": facts.title,
        "description": f"{facts.documents} documents, deduplicated, made by {facts.made_by}.",
        "version": f"{facts.corpus}.0.0",
        "citeAs": f"{facts.title}, corpus {facts.corpus}, made by {facts.made_by}.",
        "license": sorted(each.value for each in facts.licenses if _SPDX.fullmatch(each.value)) or ["unknown"],
        "inLanguage": [each.value for each in facts.languages if re.fullmatch("[a-z]{2,3}", each.value)],
        "distribution": [*objects, shards],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "documents", "name": "documents", "field": fields}],
    }
    return json.dumps(dataset, indent=1, ensure_ascii=False) + "\n"


def _field(name: str, kind: Any) -> dict[str, Any]:
    is_list = isinstance(kind, pl.List)
    field = {
        "@type": "cr:Field",
        "@id": f"documents/{name}",
        "name": name,
        "dataType": "sc:Text" if is_list else _types(kind)[1],
        "source": {"fileSet": {"@id": "shards"}, "extract": {"column": name}},
    }
    return field | ({"isArray": True, "arrayShape": "-1"} if is_list else {})


def _header(facts: Facts, columns: pl.Schema, files: Sequence[File]) -> dict[str, Any]:
    size = next((name for name, below in _SIZES if facts.documents < below), _LARGEST)
    languages = sorted(each.value for each in facts.languages if re.fullmatch("[a-z]{2,3}", each.value))
    features = [{"name": name, **_feature(kind)} for name, kind in columns.items()]
    splits = [{"name": s.name, "num_bytes": s.bytes, "num_examples": s.documents} for s in facts.splits]
    header = {
        "pretty_name": facts.title,
        "license": "other",
        "language": languages,
        "size_categories": [size],
        "task_categories": ["text-generation"],
        "tags": ["text", "deduplicated", "quarry-dagster"],
    }
    if facts.settings["format"] not in ("parquet", "huggingface"):
        return header
    configs = [{"split": s.name, "path": f"data/{s.name}-*"} for s in facts.splits]
    info = {
        "features": features,
        "splits": splits,
        "download_size": sum(file.bytes for file in files),
        "dataset_size": sum(s.bytes for s in facts.splits),
    }
    return header | {"configs": [{"config_name": "default", "data_files": configs}], "dataset_info": info}


def _feature(kind: Any) -> dict[str, Any]:
    return {"list": "string"} if isinstance(kind, pl.List) else {"dtype": _types(kind)[0]}


def _types(kind: Any) -> tuple[str, str]:
    return _TYPES[type(kind) if isinstance(kind, pl.Datetime) else kind]


@cache
def template(name: str) -> jinja2.Template:
    """The template of a name in this folder, for Markdown: what a page wrote goes through its filter `cell`."""
    folder = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown: `cell` escapes
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = cell
    return environment.get_template(name)


def cell(value: object) -> str:
    """A text as Markdown shows it, on one line: nothing in it is markup."""
    line = " ".join("".join(c if c.isprintable() or c.isspace() else "�" for c in str(value)).split())
    return re.sub(r"([\\`*_\[\]<>|~&$])", r"\\\1", line)


_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The JSON-LD context that Croissant's specification gives."""
