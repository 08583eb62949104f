"""Profiles are typed, validated with helpful errors, and chosen by the hardware when none is named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quarry_dagster.errors import ConfigError
from quarry_dagster.gpu import Gpu
from quarry_dagster.profiles import choose
from quarry_dagster.profiles.choose import choose_profile, load_profile, profile_names
from quarry_dagster.profiles.remembered import choose_for, made_with, to_remember
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.store import Store


def test_every_shipped_profile_loads() -> None:
    assert profile_names() == ["enterprise_gpu", "gpu_workstation", "raspberry_pi", "workstation"]
    for name in profile_names():
        assert load_profile(name).name == name


def test_a_misspelt_key_is_named_with_the_nearest_valid_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("embedding:\n  bach_tokens: 8\n")
    with pytest.raises(ConfigError) as e:
        load_profile(str(path))
    assert "mine.yaml" in str(e.value)
    assert "'embedding.bach_tokens'" in str(e.value)
    assert "'embedding.batch_tokens'" in str(e.value)


def test_every_wrong_setting_is_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("deduplication:\n  similarity_threshold: 7\nindexx: {}\npartitions:\n  pages_per_partition: many\n")
    with pytest.raises(ConfigError) as e:
        load_profile(str(path))
    for part in (
        "deduplication.similarity_threshold",
        "'indexx'",
        "'index'",
        "partitions.pages_per_partition",
        "'many'",
    ):
        assert part in str(e.value)


def test_a_section_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("deduplication: {mode: strict}\nindex: {type: auto}\ndeduplication: {keep: [doc_id]}\n")
    with pytest.raises(ConfigError, match=r"mine.yaml.*'deduplication' stands twice") as e:
        load_profile(str(path))
    assert "line 3" in str(e.value)


def test_times_are_checked_where_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("automation:\n  timezone: Europe/Berlim\n  recrawl_cron: daily\n")
    with pytest.raises(ConfigError) as e:
        load_profile(str(path))
    assert "automation.timezone" in str(e.value) and "did you mean 'Europe/Berlin'" in str(e.value)
    assert "automation.recrawl_cron" in str(e.value)


@pytest.mark.parametrize("index", ["", "large_type: IndexIVFRaBitQ", "type: IndexHNSWFlat, large_type: IndexIVFFlat"])
def test_a_type_that_faiss_has_not_for_gpus_is_refused_before_anything_is_built(tmp_path: Path, index: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"index: {{use_gpu_faiss: true, {index}}}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: index: .*for GPUs: set (large_)?type to .*IndexIVFFlat"):
        load_profile(str(path))


@pytest.mark.parametrize("index", ["large_type: IndexIVFScalarQuantizer", "type: IndexFlatIP", "type: IndexIVFPQ"])
def test_a_type_that_faiss_has_for_gpus_is_taken(tmp_path: Path, index: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"index: {{use_gpu_faiss: true, {index}}}\n")
    assert load_profile(str(path)).index.use_gpu_faiss


@pytest.mark.parametrize("content", ["[1, 2]", "a: b: c", "\x00"])
def test_what_is_no_mapping_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load_profile(str(path))


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'workstation'"):
        load_profile("workstaton")


@pytest.mark.parametrize(
    ("gpus", "with_faiss", "gib", "expected"),
    [
        (0, 0, 4, "raspberry_pi"),
        (0, 0, 16, "workstation"),
        (1, 0, 32, "gpu_workstation"),
        (1, 1, 32, "gpu_workstation"),
        (4, 0, 512, "gpu_workstation"),
        (4, 4, 512, "enterprise_gpu"),
    ],
)
def test_the_hardware_decides_where_no_profile_is_named(gpus: int, with_faiss: int, gib: int, expected: str) -> None:
    choice = choose._detect([Gpu(i, "card", 80_000, 0, 0) for i in range(gpus)], with_faiss, gib, 4)
    assert choice.profile.name == expected
    assert choice.reason.startswith("detected")


def test_several_gpus_end_in_a_profile_that_the_installed_faiss_can_search(monkeypatch: pytest.MonkeyPatch) -> None:
    import faiss

    monkeypatch.setattr(choose, "list_gpus", lambda: [Gpu(i, "card", 80_000, 0, 0) for i in range(2)])
    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)  # as PyPI's
    choice = choose_profile(None)
    assert not choice.profile.index.use_gpu_faiss
    assert "this FAISS cannot use them" in choice.reason
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    assert choose_profile(None).profile.name == "enterprise_gpu"


def test_a_profile_that_is_named_is_not_detected() -> None:
    choice = choose_profile("raspberry_pi")
    assert choice.profile.name == "raspberry_pi"
    assert "names" in choice.reason


SECTIONS = {
    name: f.annotation for name, f in HardwareProfile.model_fields.items() if name not in ("name", "description")
}


@pytest.mark.parametrize("section", SECTIONS)
def test_a_setting_that_rows_depend_on_fits_no_machine(section: str) -> None:
    settings: Any = SECTIONS[section]
    assert not settings.ROWS_DEPEND_ON & settings.FIT_THE_MACHINE
    assert settings.model_fields.keys() >= settings.ROWS_DEPEND_ON | settings.FIT_THE_MACHINE


def test_a_data_root_remembers_all_but_what_fits_the_machine(tmp_path: Path) -> None:
    made = HardwareProfile.model_validate(
        {
            "name": "mine",
            "hardware": {"workers": 7, "memory_budget_mb": 123},
            "crawl": {"contact": "me@example.org", "concurrency": 3, "obey_noindex": True},
            "embedding": {"backend": "static", "batch_tokens": 99},
        }
    )
    store = Store(str(tmp_path))
    replace(store.root(), settings=to_remember(made)).write(store.files)
    found, here = choose_for(store, None).profile, choose_profile(None).profile
    assert (found.name, found.crawl.contact, found.crawl.obey_noindex) == ("mine", "me@example.org", True)
    assert found.embedding.backend == "static"
    assert found.hardware == here.hardware
    assert (found.crawl.concurrency, found.embedding.batch_tokens) == (
        here.crawl.concurrency,
        here.embedding.batch_tokens,
    )
    assert made_with(found) == made_with(made) != made_with(here)
    assert choose_for(store, "raspberry_pi").profile.name == "raspberry_pi"  # a name counts more


def test_an_index_type_that_has_no_form_for_gpus_is_kept_on_a_machine_whose_faiss_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path))
    replace(store.root(), settings=to_remember(load_profile("gpu_workstation"))).write(store.files)
    gpus = [Gpu(i, "H200", 141_000, 0, 0) for i in range(2)]
    monkeypatch.setattr(choose, "list_gpus", lambda: gpus)
    monkeypatch.setattr(choose, "faiss_gpus", lambda: 2)
    found = choose_for(store, None)
    assert found.profile.name == "gpu_workstation" and "enterprise_gpu" in found.reason
    assert found.profile.index.large_type == "IndexHNSWFlat" and not found.profile.index.use_gpu_faiss
