"""One page, tried: fetched and extracted as a run would, and everything on the way told.

There is no data root, and nothing is kept. Nothing is decided here: the crawl, the extractor and the rules for given
documents are those of a run.
"""

from __future__ import annotations

import mimetypes
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from quarry_dagster.crawl import Request, Response, crawl
from quarry_dagster.crawl.addresses import Network, remedy
from quarry_dagster.errors import ConfigError, InvalidUrl
from quarry_dagster.extract import Extraction, Extractor, Page
from quarry_dagster.plural import plural
from quarry_dagster.profiles.settings import Crawl, HardwareProfile
from quarry_dagster.store.schemas import EXTRACTED
from quarry_dagster.urls import canonical_url

_TYPES = {".txt": "text/plain", ".md": "text/plain", ".rst": "text/plain", ".text": "text/plain", ".log": "text/plain"}
"""By suffix what a file is taken for, where Python does not know it as what it is for us."""
_SNIFFED = 1024
_PAGE = re.compile(rb"<\s*(?:!doctype|html|head|body|title|meta|p|div|h1)\b", re.IGNORECASE)
_URL = re.compile(rb"(?:\s*#[^\n]*\n)*\s*https?://\S+\s*(?:\n|#|discover=|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Robots:
    """What robots.txt of one origin says of one URL."""

    url: str
    said: str
    """A sentence: the line that decides, or why there is none."""
    crawl_delay: float
    """Seconds; 0 where it asks for none."""


@dataclass(frozen=True)
class Trial:
    """What became of one page or file."""

    url: str
    """As it was named."""
    outcome: str
    """One of `store.schemas.FETCH_OUTCOMES`."""
    detail: str | None = None
    remedy: str | None = None
    """What to do where it was not fetched, as far as this machine has a say."""
    robots: list[Robots] = field(default_factory=list)
    """Of the page and of every origin that a redirect led to, as far as it was asked."""
    consent: str | None = None
    """Whether the page or its origin opts out; None where it was not asked that far."""
    redirects: list[str] = field(default_factory=list)
    """The URLs on the way, without the last one."""
    final_url: str | None = None
    status: int | None = None
    content_type: str | None = None
    bytes: int | None = None
    text: Extraction | None = None
    """What was extracted; None where there was no page."""

    @property
    def is_document(self) -> bool:
        """Whether a run would accept it as a document."""
        return self.text is not None and self.text.outcome == EXTRACTED


def try_page(named: str, profile: HardwareProfile, allow_addresses: Sequence[Network]) -> Trial:
    """Try one page by its URL, or a file on this machine by its path.

    Raises:
        ConfigError: it is neither.
    """
    if "://" in named:
        try:
            canonical_url(named)
        except InvalidUrl as e:
            raise ConfigError(f"{named!r} is no URL of a page: {e}") from e
        return _try_url(named, profile, allow_addresses)
    path = Path(named)
    if path.is_file():
        return _try_file(path, profile)
    if path.is_dir():
        raise ConfigError(f"{named!r} is a folder: name one file in it; `quarry run` takes a folder of seeds")
    if path.exists():
        raise ConfigError(f"{named!r} is no regular file: save what comes from it in one, and name that")
    raise ConfigError(f"there is no file {named!r}; where a page is meant, write http:// or https:// before it")


def _try_url(url: str, profile: HardwareProfile, allow_addresses: Sequence[Network]) -> Trial:
    settings = profile.crawl
    with Extractor(profile.extraction, 1) as extractor, TemporaryDirectory() as folder:
        extractor.prepare()  # it loads while the page is fetched
        origins = Path(folder, "origins.sqlite")
        (response,) = crawl([Request(url)], settings, allow_addresses=allow_addresses, origins=origins)
        found = Trial(
            url,
            response.outcome,
            response.detail,
            remedy=remedy(response.detail) if response.outcome == "blocked_address" else None,
            robots=_robots(response, settings, origins),
            consent=_consent(response, settings),
            redirects=list(response.hops),
            final_url=response.final_url,
            status=response.status,
            content_type=response.content_type,
            bytes=None if response.body is None else len(response.body),
        )
        if response.body is None:
            return found
        page = Page(url, response.final_url or url, response.body, response.content_type, _today())
        return replace(found, text=next(extractor.extract([page])))


def _robots(response: Response, settings: Crawl, path: Path) -> list[Robots]:
    """What was read of robots.txt on the way to a page."""
    from contextlib import closing

    from yarl import URL

    from quarry_dagster.crawl.origins import Origins

    told: list[Robots] = []
    urls = dict.fromkeys([*response.hops, response.final_url or response.url])
    with closing(Origins(path, settings.user_agent)) as origins:
        for url in urls:
            origin = URL(url).origin()
            asked, said = str(origin.with_path("/robots.txt")), origins.get(origin)
            if said is None:
                if response.detail and "robots.txt" in response.detail:
                    told.append(Robots(asked, _without_name(response.detail), 0))
                continue
            refusal, line = said.rules.refused(url), said.rules.deciding_line(url)
            verdict = "refuses" if refusal else "allows"
            if line:
                sentence = f"{verdict} it, by the line {line!r}"
            elif refusal:
                sentence = _without_name(refusal.detail)
            elif said.rules.no_file:
                sentence = f"is not there, so all is allowed: {said.rules.no_file}"
            elif said.rules.lines:
                sentence = "allows it: no line of those for us matches it"
            else:
                sentence = "allows it: it has no line for us"
            told.append(Robots(asked, sentence, said.rules.crawl_delay))
    return told


def _without_name(detail: str) -> str:
    """What a detail says of robots.txt, to stand behind its URL."""
    return re.sub(r"^robots\.txt:? ", "", detail)


def _consent(response: Response, settings: Crawl) -> str | None:
    """What was found of an opt-out, in a sentence."""
    if response.outcome == "opted_out":
        return f"refused: {response.detail}"
    if response.body is None:
        return None
    if not settings.obey_consent:
        return "not asked for, by crawl.obey_consent"
    asked = "noai and noindex" if settings.obey_noindex else "noai"
    signals = f", no Content-Signal against {' or '.join(settings.obey_signals)}" if settings.obey_signals else ""
    said = f"no {asked} in headers and meta elements, no TDM reservation of the page or its origin"
    return f"nothing opts out: {said}{signals}"


def _try_file(path: Path, profile: HardwareProfile) -> Trial:
    from quarry_dagster.crawl.answers import Answers, headers_of
    from quarry_dagster.seeds.payload import NOT_READ

    size, limit = path.stat().st_size, int(profile.crawl.max_body_mb * 2**20)
    try:
        with path.open("rb") as file:
            body = file.read(limit + 1)
    except OSError as e:
        raise ConfigError(f"cannot read {path}: {e.strerror or e}") from e
    content_type = _type_of(path, body)
    found = Trial(path.name, "given", final_url=path.name, content_type=content_type, bytes=size)
    if _is_seed(path, body):
        detail, remedy = "this is a seed, no page", f"quarry run {shlex.quote(str(path))} takes it in; --plan shows how"
        return replace(found, outcome="unsupported_type", detail=detail, remedy=remedy, content_type=None)
    if size > limit:
        remedy = "crawl.max_body_mb of the profile is the limit"
        return replace(found, outcome="too_large", detail=plural(size, "byte"), remedy=remedy)
    if refused := Answers(profile.crawl).refused(headers_of(()), body, content_type, is_served=False):
        if refused.outcome == "opted_out":
            return replace(found, outcome=refused.outcome, detail=refused.detail)
        remedy = f"pages (HTML) and plain text are read. {NOT_READ}"
        return replace(found, outcome=refused.outcome, detail=refused.detail, remedy=remedy, content_type=None)
    with Extractor(profile.extraction, 1) as extractor:
        page = Page(path.name, "", body, content_type, _today())
        return replace(found, text=next(extractor.extract([page])))


def _type_of(path: Path, body: bytes) -> str:
    """What a file is taken for: by its suffix, and where that says nothing by its beginning."""
    known = _TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0]
    return known or ("text/html" if _PAGE.search(body[:_SNIFFED]) else "text/plain")


def _is_seed(path: Path, body: bytes) -> bool:
    """Whether a run would take the file in: by its name, and a `.txt` where its first line is a URL."""
    from quarry_dagster.seeds import is_seed_name

    return is_seed_name(path.name) and (path.suffix.lower() != ".txt" or _URL.match(body) is not None)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
