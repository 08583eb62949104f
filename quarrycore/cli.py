"""`python -m quarrycore.cli` is the command `quarry`."""

from quarry_dagster.cli import main

if __name__ == "__main__":
    main()
