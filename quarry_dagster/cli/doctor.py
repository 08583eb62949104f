"""`quarry doctor`: the hardware, the profile, the versions, and what would break."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np
import psutil

from quarry_dagster import gpu
from quarry_dagster.cli.options import data_option, json_option, print_json, profile_option
from quarry_dagster.crawl import allowed_networks
from quarry_dagster.environment import allowed_addresses, data_root, profile_name
from quarry_dagster.errors import QuarryError
from quarry_dagster.profiles.remembered import choose_for, named_classifiers, named_processors
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.store import Files, Store

_PACKAGES = ("dagster", "polars", "torch", "sentence-transformers", "numpy", "pyarrow", "trafilatura")
_LOW_DISK_GIB = 5
_SHOWN = 5
_Say = Callable[[str, str], None]
"""Takes one fact: its name, "" where it goes on the line before, and what is to be said of it."""
_FAISS_VECTORS = 10_000


@click.command()
@data_option
@profile_option
@click.option("--quick", is_flag=True, help="Load no model and measure nothing: for probes, in about a second.")
@click.option("--gpu", "needs_gpu", is_flag=True, help="Say that it would break where there is no GPU.")
@json_option
def doctor(data: str | None, profile: str | None, quick: bool, needs_gpu: bool, as_json: bool) -> None:
    """Hardware, chosen profile and why, versions, model, GPU, FAISS, the newest corpus, and what would break.

    Exit status 1 when something would break.
    """
    facts: list[tuple[str, str]] = []

    def note(name: str, text: str) -> None:
        facts.append((name, text))

    say = note if as_json else _printed
    memory = psutil.virtual_memory()
    say("machine", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}")
    say("cores", str(os.cpu_count()))
    say("memory", f"{memory.total / 2**30:.1f} GiB, {memory.available / 2**30:.1f} GiB free")
    gpus = gpu.list_gpus()
    say("GPU", f"driver {gpu.driver_version()}" if gpus else "none")
    for g in gpus:
        say("", f"{g.index}: {g.name}, {g.memory_used_mb:,} of {g.memory_total_mb:,} MiB used, {g.utilization} % busy")
    faiss = gpu.faiss_packages()
    say("versions", ", ".join(f"{p} {v}" for p, v in ({p: version(p) for p in _PACKAGES} | faiss).items()))
    problems = ["there is no GPU: NVML finds no driver, or no card"] if needs_gpu and not gpus else []
    if len(faiss) > 1:
        problems.append(
            f"{' and '.join(faiss)} lie over each other: uninstall all of them, and install the one that is meant"
        )
    try:
        choice = choose_for(Store(data_root(data)), profile_name(profile))
    except QuarryError as e:
        problems.append(str(e))
    else:
        say("profile", f"{choice.profile.name}: {choice.reason}")
        for remark in choice.remarks:
            say("note", remark)
        problems += _check_profile(choice.profile, memory.total, say)
        if quick:
            problems += _seen_at_once(choice.profile, bool(gpus))
        if quick and needs_gpu:
            problems += _gpu_of_faiss(choice.profile)
        if not quick:
            problems += _check_quality(Store(data_root(data)), profile_name(profile), choice.profile, say)
            problems += _check_model(choice.profile, say)
            problems += _check_faiss(choice.profile, say)
    problems += _check_data(data_root(data), say)
    problems += _check_published(data_root(data), say)
    if not quick:
        problems += _check_instance(data_root(data))
    if as_json:
        print_json({"facts": [{"name": name, "text": text} for name, text in facts], "problems": problems})
        sys.exit(1 if problems else 0)
    for problem in problems:
        click.secho(f"  would break: {problem}", fg="red")
    click.echo("" if problems else "nothing found that would break" + (", by a quick look" if quick else ""))
    sys.exit(1 if problems else 0)


def _check_profile(profile: HardwareProfile, total: int, say: _Say) -> Iterator[str]:
    if profile.hardware.memory_budget_mb << 20 > total:
        yield (
            f"profile {profile.name} budgets {profile.hardware.memory_budget_mb} MiB a step, "
            f"the machine has {total >> 20} MiB: choose a smaller profile"
        )
    if profile.crawl.contact is None:
        say("note", "crawl.contact is not set: site owners cannot write to you")
    try:
        networks = allowed_networks(allowed_addresses())
    except QuarryError as e:
        yield str(e)
    else:
        if networks:
            say("private", f"QUARRY_ALLOW_ADDRESSES lets these be crawled: {', '.join(map(str, networks))}")


def _check_quality(store: Store, named: str | None, profile: HardwareProfile, say: _Say) -> Iterator[str]:
    """The policy, and what of a user's own reads pages and scores texts."""
    from quarry_dagster.domains import load
    from quarry_dagster.stages.quality_signals import ruling_of, scorers_of

    try:
        ruling = ruling_of(profile.quality)
    except QuarryError as e:
        yield str(e)
    else:
        say("quality", f"policy {ruling.policy.stamp}, action {ruling.action}")
    try:
        load(named_processors(store, named, profile))
    except QuarryError as e:
        yield str(e)
    try:
        scorers_of(named_classifiers(store, named, profile))
    except QuarryError as e:
        yield str(e)


def _seen_at_once(profile: HardwareProfile, has_gpu: bool) -> Iterator[str]:
    """What of the model can be seen to be missing without loading it."""
    from quarry_dagster.embed.backend import choose
    from quarry_dagster.embed.model import check_model

    wanted = profile.embedding
    if wanted.device == "cuda" and not has_gpu:
        yield "embedding.device: cuda, and there is no GPU: set auto or cpu"
    for look in (lambda: choose(wanted), lambda: check_model(wanted.model, wanted.revision)):
        try:
            look()
        except QuarryError as e:
            yield str(e)


