"""Whether the files of a model are there and whole, as far as that can be seen without loading it.

A folder that was cloned without git-lfs, or whose copy was cut off, looks like a model until a library opens it; that
would be after the crawl.
"""

from __future__ import annotations

import json
from pathlib import Path

from quarry_dagster.errors import ModelError

_POINTER = b"version https://git-lfs.github.com/spec/"
_WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".npy", ".npz", ".h5", ".msgpack"})
_MAX_HEADER = 100 << 20
"""Bytes of a safetensors header: the format's limit."""


def check_files(folder: Path) -> None:
    """Look at the files of a model in a folder.

    Raises:
        ModelError: one is a pointer of git-lfs, a link to nowhere, empty or cut off, or there are no weights.
    """
    paths = sorted(
        p for p in folder.rglob("*") if not any(part.startswith(".") for part in p.relative_to(folder).parts)
    )
    for path in paths:
        if path.is_symlink() and not path.exists():
            raise _broken(
                folder, path, "is a link that leads to no file", "copy the folder with what its links lead to (cp -rL)"
            )
        if path.is_file() and (why := _why_not_whole(path)):
            raise _broken(folder, path, *why)
    if not any(path.suffix in _WEIGHTS for path in paths):
        raise ModelError(
            f"embedding.model names the folder {str(folder)!r}, which holds no weights, such as model.safetensors: "
            "copy the whole folder again"
        )


def _broken(folder: Path, path: Path, what: str, remedy: str) -> ModelError:
    name = path.relative_to(folder).as_posix()
    return ModelError(f"embedding.model names the folder {str(folder)!r}, whose file {name} {what}: {remedy}")


def _why_not_whole(path: Path) -> tuple[str, str] | None:
    """What is wrong with a file, and the remedy."""
    again = "copy or download it again"
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(len(_POINTER))
            if head.startswith(_POINTER):
                return "is a pointer of git-lfs and not the file itself", "run `git lfs pull` in the folder"
            if size == 0 and (path.suffix in _WEIGHTS or path.suffix == ".json"):
                return "is empty", again
            if path.suffix == ".json" and size < _MAX_HEADER:
                file.seek(0)
                json.loads(file.read())
            elif path.suffix == ".safetensors":
                file.seek(0)
                length = int.from_bytes(file.read(8), "little")
                if length > min(size, _MAX_HEADER):
                    return "is no safetensors file, or was cut off", again
                tensors = json.loads(file.read(length))
                tensors.pop("__metadata__", None)
                wanted = 8 + length + max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
                if size != wanted:
                    return f"has {size:,} bytes where its header wants {wanted:,}", again
    except OSError as e:
        return f"cannot be read ({e.strerror or e})", "look at its owner and permissions"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as e:
        return f"is damaged ({type(e).__name__})", again
    return None
