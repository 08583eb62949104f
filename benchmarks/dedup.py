"""What deduplication finds, loses and costs, beside four peers and the guide's rule, on the same texts in one run.

    python -m benchmarks.dedup [LABELLED] [--peers-python PATH] [--work DIR]

LABELLED is a Parquet file with a row a document: `id`, `text`, `cluster` (same cluster: duplicates) and `kind` (`base`,
or how the document was made from its cluster's base); or a folder with the sets that `benchmarks.labelled` reads, and
if it is there `copycat_pairs.parquet` (pairs judged by people).
Without it, documents are generated: see `benchmarks.planted`. Each system runs in a process of its own; texts are
embedded once, and their vectors are given to all systems that use them. A peer that is not importable is skipped:
`pip install -e '.[bench]'`, or name an interpreter that has them. With --work, vectors are kept for the next run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from benchmarks.judged_pairs import judged_pairs
from benchmarks.labelled import Judge, Score, labelled_sets
from benchmarks.planted import generate
from benchmarks.systems import NEED_VECTORS, PEERS, SYSTEMS

TITLES = {
    "quarry": "QuarryCore",
    "guide": "guide's rule: cosine >= .85",
    "semhash": "semhash, cosine >= .90",
    "datatrove": "datatrove MinHash 14x8",
    "rensa_r": "rensa R-MinHash .8",
    "rensa_c": "rensa C-MinHash .8",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dedup", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("labelled", type=Path, nargs="?", help="labelled documents; default: generated ones")
    parser.add_argument("--documents", type=int, default=3000, help="how many to generate")
    parser.add_argument("--seed", type=int, default=0, help="of the generated documents")
    parser.add_argument("--limit", type=int, help="only the first N clusters of each set")
    parser.add_argument("--profile", default="workstation")
    parser.add_argument("--peers-python", default=sys.executable, help="an interpreter that has the peers")
    parser.add_argument("--work", type=Path, help="keep texts and vectors here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = arguments.work or Path(scratch)
        for name, labelled in _sets(arguments).items():
            if arguments.limit:
                first = labelled["cluster"].unique(maintain_order=True).head(arguments.limit)
                labelled = labelled.filter(pl.col("cluster").is_in(first.to_list()))
            _compare(name, labelled, work / name, arguments.profile, arguments.peers_python)
    pairs = arguments.labelled and arguments.labelled / "copycat_pairs.parquet"
    if pairs and pairs.is_file():
        print(judged_pairs(pl.read_parquet(pairs), arguments.profile))
    return 0


def _sets(arguments: argparse.Namespace) -> dict[str, pl.DataFrame]:
    """The labelled sets to compare on, by name: columns id, text, cluster, kind."""
    path: Path | None = arguments.labelled
    if path is None:
        return {"generated": generate(arguments.documents, arguments.seed)}
    if path.is_file():
        return {path.stem: pl.read_parquet(path)}
    return labelled_sets(path)


def _compare(name: str, labelled: pl.DataFrame, folder: Path, profile: str, peers_python: str) -> None:
    print(f"\n## {name}: {labelled.height:,} documents, {labelled['cluster'].n_unique():,} of them distinct\n")
    embedding = _prepare(labelled, folder, profile)
    rows, by_kind = [], {}
    for system in (s for s in SYSTEMS if s != "embed"):
        python = peers_python if system in PEERS else sys.executable
        if not _importable(python, SYSTEMS[system][1]):
            print(f"skipped: {TITLES[system]} ({', '.join(SYSTEMS[system][1])} not importable by {python})")
            continue
        try:
            answer = _run(python, system, folder)
        except _Failed as e:
            if system not in PEERS:
                raise
            print(f"skipped: {TITLES[system]} ({str(e).strip().splitlines()[-1]})")
            continue
        found = score(labelled, [(a, b) for a, b in answer["removed"]])
        vectors = embedding["cpu"] if system in NEED_VECTORS else 0.0
        peak = max(answer["peak"], embedding["peak"] if vectors else 0)
        rows.append(
            {
                "system": TITLES[system],
                "recall": f"{found.recall:.3f}",
                "precision": f"{found.precision:.3f}",
                "found": f"{found.found:,} of {found.planted:,}",
                "other clusters": str(len(found.others)),
                "lost 3-grams": f"{found.lost:,}",
                "false per 10,000": f"{len(found.wrong) * 10_000 / labelled['cluster'].n_unique():.0f}",
                "hard negatives lost": str(found.hard_negatives),
                "removals that lose text": str(found.losing),
                "CPU s: vectors": f"{vectors:.0f}" if vectors else "",
                "CPU s: rest": f"{answer['cpu']:.1f}",
                "documents per CPU s": f"{labelled.height / (vectors + answer['cpu']):,.0f}",
                "without vectors": f"{labelled.height / max(answer['cpu'], 1e-3):,.0f}",
                "peak MiB": f"{peak:,.0f}",
                "peak without": f"{answer['peak']:,.0f}",
            }
        )
        by_kind[TITLES[system]] = found.by_kind
    print(_table(rows))
    kinds = sorted({k for found in by_kind.values() for k in found})
    print(_table([{"recall": k} | {s: "{} of {}".format(*found[k]) for s, found in by_kind.items()} for k in kinds]))


def _prepare(labelled: pl.DataFrame, folder: Path, profile: str) -> dict[str, float]:
    """Write texts in an order that tells nothing, embed them unless they are embedded; cost of embedding."""
    folder.mkdir(parents=True, exist_ok=True)
    shuffled = labelled.select("id", "text").sample(fraction=1, shuffle=True, seed=1)
    lines = "".join(json.dumps(row) + "\n" for row in shuffled.iter_rows(named=True))
    texts, done = folder / "texts.jsonl", folder / "embed.json"
    same = texts.exists() and texts.read_text() == lines and (folder / "profile.txt").read_text() == profile
    if not (same and done.exists()):
        texts.write_text(lines)
        (folder / "profile.txt").write_text(profile)
        _run(sys.executable, "embed", folder)
    return json.loads(done.read_text())


class _Failed(RuntimeError):
    """A system's process ended with an error: its message is what it printed."""


def _run(python: str, system: str, folder: Path) -> dict:
    command = [python, "-m", "benchmarks.systems", system, str(folder.absolute())]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _Failed(f"{' '.join(command)}:\n{done.stderr[-4000:]}")
    return json.loads((folder / f"{system}.json").read_text())


def _importable(python: str, modules: tuple[str, ...]) -> bool:
    """Whether that interpreter finds the top-level packages of these modules, without importing any."""
    names = sorted({m.split(".")[0] for m in modules} - {"quarry_dagster"})
    test = f"import sys, importlib.util as u; sys.exit(any(u.find_spec(n) is None for n in {names}))"
    return subprocess.run([python, "-c", test], check=False).returncode == 0


def score(labelled: pl.DataFrame, removed: list[tuple[str, str]]) -> Score:
    """Judge removals, pairs (removed id, kept id), by labels: columns id, text, cluster, kind."""
    return Judge(labelled).score(removed)


def _table(rows: list[dict[str, str]]) -> str:
    if not rows:
        return ""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([r.get(c, "") for c in head] for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
