"""The deployment guide's names of settings, read as the product's own.

Why so: "The guide's names are read, and said once" in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from quarry_dagster.errors import ConfigError
from quarry_dagster.profiles.settings import Embedding

_MOVED = {
    "hardware.faiss_gpu": "index.use_gpu_faiss",
    "deduplication.use_gpu_faiss": "index.use_gpu_faiss",
    "deduplication.index_type": "index.type",
    "deduplication.nprobe": "index.nprobe",
}
"""The guide's key, and the product's that has the same values."""

_SAME_ORDER = {"IndexFlatL2": "IndexFlatIP"}
"""Of unit vectors the nearest by distance are the nearest by inner product: |a - b|^2 = 2 - 2ab."""


@dataclass
class Translation:
    """Settings in the product's names, and what was translated."""

    values: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    """A sentence for each key or value of the guide's."""

    def put(self, key: str, value: Any, said: str) -> None:
        """Set one of the product's keys, as one of the guide's says.

        Raises:
            ConfigError: it is set already, and to something else.
        """
        section, name = key.split(".")
        there = self.values.setdefault(section, {})
        if there.setdefault(name, value) != value:
            raise ConfigError(f"{said} says {key}: {_yaml(value)}, and {_yaml(there[name])} is set too; write it once")
        self.notes.append(f"{said} is read as {key}: {_yaml(value)}")

    def has(self, key: str) -> bool:
        """Whether one of the guide's keys is there."""
        section, name = key.split(".")
        return name in self.values.get(section, {})

    def take(self, key: str) -> Any:
        """The value of one of the guide's keys, which is taken out."""
        section, name = key.split(".")
        return self.values[section].pop(name)


def translated(values: Mapping[str, Any]) -> Translation:
    """The settings of a YAML with the guide's keys moved to where the product has them.

    Sections that are no mappings stay as they are: what reads the settings says what is wrong with them.

    Raises:
        ConfigError: two keys say different things about one setting.
    """
    made = Translation({name: dict(section) for name, section in values.items() if isinstance(section, dict)})
    for key, other in _MOVED.items():
        if made.has(key):
            value = made.take(key)
            made.put(other, _as_we_name_it(value), f"{key}: {_yaml(value)}")
    index = made.values.get("index", {})
    flat = index.get("type")
    if flat != _as_we_name_it(flat):
        index["type"] = _as_we_name_it(flat)
        made.notes.append(f"index.type: {flat} is read as {index['type']}: of unit vectors both find the same")
    for key, translate in _COMPUTED.items():
        if made.has(key):
            translate(made, key, made.take(key))
    made.values |= {name: value for name, value in values.items() if not isinstance(value, dict)}
    return made


def _as_we_name_it(value: Any) -> Any:
    return _SAME_ORDER.get(value, value) if isinstance(value, str) else value


def _gpu_enabled(made: Translation, key: str, value: Any) -> None:
    """`true` lets torch have a GPU, which is the default; `false` keeps all work on the CPU."""
    if not isinstance(value, bool):
        raise ConfigError(f"{key}: true or false, not {_yaml(value)}")
    if value:
        device = made.values.get("embedding", {}).get("device", "auto")
        if device == "cpu":
            raise ConfigError(f"{key}: true, and embedding.device: cpu is set too; write one of them")
        made.put("embedding.device", device, f"{key}: true")
        return
    made.put("embedding.device", "cpu", f"{key}: false")
    made.put("index.use_gpu_faiss", False, f"{key}: false")


def _batch_size(made: Translation, key: str, value: Any) -> None:
    """Texts in a batch: as many tokens as so many texts of the greatest length have."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{key}: a whole number of texts above 0, not {_yaml(value)}")
    length = made.values["embedding"].get("max_tokens", Embedding().max_tokens)
    if isinstance(length, int):
        made.put("embedding.batch_tokens", value * length, f"{key}: {value} (texts of {length} tokens)")


_COMPUTED: dict[str, Callable[[Translation, str, Any], None]] = {
    "hardware.gpu_enabled": _gpu_enabled,
    "embedding.batch_size": _batch_size,
}


WHERE = {key.split(".")[1]: _MOVED.get(key, key) for key in (*_MOVED, *_COMPUTED)}
"""The last part of each of the guide's keys, and the whole key that says the same: for one in a wrong section."""


def _yaml(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
