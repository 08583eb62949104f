"""Addresses of e-mail and of hosts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from quarry_dagster.personal.finding import Finding

_EMAIL = re.compile(
    r"(?<![\w.%+@])\w[\w.%+'-]{0,63}@(?:\w[\w-]{0,62}\.){1,8}"
    r"([A-Za-z]{2,24}(?![A-Za-z0-9_@-])|[^\W\d_]{2,24}(?![\w@-])|xn--[\w-]{2,59})"
)
"""An address as people write them: of RFC 5321 without quoted parts, and with letters of all scripts (RFC 6531)."""
_GLUED = re.compile(r"[\u3000-\u9fff\uac00-\ud7af\u0e00-\u0eff]+(?=[\x00-\x7f])")
_SPELLED = re.compile(
    r"(?<![\w.])([\w.+-]{1,64})\s?[\[({]\s?(?:at|AT|@|ät)\s?[\])}]\s?"
    r"((?:[\w-]{1,63}(?:\.|\s?[\[({]\s?(?:dot|DOT|\.|punkt)\s?[\])}]\s?)){1,4})([A-Za-z]{2,24})(?![\w@])"
)
_SPELLED_HINTS = ("(at)", "[at]", "{at}", "(AT)", "[AT]", "(@)", "[@]", "( at ", "[ at ", "(ät)")
_FILES = frozenset(
    {
        *("png", "jpg", "jpeg", "gif", "svg", "webp", "avif", "ico", "css", "js", "mjs", "ts", "map", "json", "html"),
        *("php", "py", "rb", "java", "md", "txt", "pdf", "zip", "gz", "mp4", "mp3", "woff", "woff2"),
    }
)
_NOBODYS = frozenset({"example", "test", "invalid", "localhost", "local", "internal", "lan"})
"""The domains that RFC 2606, RFC 6762 and ICANN keep for nobody."""
_PLACEHOLDERS = re.compile(
    r"@(?:[\w-]+\.)?(?:example|exemple|beispiel|ejemplo|a?domain|yourdomain|yourcompany|mydomain|email|address|site|"
    r"website|company)\.\w+$|^\w@(?:[\w-]+\.)?[a-z]\.\w+$|"
    # Of one letter, there are these alone below com, net and org.
    r"@(?:[\w-]+\.)?(?![qxz]\.com$|[iq]\.net$|x\.org$)[a-z]\.(?:com|net|org)$|"
    r"^(?:git|hg|svn|name|your[\w.-]*|user(?:name)?|someone|first\.?last(?:name)?)@",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"(?<![a-z0-9+.-])(?!mailto:)[a-z][a-z0-9+.-]{1,20}://[^\s/@]{0,100}$", re.IGNORECASE)
"""What stands before the last part of a user and password in a URL, which look like an address (RFC 3986, 3.2.1)."""
_ROLES = re.compile(r"^(?:no-?reply|do-?not-?reply|mailer-daemon)@", re.IGNORECASE)

_IPV4 = re.compile(r"(?<![\w.@-])\d{1,3}(?:\.\d{1,3}){3}(?![\w@-]|\.\w|\s?%)", re.ASCII)
_IPV6 = re.compile(
    r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){1,7}(?:(?::[0-9A-Fa-f]{1,4}){1,6}|[0-9A-Fa-f]{1,4}|:)(?![\w:]|\.\w)", re.ASCII
)
_OF_HOST = re.compile(
    r"(?<![a-z])(?:IPs?|IPv[46]|src|dst)(?![a-z])|\baddress|\badresse|\bdirecci|\bendereço|адрес|地址|アドレス|\bhosts?\b|\bservers?\b|"
    r"\bserveur|\bping|\bfrom\s*$|\binet\b|\bclient|\blog(?:ged|in)?\b|\bvisitor|\battack|\bconnect|\bssh\b|\bfirewall|"
    r"\bgateway|\btracert|\btraceroute|\bgeoloc|\bproxy|\bVPN\b|\bremote|\bspam|\bban(?:ned)?\b|\bblock",
    re.IGNORECASE,
)
_OF_VERSION = re.compile(
    r"(?:(?<![a-z])v|(?<![a-z])ver\.?|versions?|\breleases?|\bbuild|\bfirmware|\bdrivers?|\bupdate|\bpatch|\bsoftware|\bapp|"
    r"\bsection|\bchapter|\bfigure|\btable|\bbios|\bedition|\brev(?:ision)?|\bchrome|\bfirefox|\boid|\bfile|\bdll|"
    r"§|#|[<>~^]=?|[!=]=)[\s:.=\"']{0,3}$",
    re.IGNORECASE,
)
"""What stands before a number of a version; of what has a value behind `=`, names like these alone."""
_LOGGED = re.compile(r":\d|\]? -|\) ")
"""What stands behind an address in a log: a port, or what the Common Log Format has there."""
_RESOLVERS = frozenset(
    {
        *("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "149.112.112.112", "208.67.222.222"),
        *("208.67.220.220", "4.2.2.1", "4.2.2.2"),
    }
)
"""Public resolvers of names: they are nobody's."""
_LONGEST_IN_URL = 130
_AROUND = 60
"""Characters before an address that are looked at for what it is of."""


