"""YAML files of settings, as users write them: a key that stands twice is an error, where YAML keeps the last."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlevel = 2
"""How a value is told: one that a few lines of YAML name a million times is not told whole."""

_UNKNOWN = 8
"""So many unknown keys are told."""

_BESIDE = 0.2
"""How much more a key of the same mapping counts, where 1 is an equal name."""


class _Loader(yaml.SafeLoader):
    """Reads plain values alone, and refuses a key that a mapping has twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if key_node.tag != "tag:yaml.org,2002:merge" and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice; write what it says in one place", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_settings(text: str) -> Any:
    """The values in a text of YAML.

    Raises:
        yaml.YAMLError: it is none, or a key stands twice in one mapping; the message names the line. Or it is nested
            deeper than Python can follow.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None


def explained(
    error: ValidationError, model: type[BaseModel], known_as: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """A sentence for each thing that is wrong in the values of a model: the key, and for an unknown one the nearest.

    `known_as` has other names of keys, and the whole key to write. A few unknown keys are told, for a file that is no
    file of settings has nothing else.
    """
    unknown = 0
    for e in error.errors():
        where = ".".join(map(str, e["loc"]))
        near = _nearest(model, e["loc"], known_as) if e["type"] == "extra_forbidden" else None
        if near:
            unknown += 1
            if unknown <= _UNKNOWN:
                yield f"unknown key {_SHORT.repr(where)}; the nearest valid key is {near!r}"
        elif e["type"] in ("model_type", "dict_type"):
            yield f"{where}: a mapping of settings, not {_SHORT.repr(e['input'])}"
        else:
            said = e["msg"].removeprefix("Value error, ")
            yield f"{where}: {said} (got {_SHORT.repr(e['input'])})" if where else said
    if unknown > _UNKNOWN:
        yield f"and {unknown - _UNKNOWN} more unknown keys"


def _nearest(model: type[BaseModel], place: Sequence[int | str], known_as: Mapping[str, str]) -> str | None:
    """The key of a model that an unknown one is most like, in the same mapping or in any section; None without keys.

    One of the same mapping counts more, so that a misspelt key is not looked for elsewhere.
    """
    *parents, unknown = map(str, place)
    if other := known_as.get(unknown.replace("-", "_")):
        return other
    beside = {".".join([*parents, key]): key for key in _keys_at(model, place[:-1])}
    elsewhere = {f"{section}.{key}": key for section in model.model_fields for key in _keys_at(model, (section,))}
    likeness = {
        path: difflib.SequenceMatcher(None, unknown, key).ratio() + (_BESIDE if path in beside else 0)
        for path, key in (elsewhere | beside).items()
    }
    return max(likeness, key=lambda path: likeness[path]) if beside else None


def _keys_at(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """The keys that a mapping at this place of a model's values may have; empty where it is of no model."""
    inside: Any = model
    for part in place:
        if isinstance(inside, type) and issubclass(inside, BaseModel):
            inside = inside.model_fields[str(part)].annotation
        else:  # of a list or a mapping, where the last of its types is that of what it holds
            inside = next((each for each in reversed(get_args(inside)) if each is not Ellipsis), None)
    return list(inside.model_fields) if isinstance(inside, type) and issubclass(inside, BaseModel) else []
