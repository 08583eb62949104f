"""Attack small data roots in every way there is, and say what they survived.

    python -m benchmarks.torture                 # everything; hours
    python -m benchmarks.torture kills [SCENARIO...] [--between N]
    python -m benchmarks.torture disks
    python -m benchmarks.torture writers
    python -m benchmarks.torture fuzz [--inputs N]
    python -m benchmarks.torture memory
    python -m benchmarks.torture small           # a small part of three of them, in minutes

Exit status 1 where something was lost, silent, unnamed, or left behind. Damaged files: `python -m
benchmarks.reliability damage`.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.torture.disks import disks, small_disks
from benchmarks.torture.fuzz import fuzz
from benchmarks.torture.kills import kills
from benchmarks.torture.memory import memory
from benchmarks.torture.scenarios import SCENARIOS
from benchmarks.torture.writers import writers

ATTACKS = ("kills", "disks", "writers", "fuzz", "memory", "small")


def main() -> int:
    """Run the attacks that the command line names; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attack", nargs="?", choices=ATTACKS)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    parser.add_argument("--between", type=int, default=3, help="kills between the first and the last of a point")
    parser.add_argument("--inputs", type=int, default=20_000, help="how many inputs are made of real ones")
    given = parser.parse_args()
    if unknown := {*given.scenarios} - {*SCENARIOS}:
        parser.error(f"no scenario {sorted(unknown)[0]!r}: {', '.join(SCENARIOS)}")
    if given.attack == "small":
        results = [kills(["checkpoints"], 0), disks(["a first run"], every=25), fuzz(200)]
    else:
        chosen = [given.attack] if given.attack else [each for each in ATTACKS if each != "small"]
        attacks = {
            "kills": lambda: kills(given.scenarios or [*SCENARIOS], given.between),
            "disks": lambda: all([disks(), small_disks()]),
            "writers": writers,
            "fuzz": lambda: fuzz(given.inputs),
            "memory": memory,
        }
        results = [attacks[each]() for each in chosen]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
