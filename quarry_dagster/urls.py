"""URLs: the identity of a document, and when two URLs name one page.

Two functions, for two questions:

- :func:`canonical_url` (RFC 3986 section 6 and the WHATWG URL standard: case of scheme and host, default port,
  dot segments, percent-encoding, order of query parameters, no fragment) never changes what a server would
  answer. A document's id is made from it.
- :func:`same_page_url` also drops parameters that only tell an analytics service who sent the visitor
  (`utm_source`, `fbclid`...). Two documents whose final URLs agree in it are one page: dedup level `url`.

The normal form has two versions (:data:`UrlForm`). `url-1` sorts parameters by name and then by value, and writes
`?wsdl` as `?wsdl=`, so that it takes some pages for one that are two. `url-2` sorts by name alone, and adds no `=`.
A data root keeps the form it began with, because the ids in its tables are made from it
(:class:`quarry_dagster.store.Root`).

Why so: "A document's id does not drop tracking parameters", "Few parameters count as tracking" and "The normal form of
a URL has a version, and a data root keeps its own" in docs/decisions.md.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final, Literal, get_args
from urllib.parse import quote_plus, unquote_plus, unquote_to_bytes, urlsplit, urlunsplit

from quarry_dagster.errors import InvalidUrl
from quarry_dagster.urns import normal_urn

UrlForm = Literal["url-1", "url-2"]
"""The versions of the normal form."""
FORMS: Final[tuple[UrlForm, ...]] = get_args(UrlForm)
FIRST_FORM: Final[UrlForm] = "url-1"
"""The form of a data root that does not say which it has."""
CURRENT_FORM: Final[UrlForm] = "url-2"
"""The form of a new data root, and of everything that no stored id depends on."""

SAME_PAGE_VERSION = "page-3"
"""Changes whenever :func:`same_page_url` would give something else for the same URL."""

# Names that analytics services made up. `ref`, `source`, `cid` and the like are not here: on many sites they choose
# the content, and a document removed for its URL is removed unread.
_TRACKERS = frozenset(
    {"fbclid", "gclid", "gclsrc", "dclid", "gbraid", "wbraid", "msclkid", "yclid", "twclid", "ttclid", "igshid"}
    | {"li_fat_id", "mc_cid", "mc_eid", "mkt_tok", "_hsenc", "_hsmi", "vero_id", "wickedid", "_openstat"}
    | {"oly_anon_id", "oly_enc_id"}
)
_TRACKER_PREFIXES = ("utm_", "mtm_", "pk_campaign", "pk_kwd")
_SESSIONS = frozenset(
    {"sid", "sessid", "sessionid", "session_id", "phpsessid", "jsessionid", "cfid", "cftoken", "oscsid"}
)
_SESSION_PREFIXES = ("aspsessionid",)
_DEFAULT_PORTS = {"http": 80, "https": 443}


# What is in normal form already, but for an empty path and the order of parameters: most URLs of seeds and pages. To
# tell so takes a tenth of the time of making it anew (a test holds the two together).
_PLAIN = re.compile(
    r"(?P<origin>https?://(?P<host>[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+))"
    r"(?P<path>(?:/(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*)?)*)"
    r"(?:\?(?P<query>(?:[A-Za-z0-9._~-]+=[A-Za-z0-9._~-]*&)*[A-Za-z0-9._~-]+=[A-Za-z0-9._~-]*))?"
)


# A `%` that begins no escape, but would begin one as soon as what follows it is decoded: `%%34%31` is not `%41`.
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})(?=[0-9A-Fa-f]?%(?:3[0-9]|[46][1-6]))")


@lru_cache(maxsize=65_536)
def canonical_url(url: str, form: UrlForm = CURRENT_FORM) -> str:
    """The URL in normal form.

    Raises:
        InvalidUrl: not an absolute http(s) URL with a host.
    """
    if plain := _PLAIN.fullmatch(url):
        order = _name_and_value if form == "url-1" else _name
        query = "&".join(sorted(plain["query"].split("&"), key=order)) if plain["query"] else ""
        return f"{plain['origin']}{plain['path'] or '/'}{'?' if query else ''}{query}"
    # Here: who reads a corpus mostly has plain URLs, and asks for none of it.
    from w3lib.url import canonicalize_url, safe_url_string

    try:
        if form == "url-1":
            parts = urlsplit(canonicalize_url(url.strip()))
        else:
            safe = _STRAY_PERCENT.sub("%25", safe_url_string(url.strip()))
            parts = urlsplit(canonicalize_url(safe))._replace(query=_normal_query(urlsplit(safe).query))
        port = parts.port
    except (ValueError, UnicodeError) as e:
        raise InvalidUrl(f"not a URL: {e}") from e
    if parts.scheme not in _DEFAULT_PORTS:
        raise InvalidUrl(f"scheme {parts.scheme!r} is not http or https" if parts.scheme else "no http(s) scheme")
    host = (parts.hostname or "").rstrip(".")
    if not host or any(c.isspace() for c in host):
        raise InvalidUrl("no host name")
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
        netloc += f":{port}"
    return urlunsplit((parts.scheme, netloc, _drop_dot_segments(parts.path) or "/", parts.query, ""))


def doc_id(url: str, form: UrlForm) -> str:
    """The document's id in a data root of this form: :func:`id_of` its canonical URL, or its URN in normal form.

    Raises:
        InvalidUrl: as :func:`canonical_url`.
    """
    return id_of(normal_urn(url) or canonical_url(url, form))


def id_of(text: str) -> str:
    """20 hex digits (80 bits) of the SHA-256 of a text.

    80 bits keep the chance of one collision among a billion documents under 1 in a million.
    """
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@lru_cache(maxsize=65_536)
def same_page_url(url: str, form: UrlForm = CURRENT_FORM) -> str:
    """The canonical URL without tracking parameters; a URN in normal form; any other text itself."""
    try:
        parts = urlsplit(canonical_url(url, form))
    except InvalidUrl:
        return normal_urn(url) or url
    # Values stay as they are written: decoded, those that are no UTF-8 would become one.
    kept = "&".join(pair for pair in parts.query.split("&") if not _is_tracker(pair.partition("=")[0]))
    return urlunsplit(parts._replace(query=kept))


def is_clean(url: str) -> bool:
    """Whether a URL names a page alone: no parameter of it follows a visitor, as those of trackers and sessions do."""
    path, _, query = url.partition("#")[0].partition("?")
    names = [unquote_plus(_name(pair)).lower() for pair in query.split("&")]
    if ";" in path:  # RFC 3986 section 3.3: as in /page;jsessionid=1
        names += [part.partition("=")[0].lower() for part in path.split(";")[1:]]
    return not any(_is_tracker(name) or name in _SESSIONS or name.startswith(_SESSION_PREFIXES) for name in names)


def host_of(url: str) -> str:
    """Host name (with a port that is not the default), lower case; "" where the URL has none."""
    if plain := _PLAIN.fullmatch(url):
        return plain["host"]
    try:
        return urlsplit(canonical_url(url)).netloc
    except InvalidUrl:
        return ""


def _name_and_value(pair: str) -> list[str]:
    return pair.split("=")


def _name(pair: str) -> str:
    return pair.partition("=")[0]


def _normal_query(query: str) -> str:
    """The parameters in the order of their names, and each in the one way to write it; empty ones are left out.

    Parameters of one name keep their order, and one without `=` gets none.
    """
    found: list[tuple[bytes, str]] = []
    for pair in filter(None, query.split("&")):
        name, equals, value = pair.partition("=")
        found.append((_decoded(name), f"{quote_plus(_decoded(name))}{equals}{quote_plus(_decoded(value))}"))
    return "&".join(pair for _, pair in sorted(found, key=lambda parameter: parameter[0]))


def _decoded(part: str) -> bytes:
    """The bytes of a name or value; as text, those that are no UTF-8 would become one."""
    return unquote_to_bytes(part.replace("+", " "))


def _is_tracker(name: str) -> bool:
    name = unquote_plus(name).lower()
    return name in _TRACKERS or name.startswith(_TRACKER_PREFIXES)


def _drop_dot_segments(path: str) -> str:
    out: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if len(out) > 1:
                out.pop()
        elif segment != ".":
            out.append(segment)
    if segments[-1] in (".", ".."):
        out.append("")
    return "/".join(out)
