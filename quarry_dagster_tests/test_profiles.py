"""Profiles are typed, validated with helpful errors, and chosen by the hardware when none is named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quarry_dagster.embed.model import revision_of
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


@pytest.mark.parametrize(
    ("written", "nearest"),
    [
        ("hardware: {batch_tokens: 8}", "embedding.batch_tokens"),
        ("embedding: {nprobe: 8}", "index.nprobe"),
        ("crawl: {treshold: 1, min_word: 3}", "extraction.min_words"),
        ("max_body_mb: 8", "crawl.max_body_mb"),
        ("dedup: {mode: strict}", "deduplication"),
        ("index: {typ: auto}", "index.type"),
        ("quality: {classifiers: {a: {fastext: x}}}", "quality.classifiers.a.fasttext"),
        ("index: {index_type: IndexHNSWFlat}", "index.type"),
        ("embedding: {index_type: IndexHNSWFlat}", "index.type"),
        ("hardware: {gpu-enabled: true}", "hardware.gpu_enabled"),
        ("index: {batch_size: 32}", "embedding.batch_size"),
    ],
)
def test_a_key_of_another_section_is_found_there(tmp_path: Path, written: str, nearest: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(written)
    with pytest.raises(ConfigError, match=f"the nearest valid key is '{nearest}'"):
        load_profile(str(path))


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


@pytest.mark.parametrize("content", ["[1, 2]", "a: b: c", "\x00", "a: " + "[" * 3000, "index:", "index: 3"])
def test_what_is_no_mapping_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load_profile(str(path))


def test_a_file_that_is_no_profile_is_not_told_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_text("".join(f"secret{i}: x\n" for i in range(500)))
    with pytest.raises(ConfigError, match="and 492 more unknown keys") as told:
        load_profile(str(path))
    assert len(str(told.value).splitlines()) == 9


def test_a_path_that_is_no_file_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="as a path it is a folder"):
        load_profile(str(tmp_path))
    with pytest.raises(ConfigError, match="as a path it is not there"):
        load_profile(str(tmp_path / "none.yaml"))


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'workstation'"):
        load_profile("WORKSTATION")
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
    name: f.annotation
    for name, f in HardwareProfile.model_fields.items()
    if name not in ("name", "description", "exports")
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


GUIDE = """# config.yaml
hardware:
  gpu_enabled: true
  faiss_gpu: false  # Use CPU FAISS with GPU embeddings

embedding:
  model: "sentence-transformers/all-MiniLM-L6-v2"
  device: "cuda"
  batch_size: 32

deduplication:
  similarity_threshold: 0.85
  use_gpu_faiss: false  # CPU FAISS is fast enough
  index_type: "IndexHNSWFlat"  # Optimized for CPU
"""
ENTERPRISE = """# enterprise-config.yaml
hardware:
  gpu_enabled: true
  faiss_gpu: true  # Requires source build
  gpu_memory_fraction: 0.8

embedding:
  model: "sentence-transformers/all-mpnet-base-v2"
  device: "cuda"
  batch_size: 64

deduplication:
  similarity_threshold: 0.85
  use_gpu_faiss: true
  index_type: "IndexIVFFlat"  # Optimized for GPU
  nprobe: 128
