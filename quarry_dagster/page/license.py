"""Under which licence a page says that it may be used, and where it says so.

A licence counts where the page grants it for itself: in its head, its footer or its main part; not in a quotation, a
comment, another article, beside a picture, or in a sentence about something else. Two that differ are a conflict, and
none is taken.

Licences are named by SPDX (https://spdx.org/licenses/) where they are known, else by their URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from quarry_dagster.page.head import Head
from quarry_dagster.page.json_ld import text_in, typed

if TYPE_CHECKING:
    from lxml.html import HtmlElement

SOURCES = ("rel", "link", "json_ld", "dublin_core", "text", "conflict")
"""Where a licence was found: a link with rel=license, a link to Creative Commons, JSON-LD, Dublin Core, the page's
words; `conflict`: two were, and differ."""

_CC_URL = re.compile(
    r"(?:https?:)?//(?:[a-z-]+\.)?creativecommons\.org/(?:licen[sc]es/(by(?:-nc)?(?:-nd|-sa)?)(?:/(\d\.\d)(?:/([a-z]{2,3})(?![\w.]))?)?"
    r"|(publicdomain/(?:zero|mark))(?:/(\d\.\d))?)",
    re.IGNORECASE,
)
_PORTED = {
    "CC-BY-2.5": ("AU",),
    "CC-BY-3.0": ("AT", "AU", "DE", "IGO", "NL", "US"),
    "CC-BY-NC-3.0": ("DE",),
    "CC-BY-NC-ND-3.0": ("DE", "IGO"),
    "CC-BY-NC-SA-2.0": ("DE", "FR", "UK"),
    "CC-BY-NC-SA-3.0": ("DE", "IGO"),
    "CC-BY-ND-3.0": ("DE",),
    "CC-BY-SA-2.0": ("UK",),
    "CC-BY-SA-2.1": ("JP",),
    "CC-BY-SA-3.0": ("AT", "DE", "IGO"),
}
"""The ports to the law of a country that SPDX has names for."""
_OTHER_URLS = (
    (re.compile(r"//(?:www\.)?opensource\.org/licen[sc]es?/(mit|isc|bsd-[23]-clause|mpl-2\.0)", re.I), None),
    (re.compile(r"//spdx\.org/licenses/([\w.+-]+?)(?:\.html|\.json)?$", re.I), None),
    (re.compile(r"//(?:www\.)?apache\.org/licenses/LICENSE-2\.0", re.I), "Apache-2.0"),
    (re.compile(r"//(?:www\.)?nationalarchives\.gov\.uk/doc/open-government-licence/version/3", re.I), "OGL-UK-3.0"),
    (re.compile(r"//(?:www\.)?nationalarchives\.gov\.uk/doc/open-government-licence/version/2", re.I), "OGL-UK-2.0"),
    (re.compile(r"//(?:www\.)?opendatacommons\.org/licenses/odbl", re.I), "ODbL-1.0"),
    (re.compile(r"//(?:www\.)?opendatacommons\.org/licenses/by", re.I), "ODC-By-1.0"),
    (re.compile(r"//(?:www\.)?opendatacommons\.org/licenses/pddl", re.I), "PDDL-1.0"),
)
_SPELLED = {
    "mit": "MIT",
    "isc": "ISC",
    "mpl-2.0": "MPL-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
}
_GFDL = r"\bGNU Free Documentation Licen[sc]e,? (?:v(?:ersion)?\.? ?)?1\.3\b"
_OF_SOFTWARE = ("MIT", "Apache-2.0")
"""Licences that mostly are of a project's code: in words they count only where these name the page or its text."""
_OTHER_WORDS = (
    (re.compile(r"\bMIT Licen[sc]e\b"), "MIT"),
    (re.compile(r"\bApache Licen[sc]e,? (?:v(?:ersion)?\.? ?)?2\.0\b", re.I), "Apache-2.0"),
    (
        re.compile(r"\bGNU Free Documentation Licen[sc]e,? (?:v(?:ersion)?\.? ?)?1\.3\b.{0,20}\blater\b", re.I),
        "GFDL-1.3-or-later",
    ),
    (re.compile(r"\bGNU Free Documentation Licen[sc]e,? (?:v(?:ersion)?\.? ?)?1\.3\b", re.I), "GFDL-1.3-only"),
    (re.compile(r"\bOpen Government Licen[sc]e,? (?:v(?:ersion)?\.? ?)?3\.0\b", re.I), "OGL-UK-3.0"),
)
_CC_SHORT = re.compile(
    r"\bCC[ -]?(?:(0|Zero)|(BY(?:[ -]NC)?(?:[ -](?:SA|ND))?))(?:[ -]?(?:v\.? ?)?(\d\.\d)"
    r"(?: ([A-Z]{2,3})\b)?)?(?![\w.-]*\d)",
    re.IGNORECASE,
)
_CC_LONG = re.compile(
    r"Creative[ -]Commons[ ,:–—-]*(?:\(?CC[\w -]{0,12}\)? )?(?:(Zero|CC0|Public Domain Dedication)|"
    r"(Attribution|Namensnennung|Reconocimiento|Atribución|Atribuição|Attribuzione|Paternité|Naamsvermelding))"
    r"((?:[ ,/–—-]*(?:and )?(?:Non[ -]?Commercial|Share[ -]?Alike|No[ -]?Deriv(?:at(?:iv)?e)?s?(?: Works)?|"
    r"Nicht[ -]?kommerziell|"
    r"Weitergabe unter gleichen Bedingungen|Keine Bearbeitungen?|No ?Comercial|Compartir ?Igual|Sin ?Obra ?Derivada|"
    r"Pas d['’]Utilisation Commerciale|Partage dans les mêmes conditions|Pas de Modification|Non commerciale|"
    r"Condividi allo stesso modo|Compartilha ?Igual|NietCommercieel|GelijkDelen))*)"
    r"[ ,]*(?:licen[sc]e )?(?:v(?:ersion)?\.? ?)?(\d\.\d)?",
    re.IGNORECASE,
)
_PARTS_OF_LONG = (
    ("nc", re.compile(r"commerci|kommerziell|comercial", re.I)),
    ("nd", re.compile(r"deriv|bearbeitung|modification", re.I)),
    ("sa", re.compile(r"alike|gleichen|igual|mêmes|stesso|gelijk", re.I)),
)
_GRANT = re.compile(
    r"licen[sc]ed|licen[sc]e\b|licen[sc]ing|under (?:an? |the )?(?:terms of )?(?:an? |the )?(?:Creative|CC)|"
    r"(?:available|released|published|distributed|shared|provided) (?:\w+ ){0,3}under|"
    r"lizenz|licencia|sous licence|licenza|licença|licentie|licens|лиценз|ライセンス|许可|授權|lisans",
    re.IGNORECASE,
)
_OF_SOMETHING_ELSE = re.compile(
    r"\b(?:photo(?:s|graph\w*)?|images?|pictures?|illustrations?|figures?|icons?|fonts?|music|videos?|maps?|audio|"
    r"source code|code|software|datasets?|foto\w*|bild\w*|imagen|immagine)\b",
    re.IGNORECASE,
)
_OF_PAGE = re.compile(
    r"\b(?:this|our|all|the|user|its|except|unless)\b(?: \w+){0,2}? (?:work|page|site|website|contents?|texts?|"
    r"article|post|blog|document|documentation|materials?|contributions?|where|otherwise|noted|book|wiki|publication|paper|story|"
    r"course|guide|journal)\b|^\W*(?:content|contents|text|contributions?|documentation|except where|unless)\b|"
    r"\b(?:text|content|contents) (?:is|are)\b|"
    r"\b(?:diese[rs]?|der inhalt|alle inhalte|die inhalte|cet|cette|ce|le contenu|este|esta|el contenido|"
    r"o conteúdo|questo|questa|deze|dit|denna|detta|ten|ta)\b|этот|эта|本|この|此|이",
    re.IGNORECASE,
)
_DENIES = re.compile(
    r"\?|\bnot\b|n['’]t\b|\bno longer\b|\buntil\b|\bif\b|\bwere\b|\bsome\b|\bsuch as\b|\bused to\b|\bread more\b|"
    r"\babout\b|\bnicht\b|\bkeine?r?\b|\bbis \d|\bne [\w' ]{0,20}pas\b|\bno est|\bnon (?:è|sono)\b|\bniet\b",
    re.IGNORECASE,
)
"""What makes a sentence about a licence none that grants it."""
_BEFORE_SUBJECT = re.compile(
    r"^\W*(?:©|copyright|\(c\))[^.|]*|\b(?:is|are|be|under|released|available|published)\b", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"(?<=[.!?;。])\s+(?=[^\sa-z\d])|\s[|·•]\s|\s*\n")
