"""`python -m quarry_dagster.cli` is the command `quarry`."""

from quarry_dagster.cli import main

main()
