"""The service: questions over HTTP, with a door that lets in what may be answered.

Whatever is asked wrongly is told what to do by a problem document, and the service goes on. Texts are in no log and in
no metric.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quarry_dagster.asking import questions
from quarry_dagster.asking.following import Following
from quarry_dagster.asking.snapshot import FATES, Filters, Snapshot
from quarry_dagster.asking.what_if import decide_on, prepare
from quarry_dagster.embed import Encoder, vector_id
from quarry_dagster.errors import ConfigError, ModelError, QuarryError
from quarry_dagster.extract import normal_form
from quarry_dagster.profiles.remembered import choose_for, named_classifiers
from quarry_dagster.profiles.settings import HardwareProfile
from quarry_dagster.search.model import encoder_of
from quarry_dagster.serve.asked import Asked, ContainsAsked, DecideAsked, SimilarAsked
from quarry_dagster.serve.desk import Desk, Encoding
from quarry_dagster.serve.keys import Keys
from quarry_dagster.serve.metrics import CONTENT_TYPE, OfRoot, OfService, text_of
from quarry_dagster.serve.openapi import document as openapi
from quarry_dagster.serve.problems import Problem
from quarry_dagster.stages.quality_signals import scorers_of
from quarry_dagster.store import Store

A = TypeVar("A", bound=Asked)

_access = logging.getLogger("quarry_dagster.access")
_log = logging.getLogger("quarry_dagster")

_JSON, _LINES = "application/json", "application/x-ndjson"
_PAGE = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}
_OPEN_TO_ALL = ("/healthz", "/readyz")
"""What answers to any host."""
_WITHOUT_KEY = (*_OPEN_TO_ALL, *_PAGE, "/openapi.json")
"""What says nothing of the corpus' documents."""
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_REQUEST_ID = re.compile(r"[\w.-]{1,64}")
_LINES_AT_ONCE = 32
"""Lines of a stream that are answered together."""
_IDLE = 30.0
"""Seconds that a stream may be silent."""


@dataclass(frozen=True)
class Service:
    """What a process that serves is told."""

    data: str
    profile: str | None
    scratch: str
    """A folder for mapped files, outside of the data root; the processes of one service share it."""
    hosts: tuple[str, ...]
    """Names that requests may be for, without a port."""
    keys: str | None = None
    """The file of keys; None: no key is asked for."""


def app_of(service: Service) -> ASGIApp:
    """The application; it begins to follow the data root when it is started.

    Raises:
        ConfigError: the profile or the keys cannot be used.
        StoreError: there is no such data root.
    """
    store = Store.existing(service.data)
    profile = choose_for(store, service.profile).profile
    answers = _Answers(store, profile, service)
    paths = {
        "/v1/contains": ("POST", answers.contains),
        "/v1/similar": ("POST", answers.similar),
        "/v1/decide": ("POST", answers.decide),
        "/v1/documents/{doc_id}": ("GET", answers.document),
        "/healthz": ("GET", answers.health),
        "/readyz": ("GET", answers.ready),
        "/metrics": ("GET", answers.metrics),
        "/openapi.json": ("GET", answers.openapi),
        **dict.fromkeys(_PAGE, ("GET", answers.page)),
    }
    routes = [Route(path, endpoint, methods=[method]) for path, (method, endpoint) in paths.items()]
    app = Router(routes, lifespan=answers.lifespan)
    keys = Keys(Path(service.keys)) if service.keys else None
    return _Door(app, answers.of_service, service.hosts, keys)


class _Door:
    """Lets requests in: names and logs them, tells problems, and asks for host, key and type."""

    def __init__(self, app: ASGIApp, metrics: OfService, hosts: Sequence[str], keys: Keys | None) -> None:
        self._app = app
        self._metrics = metrics
        self._hosts = frozenset(host.lower() for host in hosts)
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        given = request.headers.get("x-request-id", "")
        id_ = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        began, status = time.monotonic(), 0

        async def say(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                more = {"x-request-id": id_, **_HEADERS}
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in more.items())]
            await send(message)

        holder = "-"
        try:
            holder = self._let_in(request)
            scope["app"] = self  # then a path or a method that there is not is told by an exception
            await self._app(scope, receive, say)
        except ClientDisconnect:
            status = status or 499
        except Exception as e:
            problem = _as_problem(e)
            if problem.status == 500:
                _log.exception("request %s could not be answered", id_)
            if status:  # a stream that began is cut, so that nobody takes it for a whole one
                raise
            await _tell(problem, id_, receive, say)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            took = time.monotonic() - began
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(took)
            _access.info("%s %s %s %d %.1f ms %s", id_, request.method, route, status, 1000 * took, holder)

    def _let_in(self, request: Request) -> str:
        """The name of the key's holder, "-" where no key is asked for.

        Raises:
            Problem: the request is not let in.
        """
        path = request.scope["path"]
        if path not in _OPEN_TO_ALL and _host(request.headers.get("host", "")) not in self._hosts:
            said = "this service does not answer to that name: quarry serve --host-name NAME adds one"
            raise Problem(421, "host", said)
        if self._keys is None or path in _WITHOUT_KEY:
            return "-"
        holder = self._keys.holder(request.headers.get("authorization"))
        if holder is None:
            raise Problem(401, "key", "send a key that this service knows: Authorization: Bearer KEY")
        return holder


