"""`corpus_export`: the files are those that the manifests name, and no text is on two sides."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl

from quarry_dagster.checks.finding import Finding
from quarry_dagster.errors import ConfigError
from quarry_dagster.exports.formats import read_ids, split_of
from quarry_dagster.exports.known import place_of
from quarry_dagster.exports.leaks import SketchFrames, conflicts
from quarry_dagster.exports.place import Place
from quarry_dagster.exports.sides import TRAIN
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.store import Corpus, Store


def as_promised(store: Store, profile: HardwareProfile) -> Finding:
    """Of what the profile exports: each file is the one that its manifest names, and no held-out document shares text
    with another side, by a join of their sketches made for this check."""
    found: list[str] = []
    rows = files = 0
    corpus = store.deduped_corpus.current()
    for settings in profile.exports:
        place = Place(place_of(store, settings.to, of_profile=True))
        try:
            manifest = place.earlier()
        except ConfigError as e:
            found.append(str(e))
            continue
        if manifest is None:
            found.append(f"{settings.to}: it is not there: materialize corpus_export")
            continue
        ids: dict[str, list[str]] = {}
        for file in manifest["files"]:
            files += 1
            if not place.disk.exists(file["path"]):
                found.append(f"{settings.to}: {file['path']} is gone: materialize corpus_export with force")
                continue
            with place.disk.local(file["path"]) as path:
                if _sha256(path) != file["sha256"]:
                    found.append(f"{settings.to}: {file['path']} is not the file that was written")
                elif file["rows"] is not None:
                    ids.setdefault(split_of(file["path"]), []).extend(read_ids(path, file["path"]))
        rows += sum(map(len, ids.values()))
        if corpus and manifest["corpus"]["number"] == corpus.number and len(ids) > 1:
            shared = _shared(store, corpus, ids)
            found += [f"{settings.to}: {doc_id} is held out, and shares text with another side" for doc_id in shared]
    return Finding.of_breaches(found, f"{rows:,} rows in {files:,} files", rows=rows)


def _shared(store: Store, corpus: Corpus, ids: dict[str, list[str]]) -> list[str]:
    ranks = {TRAIN: 0} | {name: at for at, name in enumerate((n for n in ids if n != TRAIN), 1)}
    sides = pl.concat(
        pl.DataFrame({"doc_id": each, "rank": [ranks[name]] * len(each)}, {"doc_id": pl.String, "rank": pl.Int64})
        for name, each in ids.items()
    )
    sketches = SketchFrames(store, corpus)
    known = pl.concat(frame.select("doc_id", "text_digest") for frame in sketches).join(sides, on="doc_id")
    held = known.filter(pl.col("rank") > 0).select("doc_id")
    return conflicts(held, known, sketches).to_list()


def _sha256(path: str) -> str:
    with Path(path).open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
