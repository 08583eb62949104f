"""What a profile asks of this machine that it has not: said before a crawl, not after it, and without loading a model.

The rules are those of the modules that load the model; here they are asked in one order.
"""

from __future__ import annotations

import re
from typing import Any

from quarry_dagster.embed.backend import Choice, choose, lacking_of
from quarry_dagster.embed.encoder import vector_id
from quarry_dagster.embed.made import check_writable, is_made
from quarry_dagster.embed.model import check_model, is_on_this_machine
from quarry_dagster.embed.torch_model import check_device
from quarry_dagster.errors import ModelError
from quarry_dagster.gpu import check_faiss
from quarry_dagster.profiles.settings import Embedding, HardwareProfile

_ID = re.compile(r"(?P<model>.*)@(?P<weights>\S+) (?P<way>\S.*) (?P<tokens>\d+)t(?: x(?P<windows>\d+))?")
_RUNTIMES = ("static", "openvino", "onnx")


def check_ready(profile: HardwareProfile) -> None:
    """Return if this machine can make the profile's vectors and search them as it says, as far as is seen at once.

    A damaged model, a hub that does not answer or a driver that does not fit torch show when the model is loaded.

    Raises:
        ConfigError: a backend, a GPU or a FAISS that the profile names is not here.
        ModelError: the model is not here and cannot come, or what is made from it cannot be kept.
    """
    settings = profile.embedding
    choice = choose(settings)
    if choice.backend == "torch":
        check_device(settings)
        check_model(settings.model, settings.revision)
    else:
        try:
            check_model(settings.model, settings.revision)
            check_writable()
        except ModelError:
            if not is_made(_recipe(settings, choice)):  # what is made already needs neither
                raise
    if profile.index.use_gpu_faiss:
        check_faiss()


def is_at_hand(settings: Embedding) -> bool:
    """Whether the model can be loaded at once: without the network, and with nothing to be made of it first."""
    choice = choose(settings)
    if choice.backend == "torch":
        return is_on_this_machine(settings.model, settings.revision)
    return is_made(_recipe(settings, choice))


def why_other_vectors(settings: Embedding, wanted: str) -> str:
    """Why the vectors of these settings on this machine are not those of the id `wanted`, and what to do; a sentence.

    Empty where they are.
    """
    here_id = vector_id(settings)
    if here_id == wanted:
        return ""
    here, there = _ID.fullmatch(here_id), _ID.fullmatch(wanted)
    if not here or not there:
        return f"the vectors there are {wanted!r}, here {here_id!r}"
    reasons = []
    if here["model"] != there["model"]:
        reasons.append(f"they were made by the model {there['model']}, not {here['model']}: see embedding.model")
    elif here["weights"] != there["weights"]:
        reasons.append(
            f"they were made by {there['model']} at {there['weights']}, not at {here['weights']}: "
            "see embedding.revision, or the files in the model's folder"
        )
    if here["way"] != there["way"]:
        reasons.append(_why_another_way(choose(settings), here["way"], there["way"]))
    if here["tokens"] != there["tokens"]:
        reasons.append(f"embedding.max_tokens was {there['tokens']}, not {here['tokens']}")
    if here["windows"] != there["windows"]:
        reasons.append(f"embedding.windows was {there['windows'] or 1}, not {here['windows'] or 1}")
    return "; ".join(reasons)


def _why_another_way(choice: Choice, here: str, there: str) -> str:
    runtime, precision = _runtime(there), _precision(there)
    text = f"they were made by {runtime} in {precision}"
    if (runtime, precision) == (_runtime(here), _precision(here)):
        return f"{text} by another version of QuarryCore"
    text += f", not by {_runtime(here)} in {_precision(here)}"
    if lacking := (choice.lacking if runtime == "openvino" else "") or lacking_of(runtime):
        return f"{text}: {lacking}"
    return f"{text}: see embedding.backend and embedding.precision"


def _runtime(way: str) -> str:
    """What ran the model, of a way as it stands in an id: `static-1-...`, `openvino int8-...`, `float16`."""
    return next((name for name in _RUNTIMES if way.startswith(name)), "torch")


def _precision(way: str) -> str:
    return "float32" if way.startswith("static") else way.split()[-1].split("-")[0]


def _recipe(settings: Embedding, choice: Choice) -> dict[str, Any]:
    if choice.backend == "static":
        from quarry_dagster.embed import static_model

        return static_model.recipe(settings)
    if choice.backend == "openvino":
        from quarry_dagster.embed import openvino_model

        return openvino_model.recipe(settings, choice.precision)
    from quarry_dagster.embed import onnx_model

    return onnx_model.recipe(settings, choice.precision)
