"""Options that several commands share."""

import click

data_option = click.option(
    "--data", metavar="DIR", help="Data root, a path or an fsspec URL.  [default: $QUARRY_DATA or ./data]"
)
profile_option = click.option(
    "--profile", metavar="NAME", help="Profile name or YAML path.  [default: $QUARRY_PROFILE or detected]"
)
