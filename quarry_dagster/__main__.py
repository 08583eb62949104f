"""`python -m quarry_dagster` is the command `quarry`."""

from quarry_dagster.cli import main

if __name__ == "__main__":
    main()