async def _tell(problem: Problem, request_id: str, receive: Receive, send: Send) -> None:
    """Tell a client its problem; a body that is too large is let through to nowhere for a while, for a client that is
    still sending when the connection ends sees no answer."""
    response = problem.response(request_id)
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    if problem.status == 413:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_IDLE):
                while (await receive()).get("more_body"):
                    pass
    await send({"type": "http.response.body", "body": b""})


class _Answers:
    """The endpoints of one process."""

    def __init__(self, store: Store, profile: HardwareProfile, service: Service) -> None:
        self._store = store
        self._profile = profile
        self._scorers = scorers_of(named_classifiers(store, service.profile, profile))
        self._following = Following(store, profile, Path(service.scratch), apart=True)
        settings = profile.serve
        self._desk = Desk(profile.hardware.worker_count, settings.queue, settings.deadline)
        self._limit = int(settings.max_body_mb * 2**20)
        self._encoding = Encoding(self._encode)
        self._encoder: Encoder | None = None
        self._model_problem: str | None = None
        self._of_root = OfRoot(store)
        self.of_service = OfService(self._following, self._desk)

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Router) -> AsyncIterator[None]:
        """Follow the data root as long as the application runs; requests that are worked on are answered first."""
        self._following.start()
        loading = asyncio.create_task(self._load_model())
        try:
            yield
        finally:
            loading.cancel()
            await asyncio.to_thread(self._close)

    async def contains(self, request: Request) -> Response:
        snapshot = self._snapshot()

        def answer(asked: ContainsAsked) -> Callable[[], list[Any]]:
            return lambda: [questions.contains(snapshot, text) for text in asked.each]

        if _type(request) == _LINES:
            return self._stream(request, snapshot, ContainsAsked, lambda asked: self._desk.work(answer(asked)))
        asked = await self._asked(request, ContainsAsked)
        async with self._desk.turn("contains", len(asked.each)):
            return _answer(snapshot, results=await self._desk.work(answer(asked)))

    async def similar(self, request: Request) -> Response:
        snapshot = self._snapshot()
        if _type(request) == _LINES:
            return self._stream(request, snapshot, SimilarAsked, lambda asked: self._similar(snapshot, asked))
        asked = await self._asked(request, SimilarAsked)
        async with self._desk.turn("similar", len(asked.texts or [""])):
            return _answer(snapshot, results=await self._similar(snapshot, asked))

    async def decide(self, request: Request) -> Response:
        snapshot = self._snapshot()

        def answer(asked: DecideAsked) -> Callable[[], list[Any]]:
            return lambda: [decide_on(snapshot, each.given(), self._scorers) for each in asked.each]

        if _type(request) == _LINES:
            return self._stream(request, snapshot, DecideAsked, lambda asked: self._desk.work(answer(asked)))
        asked = await self._asked(request, DecideAsked)
        async with self._desk.turn("decide", len(asked.each)):
            return _answer(snapshot, results=await self._desk.work(answer(asked)))

    async def document(self, request: Request) -> Response:
        snapshot = self._snapshot()
        doc_id = request.path_params["doc_id"].lower()
        include = request.query_params.get("include")
        if include not in (None, "removed"):
            raise Problem(422, "request", "include is removed, or is left out")

        def answer() -> dict[str, Any] | None:
            return questions.document(snapshot, doc_id, include_removed=include == "removed")

        async with self._desk.turn("document"):
            found = await self._desk.work(answer)
        if found is None:
            hint = "" if include else "; one that was removed or kept out is answered with ?include=removed"
            raise Problem(404, "document", f"the corpus keeps no document of this doc_id{hint}")
        return _answer(snapshot, document=found)

    async def health(self, _: Request) -> Response:
        return _json({"status": "alive"})

    async def ready(self, _: Request) -> Response:
        snapshot = self._following.current
        if snapshot is None:
            said = self._following.problem or "the corpus is being loaded"
            raise Problem(503, "not-ready", said, retry_after=2)
        model = vector_id(self._profile.embedding)
        facts: dict[str, Any] = {
            "snapshot": snapshot.number,
            "published_at": snapshot.corpus.published_at,
            "documents": snapshot.corpus.kept_documents,
            "index": {"type": snapshot.index.kind, "vectors": snapshot.index.vectors, "model": snapshot.index.model},
            "searched": _searched(snapshot),
            "behind": self._following.problem,
        }
        if snapshot.index.model != model:
            said = f"the index holds vectors of {snapshot.index.model!r}, this service's profile names {model!r}"
            remedy = f"{said}: serve with the profile that the corpus was made with (--profile)"
            raise Problem(503, "model", remedy, retry_after=60, **facts)
        if self._encoder is None:
            said = self._model_problem or "the model is being loaded"
            raise Problem(503, "not-ready", said, retry_after=2, **facts)
        return _json({"status": "ready", **facts})

    async def metrics(self, _: Request) -> Response:
        text = await self._desk.work(lambda: text_of(self._of_root, self.of_service))
        return Response(text, headers={"content-type": CONTENT_TYPE})

    async def openapi(self, _: Request) -> Response:
        return _json(openapi())

    async def page(self, request: Request) -> Response:
        file, content_type = _PAGE[request.scope["path"]]
        content = (Path(__file__).parent / "page" / file).read_bytes()
        return Response(content, headers={"content-type": content_type})

    async def _load_model(self) -> None:
        """Load the model before it is asked for; a problem is told by /readyz, and by who asks."""
        while self._encoder is None:
            snapshot = self._following.current
            if snapshot is not None:
                try:
                    await asyncio.to_thread(self._model_of, snapshot)
                    await asyncio.to_thread(prepare)
                except QuarryError as e:
                    self._model_problem = str(e)
                except Exception as e:  # noqa: BLE001  whatever it is, /readyz says so, and it is tried again
                    if self._model_problem is None:
                        _log.exception("the model cannot be loaded")
                    self._model_problem = f"the model cannot be loaded: {type(e).__name__}: {e}"
            await asyncio.sleep(1)

    def _model_of(self, snapshot: Snapshot) -> Encoder:
        self._encoder = encoder_of(snapshot.index, self._profile)
        self._model_problem = None
        return self._encoder

    def _encode(self, texts: list[str]) -> np.ndarray:
        if self._encoder is None:
            raise ModelError(self._model_problem or "the model is being loaded: ask again later")
        return self._encoder.encode([normal_form(text) for text in texts])

    def _close(self) -> None:
        self._following.stop()
        self._desk.close()
        self._encoding.close()

    def _snapshot(self) -> Snapshot:
        """What answers now: a request asks once, and stays with it."""
        snapshot = self._following.current
        if snapshot is None:
            said = self._following.problem or "the corpus is being loaded: ask again later"
            raise Problem(503, "not-ready", said, retry_after=2)
        return snapshot

    async def _similar(self, snapshot: Snapshot, asked: SimilarAsked) -> list[Any]:
        include = FATES if asked.include == "removed" else ("kept",)
        fates = (asked.verdict,) if asked.verdict else include
        filters = Filters(asked.language, asked.host, asked.page_type, frozenset(fates))
        if asked.vector is not None:
            vector = np.array([asked.vector], np.float32)
            length = float(np.linalg.norm(vector))
            if not 0 < length < np.inf:
                raise Problem(422, "request", "the vector has no direction: give one whose length is more than 0")
            vectors = vector / length
        else:
            if snapshot.index.model != vector_id(self._profile.embedding):
                self._model_of(snapshot)  # raises, and says what to do
            vectors = await self._encoding.vectors(asked.texts or [asked.text or ""])

        def answer() -> list[Any]:
            return questions.similar(snapshot, vectors, asked.k, filters, with_text=asked.with_text)

        return await self._desk.work(answer)

    async def _asked(self, request: Request, kind: type[A]) -> A:
        if _type(request) != _JSON:
            said = f"send the body as {_JSON}, or a stream of lines as {_LINES}"
            raise Problem(415, "type", said)
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._limit:
            raise self._too_large()
        parts, size = [], 0
        try:
            async with asyncio.timeout(self._desk.deadline):
                async for part in request.stream():
                    size += len(part)
                    if size > self._limit:
                        raise self._too_large()
                    parts.append(part)
        except TimeoutError:
            said = f"the body did not come within {self._desk.deadline:g} seconds: send it again"
            raise Problem(408, "slow", said) from None
        return _parsed(kind, b"".join(parts))

    def _too_large(self) -> Problem:
        said = f"a body, or a line of a stream, has at most {self._limit:,} bytes (serve.max_body_mb of the profile)"
        return Problem(413, "size", f"{said}: send less at once")

    def _stream(
        self, request: Request, snapshot: Snapshot, kind: type[A], answer: Callable[[A], Awaitable[list[Any]]]
    ) -> Response:
        """Answer line by line, in order, all by one snapshot; a line that is wrong is told so in its place."""

        async def one(number: int, line: bytes) -> bytes:
            try:
                found = {"results": await answer(_parsed(kind, line))}
            except Exception as e:  # noqa: BLE001  the other lines are answered
                problem = _as_problem(e)
                if problem.status == 500:
                    _log.exception("a line could not be answered")
                found = {"problem": problem.members()}
            return _encoded({"line": number, "snapshot": snapshot.number} | found) + b"\n"

        async def answers() -> AsyncIterator[bytes]:
            waiting: list[tuple[int, bytes]] = []
            async for number, line in self._lines(request):
                if line is not None:
                    waiting.append((number, line))
                if waiting and (line is None or len(waiting) == _LINES_AT_ONCE):
                    for found in await asyncio.gather(*(one(*each) for each in waiting)):
                        yield found
                    waiting = []

        return _Stream(answers())

    async def _lines(self, request: Request) -> AsyncIterator[tuple[int, bytes | None]]:
        """The lines of a stream that are not blank, with their numbers; None where no more came together with them."""
        rest, number = b"", 0
        parts = request.stream().__aiter__()
        while True:
            try:
                part = await asyncio.wait_for(anext(parts), _IDLE)
            except (StopAsyncIteration, TimeoutError):
                break
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                number += 1
                if line.strip():
                    yield number, line
            if len(rest) > self._limit:
                raise self._too_large()
            yield number, None
        if rest.strip():
            yield number + 1, rest
            yield number + 1, None


