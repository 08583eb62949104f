"""Ways to embed the same texts: documents a CPU-second of each, beside plain sentence-transformers, and agreement.

    python -m benchmarks.embedding [--texts FILE] [--documents N] [--rounds R] [--device cuda]

FILE is JSON lines with `text`, or a Parquet file with that column; without it, documents are generated. The ways take
turns, so that what else the machine does falls on all of them; the median of the rounds is printed. What a way needs
made first (a conversion, a distilled table) is made before and timed on its own. Each way has a process of its own;
one that needs what is not installed is skipped, and said to be.

On a GPU torch's ways are compared, by seconds instead of CPU-seconds; how busy the GPU and the CPU were says which of
them is the limit. Give it some thousand documents.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.planted import generate
from benchmarks.systems import peak
from quarry_dagster.embed.backend import choose
from quarry_dagster.errors import ConfigError
from quarry_dagster.extract import normal_form
from quarry_dagster.gpu import watch
from quarry_dagster.profiles.settings import Embedding

PLAIN = "sentence-transformers encode"
WAYS: dict[str, dict[str, object]] = {
    "torch float32": {"backend": "torch"},
    "torch bfloat16": {"backend": "torch", "precision": "bfloat16"},
    "OpenVINO float32": {"backend": "openvino"},
    "OpenVINO bfloat16": {"backend": "openvino", "precision": "bfloat16"},
    "OpenVINO int8": {"backend": "openvino", "precision": "int8", "batch_tokens": 1024},
    "ONNX Runtime float32": {"backend": "onnx"},
    "ONNX Runtime int8": {"backend": "onnx", "precision": "int8"},
    "static": {"backend": "static", "batch_tokens": 4096},
    "static, 4 windows": {"backend": "static", "batch_tokens": 4096, "windows": 4},
}
_ON_GPU: dict[str, dict[str, object]] = {
    f"torch {precision}, {tokens:,} tokens": {"backend": "torch", "precision": precision, "batch_tokens": tokens}
    for precision in ("float32", "tf32", "bfloat16", "float16")
    for tokens in (16_384, 65_536)
}
_ENOUGH = 60
"""The static ways get so many times the documents: few would be too quick to time."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedding", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--answer", metavar="WAY", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:
        _answer(arguments.answer, arguments.device)
        return 0
    on_gpu = arguments.device == "cuda"
    ways = [PLAIN, *installed(_ON_GPU if on_gpu else WAYS)]
    workers = {
        way: subprocess.Popen(
            [sys.executable, "-m", "benchmarks.embedding", "--answer", way, "--device", arguments.device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        for way in ways
    }
    texts = _texts(arguments.texts, arguments.documents * _ENOUGH)
    answers: dict[str, list[dict]] = {way: [] for way in ways}
    for _ in range(arguments.rounds + 1):  # the first warms up
        for way in ways:
            many = texts if way.startswith("static") else texts[: arguments.documents]
            answers[way].append(_ask(workers[way], way, many))
    for worker in workers.values():
        worker.communicate()
    plain = answers[PLAIN][0]
    unit = "second" if on_gpu else "CPU-second"
    print(f"| way | documents a {unit} | x plain | cosine, mean / least | load, CPU-s | peak MiB | cores, GPU |")
    print("| --- | ---: | ---: | --- | ---: | ---: | ---: |")
    spent = "wall" if on_gpu else "cpu"
    base = np.array(plain["vectors"])
    for way in ways:
        rates = [a["documents"] / a[spent] for a in answers[way][1:]]
        ratios = [r / (a["documents"] / a[spent]) for r, a in zip(rates, answers[PLAIN][1:], strict=True)]
        last = answers[way][-1]
        busy = f"{last['cpu'] / last['wall']:.1f}" + (f", {last['gpu']:.0f} %" if on_gpu else "")
        cosines = (base * np.array(answers[way][0]["vectors"])[: len(base)]).sum(axis=1)
        agreement = f"{cosines.mean():.4f} / {cosines.min():.4f}" if "static" not in way else "its own space"
        print(
            f"| {way} | {statistics.median(rates):,.1f} | {statistics.median(ratios):.1f} | {agreement} "
            f"| {answers[way][0]['load']:.1f} | {last['peak']:,.0f} | {busy} |"
        )
    return 0


def installed(ways: Iterable[str]) -> list[str]:
    """The ways that can be run here; says of the others why not."""
    here = []
    for way in ways:
        try:
            choose(_settings(way))
        except ConfigError as e:
            print(f"skipped: {way} ({e})")
        else:
            here.append(way)
    return here


def _settings(way: str) -> Embedding:
    return Embedding.model_validate((WAYS | _ON_GPU)[way])


def _ask(worker: subprocess.Popen, way: str, texts: list[str]) -> dict:
    assert worker.stdin is not None and worker.stdout is not None
    with suppress(BrokenPipeError):  # it has ended: so says its answer
        worker.stdin.write(json.dumps(texts) + "\n")
        worker.stdin.flush()
    if not (answer := worker.stdout.readline()):
        sys.exit(f"{way}: its process ended without an answer: see its error above")
    return json.loads(answer)


def _texts(path: Path | None, count: int) -> list[str]:
    if path is None:
        found = generate(count, 0)["text"]
    else:
        read = pl.read_parquet if path.suffix == ".parquet" else pl.read_ndjson
        found = read(path)["text"].sample(fraction=1, shuffle=True, seed=1)
    return [normal_form(t) for t in (found.to_list() * count)[:count]]


def _answer(way: str, device: str) -> None:
    """Work in a process of its own: a line of texts in, a line of figures out."""
    start = time.process_time()
    if way == PLAIN:
        from sentence_transformers import SentenceTransformer

        from quarry_dagster.embed.model import resolve_model

        model = SentenceTransformer(resolve_model(Embedding().model, None)[0], device=device)

        def encode(texts: list[str]) -> np.ndarray:
            return np.asarray(model.encode(texts, show_progress_bar=False))
    else:
        from quarry_dagster.embed import load_encoder

        encode = load_encoder(_settings(way).model_copy(update={"device": device}), 0.8).encode
    load = time.process_time() - start
    for line in sys.stdin:
        texts = json.loads(line)
        cpu, wall = time.process_time(), time.perf_counter()
        with watch(0.1) as use:
            vectors = encode(texts)
        spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "gpu": use.utilization}
        figures = spent | {"documents": len(texts), "load": load, "peak": peak()}
        print(json.dumps(figures | {"vectors": vectors[:64].tolist()}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