def _check_model(profile: HardwareProfile, say: _Say) -> Iterator[str]:
    from quarry_dagster.embed import load_encoder

    try:
        encoder = load_encoder(profile.embedding, profile.hardware.gpu_memory_fraction)
    except QuarryError as e:
        yield str(e)
        return
    say("model", f"{profile.embedding.model}, {encoder.dim} dimensions")
    say(
        "",
        f"run by {encoder.choice.backend}, {encoder.choice.precision}, on {encoder.device} ({encoder.choice.reason})",
    )


def _check_faiss(profile: HardwareProfile, say: _Say) -> Iterator[str]:
    """The deployment guide's verification: version, GPUs it sees, and a search that finds what was put in, on each."""
    import faiss

    from quarry_dagster.index import Shard

    gpus = gpu.faiss_gpus()
    options = faiss.get_compile_options().split()
    say("FAISS", f"{faiss.__version__} ({', '.join(options)}), GPUs it can use: {gpus}")
    vectors = np.random.default_rng(0).standard_normal((_FAISS_VECTORS, 64), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    shard = Shard.create("IndexFlatIP", vectors, len(vectors))
    shard.add(vectors)
    for where, index in ({"CPU": shard} | ({"GPU": shard.on_gpu()} if gpus else {})).items():
        start = time.perf_counter()
        rows, _ = index.search(vectors[:1000], 1, profile.index, np.empty(0, np.int64))
        milliseconds = 1000 * (time.perf_counter() - start)
        say("", f"on the {where}: 1,000 queries of {len(vectors):,} vectors in {milliseconds:.0f} ms")
        if rows[:, 0].tolist() != list(range(1000)):
            yield f"FAISS does not find vectors that were just added, on the {where}: reinstall it"
    yield from _gpu_of_faiss(profile)


def _gpu_of_faiss(profile: HardwareProfile) -> Iterator[str]:
    """What is said where the profile asks for FAISS on a GPU, and it cannot use one."""
    if profile.index.use_gpu_faiss:
        try:
            gpu.check_faiss()
        except QuarryError as e:
            yield str(e)


def _check_data(root: str, say: _Say) -> Iterator[str]:
    try:
        files = Files(root)
        is_there = not files.is_local or files.exists("")
        say("data", root if is_there else f"{root}, which the first run makes")
        folder = _existing(Path(files.full(""))) if files.is_local else None
        if is_there:
            with files.create(".doctor") as f:
                f.write(b"ok")
            files.delete([".doctor"])
            if not files.is_local and not files.has_single_names:
                say("", "it does not keep two writers of one name apart: let one process at a time write there")
        elif folder and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):  # to look makes nothing
            yield f"cannot make {root} in {folder}: name another place by --data"
            return
    except QuarryError as e:
        yield str(e)
        return
    if folder:
        free = shutil.disk_usage(folder).free / 2**30
        say("disk", f"{free:.0f} GiB free")
        if free < _LOW_DISK_GIB:
            yield f"only {free:.1f} GiB are free where the data lies"


def _check_published(root: str, say: _Say) -> Iterator[str]:
    """The newest corpus and its age, and what keeps the next from being published."""
    try:
        store = Store(root)
        corpus, standing = store.deduped_corpus.current(), store.failed_checks().standing
    except QuarryError as e:
        yield str(e)
        return
    if corpus and corpus.published_at:
        age = datetime.now(UTC) - datetime.fromisoformat(corpus.published_at)
        hours = age.total_seconds() / 3600
        ago = f"{hours:.1f} hours" if hours < 48 else f"{age.days} days"
        say(
            "corpus",
            f"{corpus.number}, published {corpus.published_at}, {ago} ago, {corpus.kept_documents:,} documents",
        )
    else:
        say("corpus", "none is published yet")
    for check, partitions in standing.items():
        since = min(partitions.values())
        yield f"check {check} stands failed since {since}, and nothing is published until it passes: quarry check"


def _check_instance(root: str) -> Iterator[str]:
    """What the Dagster instance would have taken out, and whose runs it cannot see."""
    try:
        store = Store(root)
    except QuarryError:  # told already, as what would break
        return
    has_instance = os.environ.get("DAGSTER_HOME") or (store.files.is_local and store.files.exists(".dagster"))
    if not has_instance or not store.batches.segments():
        return
    from quarry_dagster.orchestration import runner
    from quarry_dagster.orchestration.dead_runs import unseen_runs
    from quarry_dagster.orchestration.partitions import deleted_partitions

    with runner.instance(root) as instance:
        if gone := sorted(deleted_partitions(instance, store)):
            more = f" and {len(gone) - _SHOWN:,} more" if len(gone) > _SHOWN else ""
            yield (
                f"the next run takes out the documents of {', '.join(gone[:_SHOWN])}{more}: the Dagster instance does "
                "not list these partitions, and had materialized them; where nobody deleted them there, name the "
                "instance that belongs to this data root by DAGSTER_HOME"
            )
        yield from unseen_runs(instance)


def _existing(path: Path) -> Path:
    """The path, or the nearest above it that is there."""
    return next(each for each in (path, *path.parents) if each.exists())


def _printed(name: str, text: str) -> None:
    click.echo(f"{name:>9}  {text}")
