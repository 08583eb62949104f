"""URLs on the wire: what a server is asked for, as whoever named the page wrote it.

:mod:`quarry_dagster.urls` tells documents apart by a normal form, which is never sent: servers tell `?wsdl` from
`?wsdl=`, `%27` from `'`, and parameters by their order. What is sent is what was written, made valid by the URL
standard (WHATWG) as browsers make it, by the library ada. A fragment, a user name and a password are not for servers
that a page names, and are left out.

Why so: "A page is asked for as its URL was written" in docs/decisions.md.
"""

from __future__ import annotations

import codecs
import re
import string
from functools import partial
from urllib.parse import quote_from_bytes

from ada_url import URL

from quarry_dagster.errors import InvalidUrl
from quarry_dagster.urls import canonical_url

# The bytes of a query that stay as they are: the standard's "special-query percent-encode set" has the others.
_STAYS = "".join(c for c in string.printable if c.isprintable() and c not in " \"#<>'")
_NOT_ASCII = re.compile("[^\0-\x7f]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Up to the last `@` before the path, as the standard has it: a password may hold one.
_CREDENTIALS = re.compile(r"(?<=//)[^/?#\\\s]*@")


def wire_url(written: str, base: str | None = None, encoding: str = "utf-8") -> str:
    """The URL to ask for, without fragment and credentials.

    Args:
        written: as a seed, a link, a `Location`, a sitemap or a feed has it.
        base: the URL that a relative one is relative to.
        encoding: of the page that it stands in, in which characters of its query are sent that are not ASCII.

    Raises:
        InvalidUrl: it is not, with its base, an http(s) URL with a host.
    """
    written = _SURROGATE.sub(_byte, written)
    if base is None:
        canonical_url(written)  # what has no identity is not asked for; its words say why
    try:
        url = URL(_with_query_in(encoding, written), base=base)
    except ValueError as e:
        raise InvalidUrl("not a URL: the URL standard refuses it") from e
    canonical_url(url.href)
    if "@" in url.href:
        url.username = url.password = ""
    return url.href.partition("#")[0]


def without_credentials(text: str) -> str:
    """The text, in its URLs a user name and a password replaced by nothing."""
    return _CREDENTIALS.sub("", text) if "@" in text else text


def _byte(found: re.Match[str]) -> str:
    """The byte that a lone surrogate stands for, escaped: as bytes of a header arrive that are no UTF-8."""
    byte = ord(found[0]) - 0xDC00
    return f"%{byte:X}" if 0x80 <= byte <= 0xFF else "\ufffd"


def _with_query_in(encoding: str, url: str) -> str:
    """The URL with the characters of its query that are not ASCII written as bytes of an encoding, and escaped."""
    if url.isascii() or codecs.lookup(encoding).name.startswith("utf"):  # the standard: UTF-16 is sent as UTF-8
        return url
    before, number_sign, fragment = url.partition("#")
    path, question_mark, query = before.partition("?")
    query = _NOT_ASCII.sub(partial(_escaped, encoding), query)
    return f"{path}{question_mark}{query}{number_sign}{fragment}"


def _escaped(encoding: str, found: re.Match[str]) -> str:
    """A run of characters as a browser sends it; one that the encoding has not, as a character reference."""
    written: list[str] = []
    rest = found[0]
    while rest:
        try:
            written.append(quote_from_bytes(rest.encode(encoding), _STAYS))
            break
        except UnicodeEncodeError as e:
            good, bad = rest[: e.start], rest[e.start]
            written += [quote_from_bytes(good.encode(encoding), _STAYS), f"%26%23{ord(bad)}%3B"]
            rest = rest[e.start + 1 :]
    return "".join(written)