_NAMED = re.compile(r"Creative|CC|MIT|Apache|Free Documentation|Open Government")
_BLOCKS = ("p", "li", "div", "td", "dd", "small", "footer", "section", "center", "address", "body")
_QUOTED = re.compile(
    r"quote|comment|reply|replies|widget|sidebar|related|recommend|teaser|promo|gallery|caption|credit|thumb|carousel|"
    r"embed|signature|advert",
    re.IGNORECASE,
)
_NOT_OF_PAGE = frozenset({"blockquote", "q", "figure", "figcaption", "aside", "iframe", "template", "noscript", "cite"})
_FOOTER = re.compile(
    r"(?:^|[\s_-])(?:footer|foot|colophon|copyright|licen[sc]e|legal|imprint|site-?info)", re.IGNORECASE
)
_WORKS = (
    *("WebPage", "WebSite", "CreativeWork", "Article", "NewsArticle", "BlogPosting", "Blog", "TechArticle", "Recipe"),
    *("ScholarlyArticle", "MedicalScholarlyArticle", "Report", "HowTo", "QAPage", "FAQPage", "AboutPage", "ItemPage"),
    *("DiscussionForumPosting", "LearningResource", "Course", "Book", "Chapter", "APIReference", "MedicalWebPage"),
)
_DUBLIN_CORE = (
    *("dcterms.license", "dcterms.rights", "dc.rights", "dc.rights.license", "dc.license", "dc.rights.uri"),
    *("dc:rights", "dc:license", "dcterms:license", "dcterms:rights"),
)
_HINTS = (
    *("creativecommons.org/", "creative commons", "creative-commons", "free documentation licen", "mit licen"),
    *("apache licen", "open government licen"),
)
_SHORT_HINT = re.compile(r"CC(?:[ -](?:BY|Zero)|0)\b")
_REL = re.compile(r"""rel\s*=\s*["']?[^"'>]{0,60}\blicen[sc]e\b""")
_LONGEST = 800
"""Characters of a sentence or block that are looked at for what it grants."""
_DEPTH = 256
"""Elements around a link that are looked at."""
_MOST = 300
"""Links and words that are looked at."""


