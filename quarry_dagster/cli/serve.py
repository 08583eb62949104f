"""`quarry serve`: the corpus answers over HTTP until it is told to stop."""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from quarry_dagster.cli.options import data_option, profile_option


@click.command()
@data_option
@profile_option
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="Processes that answer.")
@click.option("--keys", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Ask for keys of FILE.")
@click.option("--new-key", metavar="NAME", help="Make a key under NAME in the file of --keys, print it, and end.")
@click.option("--host-name", multiple=True, metavar="NAME", help="A further name that requests may be for; repeatable.")
@click.option("--mcp", "is_mcp", is_flag=True, help="Speak the Model Context Protocol on standard input and output.")
def serve(
    data: str | None,
    profile: str | None,
    host: str,
    port: int,
    workers: int,
    keys: Path | None,
    new_key: str | None,
    host_name: tuple[str, ...],
    is_mcp: bool,
) -> None:
    """Answer over HTTP: is this text in the corpus, what is near it, what would a run do with it.

    With --mcp a program that started the command asks instead, by the tools search, contains, explain and document.
    """
    from quarry_dagster.environment import data_root, profile_name
    from quarry_dagster.errors import ConfigError

    if is_mcp:
        if keys or new_key or host_name or not _is_loopback(host):
            raise click.UsageError("--mcp listens nowhere: --host, --host-name, --keys and --new-key are of HTTP")
        _speak_mcp(data_root(data), profile_name(profile))
        return
    if new_key is not None:
        from quarry_dagster.serve.keys import new_key as made

        if keys is None:
            raise click.UsageError("--new-key needs --keys FILE")
        click.echo(made(keys, new_key))
        return
    if keys is None and not _is_loopback(host):
        raise ConfigError(
            f"{host} can be reached from elsewhere, and no key would be asked for: name a file of keys (--keys FILE "
            "--new-key NAME makes one), or listen on 127.0.0.1"
        )
    try:
        from quarry_dagster.serve.listening import TOLD, run
        from quarry_dagster.serve.web import Service
    except ImportError as e:
        raise ConfigError(f"{e.name} is missing: pip install 'quarry-dagster[serve]'") from e

    names = ("127.0.0.1", "localhost", "[::1]", host.lower() if ":" not in host else f"[{host.lower()}]", *host_name)
    with TemporaryDirectory(prefix="quarry-serve-") as scratch:
        service = Service(
            data_root(data), profile_name(profile), scratch, names, str(keys.absolute()) if keys else None
        )
        os.environ[TOLD] = json.dumps(asdict(service))
        run(service, host, port, workers)


def _speak_mcp(data: str, profile: str | None) -> None:
    from quarry_dagster.errors import ConfigError

    if find_spec("mcp") is None:
        raise ConfigError("mcp is missing: pip install 'quarry-dagster[mcp]'")
    from quarry_dagster.asking.opened import open as opened
    from quarry_dagster.serve.mcp_tools import server_of

    with opened(data, profile=profile) as corpus:
        server_of(corpus).run("stdio")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
