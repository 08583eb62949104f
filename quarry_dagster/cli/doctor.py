"""`quarry doctor`: the hardware, the profile, the versions, and what would break."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version

import click
import numpy as np
import psutil

from quarry_dagster import gpu
from quarry_dagster.cli.options import data_option, profile_option
from quarry_dagster.crawl import allowed_networks
from quarry_dagster.environment import allowed_addresses, data_root, profile_name
from quarry_dagster.errors import QuarryError
from quarry_dagster.profiles.remembered import choose_for
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.store import Files, Store

_PACKAGES = ("dagster", "polars", "torch", "sentence-transformers", "numpy", "pyarrow", "trafilatura")
_LOW_DISK_GIB = 5
_FAISS_VECTORS = 10_000


@click.command()
@data_option
@profile_option
def doctor(data: str | None, profile: str | None) -> None:
    """Hardware, chosen profile and why, versions, model, GPU, FAISS, and what would break.

    Exit status 1 when something would break.
    """
    memory = psutil.virtual_memory()
    _line("machine", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}")
    _line("cores", str(os.cpu_count()))
    _line("memory", f"{memory.total / 2**30:.1f} GiB, {memory.available / 2**30:.1f} GiB free")
    gpus = gpu.list_gpus()
    _line("GPU", f"driver {gpu.driver_version()}" if gpus else "none")
    for g in gpus:
        _line(
            "", f"{g.index}: {g.name}, {g.memory_used_mb:,} of {g.memory_total_mb:,} MiB used, {g.utilization} % busy"
        )
    _line("versions", ", ".join(f"{p} {version(p)}" for p in _PACKAGES))
    problems: list[str] = []
    try:
        choice = choose_for(Store(data_root(data)), profile_name(profile))
    except QuarryError as e:
        problems.append(str(e))
    else:
        _line("profile", f"{choice.profile.name}: {choice.reason}")
        problems += _check_profile(choice.profile, memory.total)
        problems += _check_model(choice.profile)
        problems += _check_faiss(choice.profile)
    problems += _check_data(data_root(data))
    for problem in problems:
        click.secho(f"  would break: {problem}", fg="red")
    click.echo("nothing found that would break" if not problems else "")
    sys.exit(1 if problems else 0)


def _check_profile(profile: HardwareProfile, total: int) -> Iterator[str]:
    if profile.hardware.memory_budget_mb << 20 > total:
        yield (
            f"profile {profile.name} budgets {profile.hardware.memory_budget_mb} MiB a step, "
            f"the machine has {total >> 20} MiB: choose a smaller profile"
        )
    if profile.crawl.contact is None:
        _line("note", "crawl.contact is not set: site owners cannot write to you")
    try:
        networks = allowed_networks(allowed_addresses())
    except QuarryError as e:
        yield str(e)
    else:
        if networks:
            _line("private", f"QUARRY_ALLOW_ADDRESSES lets these be crawled: {', '.join(map(str, networks))}")


def _check_model(profile: HardwareProfile) -> Iterator[str]:
    from quarry_dagster.embed import load_encoder

    try:
        encoder = load_encoder(profile.embedding, profile.hardware.gpu_memory_fraction)
    except QuarryError as e:
        yield str(e)
        return
    _line("model", f"{profile.embedding.model}, {encoder.dim} dimensions")
    _line(
        "",
        f"run by {encoder.choice.backend}, {encoder.choice.precision}, on {encoder.device} ({encoder.choice.reason})",
    )


def _check_faiss(profile: HardwareProfile) -> Iterator[str]:
    """The deployment guide's verification: version, GPUs it sees, and a search that finds what was put in, on each."""
    import faiss

    from quarry_dagster.index import Shard

    gpus = gpu.faiss_gpus()
    options = faiss.get_compile_options().split()
    _line("FAISS", f"{faiss.__version__} ({', '.join(options)}), GPUs it can use: {gpus}")
    vectors = np.random.default_rng(0).standard_normal((_FAISS_VECTORS, 64), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    shard = Shard.create("IndexFlatIP", vectors, len(vectors))
    shard.add(vectors)
    for where, index in ({"CPU": shard} | ({"GPU": shard.on_gpu()} if gpus else {})).items():
        start = time.perf_counter()
        rows, _ = index.search(vectors[:1000], 1, profile.index, np.empty(0, np.int64))
        milliseconds = 1000 * (time.perf_counter() - start)
        _line("", f"on the {where}: 1,000 queries of {len(vectors):,} vectors in {milliseconds:.0f} ms")
        if rows[:, 0].tolist() != list(range(1000)):
            yield f"FAISS does not find vectors that were just added, on the {where}: reinstall it"
    if profile.index.use_gpu_faiss:
        try:
            gpu.check_faiss()
        except QuarryError as e:
            yield str(e)


def _check_data(root: str) -> Iterator[str]:
    _line("data", root)
    try:
        files = Files(root)
        with files.create(".doctor") as f:
            f.write(b"ok")
        files.delete([".doctor"])
    except QuarryError as e:
        yield str(e)
        return
    if files.is_local:
        free = shutil.disk_usage(files.full("")).free / 2**30
        _line("disk", f"{free:.0f} GiB free")
        if free < _LOW_DISK_GIB:
            yield f"only {free:.1f} GiB are free where the data lies"


def _line(name: str, text: str) -> None:
    click.echo(f"{name:>9}  {text}")