def has_hint(markup: str) -> bool:
    """Whether the markup of a page has anything of a licence in it that is worth parsing it for."""
    lower = markup.lower()  # many times as fast as a search that ignores case
    if any(hint in lower for hint in _HINTS) or _SHORT_HINT.search(markup):
        return True
    return "licen" in lower and _REL.search(lower) is not None


def page_license(head: Head, tree: HtmlElement | None, url: str | None) -> tuple[str | None, str | None]:
    """The licence of a page (SPDX or URL) and where it was found (one of `SOURCES`); None twice where it says none.

    `tree` is the page's, None where it has no hint of one (:func:`has_hint`); it stays as it is.
    """
    found: dict[str, str] = {}
    for source, name in _all(head, tree, url):
        found.setdefault(name, source)
    for name in [name for name in found if _is_without_version(name)]:
        if any(other.upper().startswith(_stem(name)) for other in found if other != name):
            del found[name]
    if not found:
        return None, None
    if len(found) > 1:
        return None, "conflict"
    return next(iter(found.items()))


def named(said: str) -> str | None:
    """The licence that a URL or a few words name, by SPDX or its URL; None where they name none that is known."""
    for pattern, name in _OTHER_WORDS:
        if pattern.search(said):
            return name
    if found := _CC_URL.search(said):
        return _creative_commons(*found.groups())
    for pattern, name in _OTHER_URLS:
        if found := pattern.search(said):
            return name or _SPELLED.get(found[1].lower(), found[1])
    if found := _CC_SHORT.search(said):
        zero, kind, version, port = found.groups()
        if zero:
            return _creative_commons(None, None, None, "zero", version)
        name = _by(kind.replace(" ", "-"), version)
        return f"{name}-{port}" if port in _PORTED.get(name, ()) else name
    if found := _CC_LONG.search(said):
        zero, _, parts, version = found.groups()
        if zero:
            return "CC0-1.0"
        kind = "-".join(["by", *(short for short, pattern in _PARTS_OF_LONG if pattern.search(parts))])
        return _by(kind, version)
    return None


