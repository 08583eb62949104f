"""Where exports lie: whole, alone, within reach of a takedown, and never over what is somebody else's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from quarry_dagster.errors import ConfigError, StoreError
from quarry_dagster.exports import export
from quarry_dagster.exports.redaction import KEY
from quarry_dagster.profiles.settings import Export, HardwareProfile
from quarry_dagster.stages import corpus_export
from quarry_dagster_tests import exporting
from quarry_dagster_tests.corpus import Corpus, Quarry, words
from quarry_dagster_tests.exporting import bytes_of, documents, lines_of, rows_of, write

made, corpus = exporting.made, exporting.corpus


def test_a_folder_of_somebody_else_is_not_touched(made: Corpus, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds files that are no export"):
        write(made, tmp_path / "out", force=True)
    (tmp_path / "out" / "manifest.json").write_text("{}")
    with pytest.raises(ConfigError, match="is no manifest of an export"):
        write(made, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.json", "thesis.txt"]
    (tmp_path / "file").write_text("x")
    with pytest.raises((ConfigError, StoreError)):
        write(made, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "x"


KILLED = """
import os, sys
from quarry_dagster.exports import export, place
from quarry_dagster.profiles.settings import Export
from quarry_dagster.store import Store
def killed(self):
    if sys.argv[3] == "before":
        os._exit(9)
    target = place.Path(self.disk.full(""))
    target.rename(self._beside / "before")
    os._exit(9)
