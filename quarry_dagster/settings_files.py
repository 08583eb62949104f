"""YAML files of settings, as users write them: a key that stands twice is an error, where YAML keeps the last."""

from __future__ import annotations

from typing import Any

import yaml


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
        yaml.YAMLError: it is none, or a key stands twice in one mapping; the message names the line.
    """
    return yaml.load(text, _Loader)