def _creative_commons(
    kind: str | None, version: str | None, port: str | None, public: str | None, public_version: str | None
) -> str:
    if public:
        return "CC0-1.0" if public.lower().endswith("zero") else f"CC-PDM-{public_version or '1.0'}"
    assert kind is not None
    name = _by(kind, version)
    if not port or not version:
        return name
    if port.upper() in _PORTED.get(name, ()):
        return f"{name}-{port.upper()}"
    return f"https://creativecommons.org/licenses/{kind.lower()}/{version}/{port.lower()}/"


def _by(kind: str, version: str | None) -> str:
    if version:
        return f"CC-{kind.upper()}-{version}"
    return f"https://creativecommons.org/licenses/{kind.lower()}/"


def _is_without_version(name: str) -> bool:
    is_creative_commons = name.startswith("https://creativecommons.org/") and not re.search(r"\d", name)
    return is_creative_commons or re.search(r"gnu\.org/.*/fdl", name) is not None


def _stem(name: str) -> str:
    return "GFDL-" if "/fdl" in name else f"CC-{name.rstrip('/').rpartition('/')[2].upper()}-"


def _all(head: Head, tree: HtmlElement | None, url: str | None) -> Iterator[tuple[str, str]]:
    for link in head.links:
        if link.rel & {"license", "licence"} and (name := _at(link.href, head, url)):
            yield "rel", name
    for node in typed(head.json_ld.main, _WORKS):
        for value in _values(node.get("license")):
            said = (
                text_in(value.get("url") or value.get("@id") or value) if isinstance(value, Mapping) else text_in(value)
            )
            if said and (name := named(said) or (_at(said, head, url) if "/" in said else None)):
                yield "json_ld", name
    for said in head.contents(*_DUBLIN_CORE):
        if name := named(said):
            yield "dublin_core", name
    for link in head.links:
        if link.rel & {"dcterms.license", "dc.rights"} and (name := named(link.href)):
            yield "dublin_core", name
    if tree is not None:
        yield from _in_body(head, tree, url)


def _values(said: Any) -> list[Any]:
    return said if isinstance(said, list) else [said] if said else []


def _at(href: str, head: Head, url: str | None) -> str | None:
    """The licence at an address of the page, by SPDX, or its URL; None where it is no URL of the web."""
    if name := named(href):
        return name
    found = head.resolved(href, url)
    return found if found and urlsplit(found).path not in ("", "/") else None


def _in_body(head: Head, tree: HtmlElement, url: str | None) -> Iterator[tuple[str, str]]:
    main = _main_part(tree)
    for link, is_marked in islice(_links(tree), _MOST):
        href = link.get("href") or ""
        if (place := _place(link, main)) is None:
            continue
        if not (is_marked or _is_badge(link) or _grants(_sentence_of(link), place)):
            continue
        if name := _at(href, head, url) if is_marked else named(href):
            yield "rel" if is_marked else "link", name
    for element, words in islice(_words(tree), _MOST):
        if place := _place(element, main):
            for sentence in _SENTENCE_END.split(words):
                name = named(sentence)
                if name and _grants(sentence, "software" if name in _OF_SOFTWARE else place):
                    yield "text", name