place.Place._swap = killed
export(Store(sys.argv[1]), Export(format="jsonl", to=sys.argv[2]), sys.argv[2], force=True)
"""


@pytest.mark.parametrize("where", ["before", "within"])
def test_a_killed_export_leaves_what_was_there_and_the_next_one_is_whole(
    made: Corpus, tmp_path: Path, where: str
) -> None:
    to = tmp_path / "out"
    write(made, to)
    before = bytes_of(to)
    done = subprocess.run([sys.executable, "-c", KILLED, str(made.root), str(to), where], check=False)
    assert done.returncode == 9
    if where == "before":
        assert bytes_of(to) == before
    assert not write(made, to).is_new, "what was there is there"
    assert bytes_of(to) == before
    assert write(made, to, force=True).is_new
    assert bytes_of(to) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_exports_to_one_place_do_not_mix(made: Corpus, tmp_path: Path) -> None:
    from quarry_dagster.exports.place import Place

    with Place(str(tmp_path / "out")).writing() as folder:
        with pytest.raises(ConfigError, match="another export is being written"):
            write(made, tmp_path / "out")
        (folder / "manifest.json").write_text('{"made_by": "quarry-dagster"}')
    assert write(made, tmp_path / "out").is_new


def test_an_object_store_has_the_manifest_last(made: Corpus, tmp_path: Path) -> None:
    to = f"memory://bucket-{tmp_path.name}/out"
    wanted = Export(format="parquet", to=to)
    assert export(made.store, wanted, to).is_new
    assert not export(made.store, wanted, to).is_new
    import fsspec

    fs = fsspec.filesystem("memory")
    found = {path.rsplit("/out/", 1)[1] for path in fs.find(f"/bucket-{tmp_path.name}/out")}
    assert {"manifest.json", "README.md", "data/train-00000-of-00001.parquet"} <= found
    fs.pipe(f"/bucket-{tmp_path.name}/other/a.txt", b"x")
    with pytest.raises(ConfigError, match="no export"):
        export(made.store, wanted, f"memory://bucket-{tmp_path.name}/other")
    fs.pipe(f"/bucket-{tmp_path.name}/out/notes.txt", b"mine")
    with pytest.raises(ConfigError, match=r"files that are not of its export: notes\.txt"):
        export(made.store, wanted, to, force=True)
    assert fs.cat(f"/bucket-{tmp_path.name}/out/notes.txt") == b"mine"
    fs.rm(f"/bucket-{tmp_path.name}/out/notes.txt")
    fs.pipe(f"/bucket-{tmp_path.name}/out/README.md", b"cut")
    assert export(made.store, wanted, to).is_new, "what is damaged is written again"


def test_a_takedown_reaches_exports_below_the_root_and_names_the_others(quarry: Quarry, tmp_path: Path) -> None:
    rows = [{"url": f"http://a.test/{i}", "text": words(i) + (" zanzibarquokka" if i == 3 else "")} for i in range(8)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert quarry("run", "a.jsonl")[0] == 0
    data = tmp_path / "data"
    for to in (data / "exports" / "mine", tmp_path / "elsewhere"):
        status, out, err = quarry("export", "jsonl", "--to", to)
        assert status == 0, err
    inside = data / "exports" / "mine"
    assert any("zanzibarquokka" in row["text"] for row in lines_of(inside))
    status, out, err = quarry("forget", "http://a.test/3")
    assert status == 0, err
    assert "elsewhere" in out and "quarry export" in out and "mine" not in out
    assert len(lines_of(inside)) == 7 and not any("zanzibarquokka" in row["text"] for row in lines_of(inside))
    taken = [json.loads(line)["doc_id"] for line in (inside / "takedowns.jsonl").read_text().splitlines()]
    assert len(taken) == 1 and taken[0] not in {row["doc_id"] for row in lines_of(inside)}
    assert len(lines_of(tmp_path / "elsewhere")) == 8


def test_what_somebody_put_beside_the_rows_is_never_taken_away(quarry: Quarry, corpus: Corpus) -> None:
    to = corpus.root / "exports" / "out"
    corpus_export.make(corpus.store, Export(format="jsonl", to=str(to)), str(to))
    (to / ".git").mkdir()
    (to / ".git" / "HEAD").write_text("x")
    with pytest.raises(ConfigError, match=r"files that are not of its export: \.git/HEAD; move them"):
        write(corpus, to, format="jsonl", salt="x")
    assert not write(corpus, to, format="jsonl").is_new, "nothing is to be written"
    (url,) = [row["url"] for row in documents() if row["url"].endswith("/9")]
    assert quarry("forget", url, "--data", corpus.root, "--yes", "--accept-shrink")[0] == 0
    assert (to / ".git" / "HEAD").read_text() == "x" and not (to / "data").exists()
    _, deleted = corpus_export.unreached(corpus.store)
    assert "files that are not of its export" in deleted[str(to)]


def test_a_damaged_export_is_written_again(made: Corpus, tmp_path: Path) -> None:
    write(made, tmp_path / "out")
    before = bytes_of(tmp_path / "out")
    (tmp_path / "out" / "README.md").unlink()
    assert write(made, tmp_path / "out").is_new and bytes_of(tmp_path / "out") == before
    (tmp_path / "out" / "manifest.json").with_name("takedowns.jsonl").write_text("x")
    assert write(made, tmp_path / "out").is_new and bytes_of(tmp_path / "out") == before


def test_a_link_is_followed_and_stays(made: Corpus, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    write(made, tmp_path / "link")
    write(made, tmp_path / "link", format="jsonl")
    assert (tmp_path / "link").is_symlink() and lines_of(tmp_path / "disk")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link"]


@pytest.mark.parametrize("inside", ["", "..", "seeds/x", "extracted_text", "exports", "exports/../log/x"])
def test_a_data_root_has_exports_in_their_folder_alone(quarry: Quarry, corpus: Corpus, inside: str) -> None:
    status, _, err = quarry("export", "jsonl", "--data", corpus.root, "--to", corpus.root / inside)
    assert status == 1 and "is not for exports" in err
    status, _, err = quarry("export", "jsonl", "--data", corpus.root, "--to", "/")
    assert status == 1 and "the whole disk" in err


def test_an_export_does_not_lie_in_another_one(quarry: Quarry, corpus: Corpus, tmp_path: Path) -> None:
    assert quarry("export", "jsonl", "--data", corpus.root, "--to", tmp_path / "a")[0] == 0
    status, _, err = quarry("export", "jsonl", "--data", corpus.root, "--to", tmp_path / "a" / "b" / "c")
    assert status == 1 and "lies in another export" in err
    with pytest.raises(ValidationError, match="two of them are written to hub"):
        HardwareProfile.model_validate(
            {"name": "x", "exports": [{"format": "jsonl", "to": "hub"}, {"format": "parquet", "to": "./hub/"}]}
        )


def test_a_moved_root_reaches_its_exports_and_deleted_ones_stay_deleted(
    quarry: Quarry, corpus: Corpus, tmp_path: Path
) -> None:
    for name in ("kept", "gone"):
        to = f"file://{corpus.root}/exports/{name}"
        assert quarry("export", "jsonl", "--data", corpus.root, "--to", to)[0] == 0
    assert quarry("export", "jsonl", "--data", corpus.root, "--to", tmp_path / "elsewhere")[0] == 0
    assert quarry("export", "jsonl", "--data", corpus.root, "--to", tmp_path / "gone too")[0] == 0
    for gone in (corpus.root / "exports" / "gone", tmp_path / "gone too"):
        for path in sorted(gone.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        gone.rmdir()
    moved = tmp_path / "moved"
    corpus.root.rename(moved)
    (url,) = [row["url"] for row in documents() if row["url"].endswith("/9")]
    status, out, _ = quarry("forget", url, "--data", moved, "--yes", "--json", "--accept-shrink")
    assert status == 0
    said = json.loads(out)
    mine = [to for to in said["exports_elsewhere"] if str(tmp_path) in to]
    assert mine == [str(tmp_path / "elsewhere")] and said["exports_deleted"] == {}
    assert len(lines_of(moved / "exports" / "kept")) == 59
    assert not (moved / "exports" / "gone").exists()


def test_an_export_that_cannot_be_written_again_is_deleted_and_said(
    quarry: Quarry, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "a secret")
    to = corpus.root / "exports" / "named"
    said = ("--redact", "all", "--redact-with", "pseudonym")
    assert quarry("export", "jsonl", "--data", corpus.root, "--to", to, *said)[0] == 0
    monkeypatch.delenv(KEY)
    (url,) = [row["url"] for row in documents() if row["url"].endswith("/9")]
    status, out, _ = quarry("forget", url, "--data", corpus.root, "--yes", "--accept-shrink")
    assert status == 0 and "could not be written again, and were deleted" in out and f"{to}: pseudonyms" in out
    assert not to.exists()
    monkeypatch.setenv(KEY, "a secret")
    assert quarry("export", "jsonl", "--data", corpus.root, "--to", to, *said)[0] == 0
    assert corpus_export.unreached(corpus.store)[1] == {}


def test_a_takedown_leaves_what_changed_since_what_it_was(quarry: Quarry, corpus: Corpus) -> None:
    corpus.seed_texts("b.jsonl", {"http://new.example/": words(88)})
    corpus.run()
    to = corpus.root / "exports" / "since"
    corpus_export.make(corpus.store, Export(format="parquet", to=str(to)), str(to), since=1)
    assert rows_of(to).height == 1
    (url,) = [row["url"] for row in documents() if row["url"].endswith("/9")]
    assert quarry("forget", url, "--data", corpus.root, "--yes", "--accept-shrink")[0] == 0
    _, deleted = corpus_export.unreached(corpus.store)
    assert "no corpus that is kept is named '1'" in deleted[str(to)], "it holds what was taken out"
    assert not to.exists()
