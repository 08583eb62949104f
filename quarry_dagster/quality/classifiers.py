"""Models whose score of a text is a signal: fastText's, and functions of a user's own.

A fastText model is a file of numbers and words; nothing in it is run. A function is imported by the string that the
user's profile names.
"""

from __future__ import annotations

import difflib
import hashlib
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from quarry_dagster.digests import digest
from quarry_dagster.errors import ConfigError
from quarry_dagster.quality.fasttext_file import labels_of

_PREFIX = "__label__"
_LARGEST = 3.4028234663852886e38
"""The largest number that a signal, which is a float32, can be."""


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
    labels = _labels_of(where, path, file.stat().st_size, file.stat().st_mtime_ns)
    wanted = label if label.startswith(_PREFIX) else f"{_PREFIX}{label}"
    if wanted not in labels:
        near = difflib.get_close_matches(wanted, labels, n=1, cutoff=0.0)
        raise ConfigError(f"{where}.label: the model has no {wanted!r}; the nearest of its labels is {near[0]!r}")
    model = fasttext.load_model(path)

    def score(texts: Sequence[str]) -> list[float | None]:
        return [_clean(dict(_predict(model, text)).get(wanted), name) for text in texts]

    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    return Scorer(f"fasttext {sha256[:16]} {wanted}", score)


_TRY = """
import resource, sys, fasttext
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
fasttext.load_model(sys.argv[1]).predict("a", k=-1)
"""
_ROOM = 1 << 30
"""Bytes that a process needs besides a model; a model takes about as many as its file has."""
_SECONDS, _BYTES_A_SECOND = 30, 20_000_000
"""What reading a model may take: so long, and a second for so many bytes."""


@lru_cache(maxsize=8)
def _labels_of(where: str, path: str, size: int, changed: int) -> list[str]:
    """The labels of a model that can be used; size and time of change are the cache's.

    Raises:
        ConfigError: the file is no such model.
    """
    try:
        labels = labels_of(path)
    except (ValueError, OSError) as e:
        raise ConfigError(f"{where}: {path} {e}") from e
    # What looks whole may yet end the process that loads it, or fill its memory: that is another one.
    command = [sys.executable, "-c", _TRY, path, str(2 * size + _ROOM)]
    problem = f"{where}: {path} is damaged, or a fastText model of another version"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS + size / _BYTES_A_SECOND)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{problem}: its loader does not end") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [""])[-1].rpartition("Error: ")[2][:200]
        raise ConfigError(f"{problem}: {said or 'its loader died'}")
    return labels


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
    with redirect_stdout(sys.stderr):  # what it prints is no part of what a program reads from us
        try:
            function = resolve_name(where)
        except (Exception, SystemExit) as e:
            said = f"no function {where!r} can be imported: {type(e).__name__}: {e}"
            raise ConfigError(f"{place}: {said}") from e
    if not callable(function):
        raise ConfigError(f"{place}: {where!r} is no function")

    def score(texts: Sequence[str]) -> list[float | None]:
        try:
            with redirect_stdout(sys.stderr):
                given: Any = function(list(texts))
        except MemoryError:
            raise
        except (Exception, SystemExit) as e:  # noqa: BLE001  a user's function may raise anything
            # Not the error's own words: they may quote a text, and what is said here goes into Dagster's log.
            raise ConfigError(f"{place}: {where} failed: {type(e).__name__}{_raised_at(e)}") from None
        if not isinstance(given, Iterable):
            raise ConfigError(f"{place}: {where} returned {type(given).__name__}, and not a score for each text")
        found = list(given)
        if len(found) != len(texts):
            raise ConfigError(f"{place}: {where} was given {len(texts):,} texts, and returned {len(found):,} scores")
        return [_clean(value, name) for value in found]

    version = getattr(resolve_name(where.partition(":")[0]), "VERSION", "")
    return Scorer(f"python {where} {version}", score)


def _raised_at(error: BaseException) -> str:
    """Where an error was raised, such as ", scores.py line 12"."""
    places = traceback.extract_tb(error.__traceback__)
    return f", {Path(places[-1].filename).name} line {places[-1].lineno}" if places else ""


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
    return number if abs(number) <= _LARGEST else None  # not for NaN


def version_of(scorers: Mapping[str, Scorer]) -> str:
    """Everything that their scores depend on; empty where there are none."""
    listed = "\n".join(f"{name} {scorer.version}" for name, scorer in sorted(scorers.items()))
    return digest(listed.encode())[:12] if listed else ""