def _grants(sentence: str, place: str) -> bool:
    """Whether a sentence grants a licence for the page that it stands on, in its `main` part or its `footer`.

    What it grants something for stands before the words that grant: the page or its text, or, but for a licence of
    `software`, nothing at all.
    """
    if _DENIES.search(sentence):
        return False
    grant = _GRANT.search(sentence)
    if place != "footer" and grant is None:
        return False
    subject = sentence[: grant.start()] if grant else ""
    other, own = _OF_SOMETHING_ELSE.search(subject), _OF_PAGE.search(subject)
    if other:
        return own is not None and own.end() <= other.start()
    if own is not None or place == "software":
        return own is not None
    return place == "footer" or not any(map(str.isalnum, _BEFORE_SUBJECT.sub("", subject)))


def _links(tree: HtmlElement) -> Iterator[tuple[HtmlElement, bool]]:
    """The links that may name the licence, and whether each is marked as such a link."""
    for link in tree.iter("a"):
        is_marked = not {"license", "licence"}.isdisjoint((link.get("rel") or "").lower().split())
        if is_marked or "creativecommons.org/" in (link.get("href") or ""):
            yield link, is_marked


def _main_part(tree: HtmlElement) -> HtmlElement | None:
    """The only article, or the main element; None where the page names none, and all of its body counts."""
    articles = list(islice(tree.iter("article"), 2))
    main = next(tree.iter("main"), None)
    if main is None:
        main = next(iter(tree.xpath("//*[@role='main'][1]")), None)
    return main if main is not None else articles[0] if len(articles) == 1 else None


def _place(element: HtmlElement, main: HtmlElement | None) -> str | None:
    """Whether an element is of the page's `footer` or `main` part; None where of neither, or of something quoted."""
    in_main = main is None
    in_footer = False
    articles = 0
    for up in (element, *islice(element.iterancestors(), _DEPTH)):
        names = f"{up.get('class') or ''} {up.get('id') or ''}"
        if up.tag in _NOT_OF_PAGE or (up.tag not in ("body", "html") and _QUOTED.search(names)):
            return None
        articles += up.tag == "article"
        in_main = in_main or up is main
        # The footer of an article within the page is of that article.
        in_footer = in_footer or up.tag == "footer" or up.get("role") == "contentinfo" or bool(_FOOTER.search(names))
    if articles > 1:
        return None
    if in_footer and (articles == 0 or in_main):
        return "footer"
    return "main" if in_main else None


def _sentence_of(link: HtmlElement) -> str:
    """The sentence that a link stands in."""
    block = link
    for up in islice(link.iterancestors(), _DEPTH):
        block = up
        if up.tag in _BLOCKS:
            break
    words = " ".join(block.text_content().split())[:_LONGEST]
    own = " ".join(link.text_content().split())
    found = (sentence for sentence in _SENTENCE_END.split(words) if own and own in sentence)
    return next(found, words)


def _is_badge(link: HtmlElement) -> bool:
    """Whether a link is the button that Creative Commons has people put on their pages."""
    return any("creativecommons" in (image.get("src") or "") for image in link.iter("img"))


def _words(tree: HtmlElement) -> Iterator[tuple[HtmlElement, str]]:
    """The blocks of a page that have words about Creative Commons, with these words."""
    seen: set[HtmlElement] = set()
    for element in tree.iter():
        for text in (element.text, element.tail):
            if text and _NAMED.search(text) and element.tag not in ("script", "style"):
                around = _block(element)
                if around not in seen:
                    seen.add(around)
                    yield element, " ".join(around.text_content().split())[:_LONGEST]


def _block(element: HtmlElement) -> HtmlElement:
    for up in (element, *islice(element.iterancestors(), _DEPTH)):
        if up.tag in _BLOCKS:
            return up
    return element
