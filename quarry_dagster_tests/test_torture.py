"""A small part of `make torture` is survived."""

import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_failing_disks_and_hostile_inputs_are_survived() -> None:
    command = [sys.executable, "-m", "benchmarks.torture", "small"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) > 9