"""


def chosen(folder: Path, written: str) -> choose.Choice:
    path = folder / "config.yaml"
    path.write_text(written)
    return choose_profile(str(path))


def test_the_guides_first_example_means_what_it_says(tmp_path: Path) -> None:
    choice = chosen(tmp_path, GUIDE)
    profile = choice.profile
    assert (profile.embedding.device, profile.embedding.batch_tokens) == ("cuda", 32 * 256)
    assert (profile.index.type, profile.index.use_gpu_faiss) == ("IndexHNSWFlat", False)
    told = "\n".join(choice.remarks)
    for key in ("gpu_enabled", "faiss_gpu", "batch_size", "use_gpu_faiss: false is", "index_type", "similarity_thresh"):
        assert len([line for line in choice.remarks if f".{key}" in line.split(" is ")[0] + " is "]) == 1, (key, told)
    assert "similarity_threshold: 0.85 is without effect" in told and "mode aggressive" in told


def test_the_guides_second_example_means_what_it_says(tmp_path: Path) -> None:
    profile = chosen(tmp_path, ENTERPRISE).profile
    assert profile.embedding.model == "sentence-transformers/all-mpnet-base-v2"
    assert revision_of(profile.embedding.model, profile.embedding.revision), "its commit is pinned"
    assert (profile.embedding.device, profile.embedding.batch_tokens) == ("cuda", 64 * 256)
    assert (profile.index.type, profile.index.nprobe, profile.index.use_gpu_faiss) == ("IndexIVFFlat", 128, True)
    assert profile.hardware.gpu_memory_fraction == 0.8


def test_what_the_guide_names_is_read_as_its_own_key_is(tmp_path: Path) -> None:
    assert chosen(tmp_path, "hardware: {gpu_enabled: false}").profile.embedding.device == "cpu"
    assert chosen(tmp_path, "hardware: {gpu_enabled: true}").profile.embedding.device == "auto"
    cut = chosen(tmp_path, "embedding: {batch_size: 8, max_tokens: 128}").profile
    assert cut.embedding.batch_tokens == 1024
    for section, key in (("deduplication", "index_type"), ("index", "type")):
        flat = chosen(tmp_path, f"{section}: {{{key}: IndexFlatL2}}")
        assert flat.profile.index.type == "IndexFlatIP" and "IndexFlatL2" in flat.notes[0]
    by_cosine = chosen(tmp_path, "hardware: {faiss_gpu: false}\ndeduplication: {mode: aggressive}")
    assert len(by_cosine.remarks) == 1
    assert not chosen(tmp_path, "deduplication: {similarity_threshold: 0.85}").remarks


@pytest.mark.parametrize(
    "written",
    [
        "hardware: {faiss_gpu: true}\ndeduplication: {use_gpu_faiss: false}",
        "hardware: {gpu_enabled: false}\nembedding: {device: cuda}",
        "hardware: {gpu_enabled: false, faiss_gpu: true}",
        "embedding: {batch_size: 8, batch_tokens: 8}",
        "deduplication: {index_type: IndexIVFPQ}\nindex: {type: auto}",
    ],
)
def test_two_names_of_one_setting_that_differ_are_refused(tmp_path: Path, written: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: .* is set too; write it once"):
        chosen(tmp_path, written)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("hardware: {gpu_enabled: many}", "hardware.gpu_enabled: true or false"),
        ("embedding: {batch_size: 0}", "embedding.batch_size: a whole number"),
        ("embedding: {batch_size: }", "embedding.batch_size: a whole number of texts above 0, not null"),
        ("embedding: {batch_size: 100000000000}", "embedding.batch_tokens: "),
        ("hardware: {gpu_enabled: }", "hardware.gpu_enabled: true or false, not null"),
        ("hardware: {gpu_enabled: true}\nembedding: {device: cpu}", "hardware.gpu_enabled: true, and embedding.device"),
        ("embedding: {batch_size: true}", "embedding.batch_size: a whole number"),
        ("embedding: {batch_size: 8, max_tokens: many}", "embedding.max_tokens: "),
        ("deduplication: {index_type: [1]}", "index.type: "),
        (
            "deduplication: {index_type: IndexLSH}",
            r"index.type: .*(\n.*)*index_type: IndexLSH is read as",
        ),
        ("hardware: [gpu_enabled]", "hardware: "),
        ("index: 3\nhardware: {faiss_gpu: true}", "index: "),
    ],
)
def test_a_wrong_value_of_the_guides_keys_is_told_by_its_place(tmp_path: Path, written: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: " + said):
        chosen(tmp_path, written)