class _Stream(Response):
    """Lines that are sent as they are made, while more of the request is read, which Starlette's own would swallow."""

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        super().__init__(headers={"content-type": _LINES})
        del self.headers["content-length"]
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for line in self._lines:
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _host(header: str) -> str:
    """The name in a header `Host`, without its port."""
    name = header.strip().lower()
    return name.partition("]")[0] + "]" if name.startswith("[") else name.partition(":")[0]


def _parsed(kind: type[A], body: bytes) -> A:
    """What a body asks.

    Raises:
        Problem: 400 where it is no JSON in UTF-8, 422 where it asks for something that there is not.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as e:
        errors = e.errors(include_url=False, include_context=False, include_input=False)
    if any(each["type"] == "json_invalid" for each in errors):
        said = errors[0]["msg"].removeprefix("Invalid JSON: ")
        raise Problem(400, "json", f"the body is no JSON in UTF-8: {said}")
    wrong = [{"where": ".".join(map(str, each["loc"])), "what": each["msg"]} for each in errors[:20]]
    first = f"{wrong[0]['where']}: {wrong[0]['what']}".removeprefix(": ")
    raise Problem(422, "request", f"{first}; /openapi.json has what may be asked", errors=wrong)


def _as_problem(error: Exception) -> Problem:
    """What a client is told of an error."""
    match error:
        case Problem():
            return error
        case HTTPException(status_code=405):
            return Problem(405, "method", f"this address answers to {(error.headers or {}).get('Allow', 'GET')}")
        case HTTPException():
            return Problem(
                error.status_code, "address", "there is nothing at this address: /openapi.json has what there is"
            )
        case ConfigError():
            return Problem(422, "request", str(error))
        case ModelError():
            return Problem(503, "model", str(error), retry_after=5)
        case QuarryError():
            said = f"{error}; the next corpus that is published may be whole"
            return Problem(503, "data", said, retry_after=5)
        case _:
            return Problem(
                500, "error", "it could not be answered; the log of the service has why, under the request's id"
            )


def _searched(snapshot: Snapshot) -> str:
    """How the index is searched, in a sentence."""
    settings, kind = snapshot.profile.index, snapshot.index.kind
    if kind == "IndexFlatIP":
        return "exactly"
    if kind == "IndexHNSWFlat":
        return f"by graph, ef_search {settings.ef_search}"
    return f"by cells, nprobe {settings.nprobe}"


def _answer(snapshot: Snapshot, **found: Any) -> Response:
    return _json({"snapshot": snapshot.number} | found)


def _json(value: Any) -> Response:
    return Response(_encoded(value), headers={"content-type": _JSON})


def _encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=_plain).encode("utf-8", "replace")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(type(value).__name__)
