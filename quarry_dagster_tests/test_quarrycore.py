"""The deployment guide's Python: its examples run as it prints them, on the product's own parts."""

import ast
import asyncio
import math
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

import quarrycore
from quarry_dagster import gpu
from quarry_dagster.errors import ConfigError
from quarry_dagster.extract import normal_form
from quarry_dagster_tests.corpus import words
from quarry_dagster_tests.site import html
from quarrycore.observability import GPUMonitor

MONITORING = """
import quarrycore
from quarrycore.observability import GPUMonitor

monitor = GPUMonitor()
monitor.start_monitoring()

# Your processing pipeline
extractor = quarrycore.CascadeExtractor(gpu_enabled=True)
results = await extractor.extract_batch(crawl_results)

# Get performance metrics
metrics = monitor.get_metrics()
print(f"GPU Utilization: {metrics['gpu_utilization']:.1f}%")
print(f"Memory Usage: {metrics['memory_usage']:.1f}%")
print(f"Embedding Speed: {metrics['embeddings_per_second']:.0f}/sec")
"""
VERIFICATION = """
import faiss
print(f"FAISS version: {faiss.__version__}")
print(f"GPU available: {faiss.get_num_gpus()}")

# Test GPU functionality
import numpy as np
d = 128
nb = 10000
nq = 100

# Generate test data
xb = np.random.random((nb, d)).astype('float32')
xq = np.random.random((nq, d)).astype('float32')

# CPU index
index_cpu = faiss.IndexFlatL2(d)
index_cpu.add(xb)

# GPU index
res = faiss.StandardGpuResources()
index_gpu = faiss.index_cpu_to_gpu(res, 0, index_cpu)

# Performance comparison
import time
start = time.time()
D, I = index_gpu.search(xq, 5)
gpu_time = time.time() - start

start = time.time()
D, I = index_cpu.search(xq, 5)
cpu_time = time.time() - start

print(f"GPU search time: {gpu_time:.4f}s")
print(f"CPU search time: {cpu_time:.4f}s")
print(f"Speedup: {cpu_time/gpu_time:.2f}x")
"""
ON_GPU = ("StandardGpuResources", "index_gpu", "gpu_time")
PAGES = [{"url": f"http://a.test/{i}", "html": html(f"Page {i}", words(i, 120))} for i in range(3)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile whose model is loaded in no time."""
    monkeypatch.setenv("QUARRY_PROFILE", "raspberry_pi")


def run(code: str, **known: Any) -> dict[str, Any]:
    """Run code that may await at its top level, as notebooks do; returns its variables."""
    names = dict(known)
    compiled = compile(code, "<guide>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async def main() -> None:
        if (waiting := eval(compiled, names)) is not None:
            await waiting

    asyncio.run(main())
    return names


def test_the_guides_monitoring_example_runs_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    names = run(MONITORING, crawl_results=PAGES)
    names["monitor"].stop_monitoring()
    said = capsys.readouterr().out
    assert "GPU Utilization: " in said and "Memory Usage: " in said
    assert names["metrics"]["embeddings_per_second"] > 0
    assert names["metrics"]["gpus"] == len(gpu.list_gpus())
    results = names["results"]
    assert [each.url for each in results] == [page["url"] for page in PAGES]
    assert [each.extraction.outcome for each in results] == ["extracted"] * 3
    for each in results:
        assert each.embedding.shape == (384,) and each.embedding.dtype == np.float32
        assert abs(float(np.linalg.norm(each.embedding)) - 1) < 1e-5
        assert len(normal_form(each.text).split()) >= 120


def test_the_guides_verification_runs_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    if not gpu.faiss_gpus():
        run("\n".join(line for line in VERIFICATION.splitlines() if not any(word in line for word in ON_GPU)))
        assert "FAISS version: " in capsys.readouterr().out
        pytest.skip("this FAISS sees no GPU: the lines of the guide's verification for one were left out")
    run(VERIFICATION)
    assert "Speedup: " in capsys.readouterr().out


@pytest.mark.parametrize("module", ["quarrycore.cli", "quarry_dagster"])
def test_the_guides_commands_are_the_command_quarry(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True)
    assert "Crawl seeds to a clean, deduplicated, explained text corpus." in done.stdout


def extracted(pages: Any, **how: Any) -> list[quarrycore.Result]:
    return asyncio.run(quarrycore.CascadeExtractor(**how).extract_batch(pages))


def test_every_page_of_a_batch_has_its_result_in_its_place() -> None:
    body = html("A page", words(7, 120))
    pages = [
        {"url": "http://a.test/none", "body": None},
        SimpleNamespace(url="http://a.test/object", body=body, content_type="text/html"),
        {"url": "http://a.test/short", "html": "<p>few words</p>"},
        {"url": "http://a.test/moved", "final_url": "http://a.test/there", "body": body, "content_type": None},
        {"url": "http://a.test/again", "html": body.decode()},
    ]
    found = extracted(pages, gpu_enabled=False)
    assert [each.extraction.outcome for each in found] == [
        *("not_fetched", "extracted", "too_short", "extracted", "extracted")
    ]
    assert [each.url.rpartition("/")[2] for each in found] == ["none", "object", "short", "there", "again"]
    assert [each.text is None for each in found] == [each.embedding is None for each in found]
    assert found[1].text == found[4].text
    table = pl.DataFrame(
        {"url": ["http://a.test/row"], "final_url": [None], "body": [body], "content_type": ["text/html"]}
    )
    assert [each.text for each in extracted(table)] == [found[1].text]
    assert extracted([]) == []


@pytest.mark.parametrize("page", [{"html": "<p>x"}, "http://a.test/", {"url": 3, "body": b""}, {"url": "u", "body": 3}])
def test_what_is_no_page_is_named_by_its_place(page: Any) -> None:
    with pytest.raises(ConfigError, match="page 1 of the batch: a page is a mapping or an object with a url"):
        extracted([PAGES[0], page])


def test_what_is_no_batch_or_no_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="a list of pages or a frame, not NoneType"):
        extracted(None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="gpu_enabled: True or False, not 'yes'"):
        quarrycore.CascadeExtractor(gpu_enabled="yes")  # pyright: ignore[reportArgumentType]
    for interval in (0, -1, "x", math.nan, True):
        with pytest.raises(ConfigError, match="interval: a number of seconds above 0"):
            GPUMonitor(interval=interval)  # pyright: ignore[reportArgumentType]


def test_a_monitor_that_stopped_keeps_what_it_saw() -> None:
    monitor = GPUMonitor(interval=0.01)
    with pytest.raises(ConfigError, match="call start_monitoring"):
        monitor.get_metrics()
    monitor.start_monitoring()
    assert monitor.get_metrics()["embeddings_per_second"] == 0
    extracted(PAGES)
    monitor.stop_monitoring()
    seen = monitor.get_metrics()
    assert seen["embeddings_per_second"] > 0
    extracted(PAGES)
    assert monitor.get_metrics() == seen
    monitor.start_monitoring()
    assert monitor.get_metrics()["embeddings_per_second"] == 0
    monitor.stop_monitoring()
