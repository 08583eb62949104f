"""How much was embedded in this process, and in what time: what rates are told from."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """Texts and tokens that went through a model, and the seconds that took; to load and convert one counts nothing."""

    texts: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.texts + other.texts, self.tokens + other.tokens, self.seconds + other.seconds)

    def __sub__(self, other: Work) -> Work:
        return Work(self.texts - other.texts, self.tokens - other.tokens, self.seconds - other.seconds)

    @property
    def texts_per_second(self) -> float:
        """0 where nothing was embedded."""
        return self.texts / self.seconds if self.texts else 0.0

    @property
    def tokens_per_second(self) -> float:
        """0 where nothing was embedded."""
        return self.tokens / self.seconds if self.texts else 0.0


_lock = threading.Lock()
_done = Work()


def work_done() -> Work:
    """All that was embedded in this process so far; of two moments the difference is what was done between them."""
    return _done


def count(work: Work) -> None:
    """Add to what was done."""
    global _done
    with _lock:
        _done += work
