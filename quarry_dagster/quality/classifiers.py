"""Models whose score of a text is a signal: fastText's, and functions of a user's own.

A fastText model is a file of numbers and words; nothing in it is run. A function is imported by the string that the
user's profile names.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, cast

from quarry_dagster.digests import digest
from quarry_dagster.errors import ConfigError

_PREFIX = "__label__"


@dataclass(frozen=True)
class Scorer:
    """One classifier, ready to be asked."""

    version: str
    """Changes whenever the same text would be given another score, as far as that can be told."""
    score: Callable[[Sequence[str]], Sequence[float | None]]
    """The score of each text; None where it has none."""


def fasttext_scorer(name: str, path: str, label: str) -> Scorer:
    """The probability that a fastText model gives a label: the model reads a text as one line, as it was trained to.

    Args:
        name: the signal, for messages.
        path: of the model's file.
        label: with or without `__label__`.

    Raises:
        ConfigError: fasttext-predict is not installed, there is no such file, it is no model, or it has no such label.
    """
    where = f"quality.classifiers.{name}"
    try:
        import fasttext  # pyright: ignore[reportMissingImports]
    except ImportError as e:
        raise ConfigError(f"{where}: a fastText model needs the extra: pip install 'quarry-dagster[quality]'") from e
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"{where}: there is no fastText model {path}")
    if problem := _problem(path, file.stat().st_size, file.stat().st_mtime_ns):
        raise ConfigError(f"{where}: {path} {problem}")
    model = fasttext.load_model(path)
    labels = [found for found, _ in _predict(model, "a")]  # none where the model knows neither "a" nor ends of lines
    wanted = label if label.startswith(_PREFIX) else f"{_PREFIX}{label}"
    if labels and wanted not in labels:
        near = difflib.get_close_matches(wanted, labels, n=1, cutoff=0.0)
        raise ConfigError(f"{where}.label: the model has no {wanted!r}; the nearest of its labels is {near[0]!r}")

    def score(texts: Sequence[str]) -> list[float | None]:
        return [_clean(dict(_predict(model, text)).get(wanted), name) for text in texts]

    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    return Scorer(f"fasttext {sha256[:16]} {wanted}", score)


_MAGIC = (793712314).to_bytes(4, "little")
"""The first bytes of a model file, as fastText writes it (FASTTEXT_FILEFORMAT_MAGIC_INT32)."""
_TRY = "import sys, fasttext; fasttext.load_model(sys.argv[1]).predict('a', k=-1)"


@lru_cache(maxsize=8)
def _problem(path: str, size: int, changed: int) -> str | None:
    """Why a file is no model that can be used; None where it can be. Size and time of change are the cache's."""
    with Path(path).open("rb") as file:
        if file.read(4) != _MAGIC:
            return "is no fastText model (.bin or .ftz)"
    # A file that is cut off or damaged ends the process that loads it, so that is another one.
    done = subprocess.run([sys.executable, "-c", _TRY, path], capture_output=True, text=True)
    if done.returncode == 0:
        return None
    said = (done.stderr.strip().splitlines() or [""])[-1].rpartition("Error: ")[2][:200]
    return f"cannot be read as a fastText model: it is damaged, or of another version ({said or 'its loader died'})"


def _predict(model: Any, text: str) -> list[tuple[str, float]]:
    """All labels of a model with the probabilities that it gives them; none of a text of which it knows no word."""
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    labels, probabilities = model.predict(line, k=-1, threshold=-1.0)
    return [(str(each), float(p)) for each, p in zip(labels, probabilities, strict=True)]


def python_scorer(name: str, where: str) -> Scorer:
    """A function of a user's own; it says by `VERSION`, an attribute of its module, when it has changed.

    Raises:
        ConfigError: there is no such module or function; as it is asked: it fails, or returns something else than a
            number or None for each text.
    """
    place = f"quality.classifiers.{name}"
    try:
        function = resolve_name(where)
    except (ImportError, AttributeError, ValueError) as e:
        raise ConfigError(f"{place}: no function {where!r} can be imported: {e}") from e
    if not callable(function):
        raise ConfigError(f"{place}: {where!r} is no function")

    def score(texts: Sequence[str]) -> list[float | None]:
        try:
            found = [*cast(Iterable[Any], function(list(texts)))]
        except MemoryError:
            raise
        except Exception as e:
            raise ConfigError(f"{place}: {where} failed: {type(e).__name__}: {str(e)[:200]}") from e
        if len(found) != len(texts):
            raise ConfigError(f"{place}: {where} was given {len(texts):,} texts, and returned {len(found):,} scores")
        return [_clean(value, name) for value in found]

    version = getattr(resolve_name(where.partition(":")[0]), "VERSION", "")
    return Scorer(f"python {where} {version}", score)


def _clean(value: Any, name: str) -> float | None:
    """A score as it is kept.

    Raises:
        ConfigError: it is no number.
    """
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError) as e:
        what = type(value).__name__
        raise ConfigError(f"quality.classifiers.{name}: a score is a number or None, and one is {what}") from e
    return number if math.isfinite(number) else None


def version_of(scorers: Mapping[str, Scorer]) -> str:
    """Everything that their scores depend on; empty where there are none."""
    listed = "\n".join(f"{name} {scorer.version}" for name, scorer in sorted(scorers.items()))
    return digest(listed.encode())[:12] if listed else ""
