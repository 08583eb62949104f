"""What a stage reports of its work."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class StageReport:
    """Counts of one stage's work over one or more partitions; they add up with `+=`."""

    rows: int = 0  # rows in the table after the stage
    worked: int = 0  # rows that cost work: requested, extracted, embedded, indexed, compared
    written: int = 0  # data files written
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: StageReport) -> StageReport:
        self.rows += other.rows
        self.worked += other.worked
        self.written += other.written
        self.seconds += other.seconds
        self.outcomes += other.outcomes
        return self
