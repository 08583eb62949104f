"""Keys that a service asks for: a file of names and digests, read again when it changes.

A line is a name, a blank, and the SHA-256 of a key in hex; `#` begins a comment. A key has 256 random bits, so a plain
digest says nothing of it. To revoke one, its line is taken out: no restart is needed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from pathlib import Path

from quarry_dagster.errors import ConfigError

_LINE = re.compile(r"([\w.@-]{1,100})[ \t]+([0-9a-f]{64})")
_NAME = re.compile(r"[\w.@-]{1,100}")
_FRESH = 1.0
"""Seconds after which the file is looked at again."""


class Keys:
    """The keys of a file.

    Raises:
        ConfigError: it cannot be read, a line is none, or it has no key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read()

    def holder(self, authorization: str | None) -> str | None:
        """Whose key a header `Authorization` has; None where it has none of these.

        A file that became unreadable has no key: nobody is let in by what it said before.
        """
        if time.monotonic() - self._looked > _FRESH:
            self._look_again()
        scheme, _, key = (authorization or "").partition(" ")
        asked = _digest(key.strip())
        found = None
        for name, digest in self._digests:  # all of them, so that time does not tell which is near
            if hmac.compare_digest(asked, digest):
                found = name
        return found if scheme.lower() == "bearer" else None

    def _look_again(self) -> None:
        self._looked = time.monotonic()
        try:
            if self._stamp(self._path.stat()) != self._seen:
                self._read()
        except (OSError, ConfigError):
            self._digests, self._seen = [], None

    def _read(self) -> None:
        try:
            stat = self._path.stat()
            lines = self._path.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as e:
            raise ConfigError(f"the keys in {self._path} cannot be read: {e}") from e
        found: list[tuple[str, str]] = []
        for number, line in enumerate(lines, 1):
            said = line.partition("#")[0].strip()
            if not said:
                continue
            if (match := _LINE.fullmatch(said)) is None:
                raise ConfigError(f"{self._path}, line {number}: write a name, a blank, and 64 hex digits")
            found.append((match[1], match[2]))
        if not found:
            raise ConfigError(f"{self._path} has no key: quarry serve --keys {self._path} --new-key NAME makes one")
        self._digests: list[tuple[str, str]] = found
        self._seen: tuple[int, int, int] | None = self._stamp(stat)
        self._looked = time.monotonic()

    @staticmethod
    def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


def new_key(path: Path, name: str) -> str:
    """Add a key under a name to a file, which is made where there is none; returns the key, which is kept nowhere.

    Raises:
        ConfigError: the name is none, or the file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name[:100]!r} is no name of a key: write letters, digits, _ . @ or -")
    key = secrets.token_urlsafe(32)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a") as file:
            file.write(f"{name} {_digest(key)}\n")
    except OSError as e:
        raise ConfigError(f"{path} cannot be written: {e.strerror}") from e
    return key


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()