def emails(text: str) -> Iterator[Finding]:
    """The addresses of e-mail; those of manuals, and of no domain that can be, are none."""
    if "@" in text:
        for found in _EMAIL.finditer(text):
            start, end = found.span()
            if glued := _GLUED.match(found[0]):
                start += glued.end()  # words of a script that puts nothing between them
            before, _, last = found[0].rpartition(".")
            if last.istitle() and before.islower() and before.rpartition("@")[2].count("."):
                end -= len(last) + 1  # the first word of the next sentence
            said = text[start:end]
            if _IN_URL.search(text[max(0, start - _LONGEST_IN_URL) : start]):
                continue
            top = said.rpartition(".")[2].lower()
            if top in _FILES or top in _NOBODYS or ".." in said or _PLACEHOLDERS.search(said):
                continue
            yield Finding("email", "address", 0.5 if _ROLES.match(said) else 0.95, start, end)
    if any(hint in text for hint in _SPELLED_HINTS):
        for found in _SPELLED.finditer(text):
            if found[3].lower() not in _NOBODYS:
                yield Finding("email", "spelled", 0.8, *found.span())


def addresses(text: str) -> Iterator[Finding]:
    """The public addresses of hosts; a number of a version is none."""
    for found in _IPV4.finditer(text):
        octets = [int(part) for part in found[0].split(".")]
        try:
            address = IPv4Address(found[0])
        except ValueError:  # an octet of more than 255, or one that begins with 0
            continue
        if found[0] in _RESOLVERS or not address.is_global or octets[-1] in (0, 255):
            continue
        before = text[max(0, found.start() - _AROUND) : found.start()]
        behind = text[found.end() : found.end() + 20]
        is_in_url = before.endswith("://")
        if _OF_VERSION.search(before) or (("/" in (before[-1:], behind[:1])) and not is_in_url):
            continue
        is_told = is_in_url or bool(_LOGGED.match(behind) or _OF_HOST.search(before) or _OF_HOST.search(behind))
        is_likely = octets[0] >= 10 and sum(octet >= 100 for octet in octets) >= 2
        if is_told or is_likely:
            yield Finding("ip", "v4", 0.9 if is_told and is_likely else 0.7 if is_told else 0.6, *found.span())
    if "::" in text or text.count(":") >= 7:
        for found in _IPV6.finditer(text):
            try:
                address = IPv6Address(found[0])
            except ValueError:
                continue
            groups = [group for group in found[0].split(":") if group]
            is_told = len(groups) >= 4 or _OF_HOST.search(text[max(0, found.start() - _AROUND) : found.start()])
            if address.is_global and is_told and any(len(group) > 2 for group in groups):
                yield Finding("ip", "v6", 0.9, *found.span())
