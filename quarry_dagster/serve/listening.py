"""The processes that listen: uvicorn, told to wait for nobody too long, and to log no more than it may."""

from __future__ import annotations

import json
import logging
import os
from asyncio import TimerHandle, Transport

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from quarry_dagster.serve.web import Service, app_of

TOLD = "QUARRY_SERVE"
"""The environment variable that tells a worker process what it serves."""
CONNECTIONS = 2000
"""Connections that one process holds; above, it answers 503."""
_HEADERS_WITHIN = 10.0
"""Seconds within which a connection must have sent the headers of a request."""
_DRAINS = 30
"""Seconds that requests have to end when the service is told to stop."""


class _Patient(HttpToolsProtocol):
    """uvicorn's protocol, but that it closes connections that never finish their headers."""

    _timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._wait()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        self._wait_no_more()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(_HEADERS_WITHIN, self.timeout_keep_alive_handler)

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def worker() -> ASGIApp:
    """The application of a worker process, by what its parent was told."""
    log_to_stderr()
    told = json.loads(os.environ[TOLD])
    return app_of(Service(**told | {"hosts": tuple(told["hosts"])}))


def log_to_stderr() -> None:
    """Have the service's log on stderr, a line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
    for name, level in (("quarry_dagster", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def config_of(app: ASGIApp | str, host: str, port: int, workers: int = 1) -> uvicorn.Config:
    """How uvicorn is to run an application; what it would log of a request has what a client wrote in its address."""
    logging.getLogger("uvicorn.access").disabled = True
    return uvicorn.Config(
        app,
        host,
        port,
        http=_Patient,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_DRAINS,
        workers=workers,
        factory=isinstance(app, str),
    )


def run(service: Service, host: str, port: int, workers: int) -> None:
    """Serve until the process is told to stop; what is being answered then is answered.

    Raises:
        ConfigError: the profile or the keys cannot be used, or nobody may listen there.
        StoreError: there is no such data root.
    """
    from quarry_dagster.errors import ConfigError

    log_to_stderr()
    log = logging.getLogger("quarry_dagster")
    app = app_of(service)  # what is wrong is told before anybody listens
    config = config_of(app if workers == 1 else f"{__name__}:worker", host, port, workers)
    try:
        listening = config.bind_socket()
    except SystemExit as e:
        raise ConfigError(f"nobody can listen on {host}:{port}: is another service there? --port names another") from e
    shown = f"[{host}]" if ":" in host else host
    log.info("serving %s on http://%s:%d", service.data, shown, listening.getsockname()[1])
    if workers == 1:
        uvicorn.Server(config).run(sockets=[listening])
    else:
        from uvicorn.supervisors import Multiprocess

        Multiprocess(config, [listening]).run()
