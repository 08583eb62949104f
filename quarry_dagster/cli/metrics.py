"""`quarry metrics`: what a data root holds, in Prometheus' text form, as for a textfile collector."""

from __future__ import annotations

import click

from quarry_dagster.cli.options import data_option, json_option, print_json


@click.command()
@data_option
@json_option
def metrics(data: str | None, as_json: bool) -> None:
    """What the data root holds, as Prometheus reads it: pages, documents, removals, what is behind."""
    from quarry_dagster.environment import data_root
    from quarry_dagster.errors import ConfigError
    from quarry_dagster.store import Store

    try:
        from quarry_dagster.serve.metrics import OfRoot, text_of
    except ImportError as e:
        raise ConfigError(f"{e.name} is missing: pip install 'quarry-dagster[serve]'") from e
    of_root = OfRoot(Store.existing(data_root(data)))
    if as_json:
        samples = [sample for metric in of_root.collect() for sample in metric.samples]
        rows = [{"name": each.name, "labels": each.labels, "value": each.value} for each in samples]
        print_json({"data": data_root(data), "metrics": rows})
        return
    click.echo(text_of(of_root).decode(), nl=False)
