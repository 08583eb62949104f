"""Under which licence a page says that it may be used, and where it says so.

A licence counts where the page grants it for itself: in its head, its footer or its main part; not in a quotation, a
comment, another article, beside a picture, or in a sentence about something else. Two that differ are a conflict, and
none is taken. Names in words are read in English, German, French, Spanish, Portuguese, Italian and Dutch; one of
which a word is not understood grants nothing, for it may grant less than the words that are.

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
    r"\bCC[ -]?(?:(0|Zero)|(BY(?:[ -]NC)?(?:[ -](?:SA|ND))?))(?:[ /-]?(?:v\.? ?)?(\d\.\d)"
    r"(?: ([A-Z]{2,3})\b)?)?(?![\w.-]*\d)",
    re.IGNORECASE,
)
_PARTS_OF_LONG = {
    "nc": r"Non[ -]?Commercial(?: Use)?|Nicht[ -]?kommerziell|Keine kommerzielle Nutzung|No[ -]?Comercial|"
    r"(?:Uso )?N[ãa]o[ -]?Comercial|Non[ -]?commerciale|Niet[ -]?commercieel|Pas d['’]Utilisation Commerciale",
    "nd": r"No[ -]?Deriv(?:at(?:iv)?e)?s?(?: Works)?|Keine[ -]?Bearbeitung(?:en)?|Sin[ -]?Obras?[ -]?Derivadas?|"
    r"Sin[ -]?Deriv(?:ad[oa]s?|ar)|Sem[ -]?Deriva(?:[çc][õo]es|d[oa]s)|(?:Non|No)[ -]?opere[ -]?derivate|"
    r"Geen[ -]?Afgeleide[ -]?Werken|Pas de Modifications?",
    "sa": r"Share[ -]?Alike|Weitergabe unter gleichen Bedingungen|Compartir[ -]?Igual|(?:Com)?partilha[ -]?Igual|"
    r"Condividi allo stesso modo|Gelijk[ -]?Delen|Partage (?:dans les mêmes conditions|"
    r"des conditions initiales à l['’]identique)",
}
"""What may stand in the name of a licence besides the attribution, in the languages that are read."""
_ATTRIBUTION = (
    r"(?:Attribution|Namensnennung|Reconocimiento|Atribución|Atribuição|Attribuzione|Paternité|Naamsvermelding)"
)
_CC_NAME = (
    rf"{_ATTRIBUTION}(?: ?/ ?{_ATTRIBUTION})?"
    rf"(?P<parts>(?:[ ,/–—-]*(?:and )?(?:{'|'.join(_PARTS_OF_LONG.values())})(?![^\W\d_]))*)"
)
_CC_LONG = re.compile(
    r"Creative[ -]Commons[ ,:–—-]*(?:\(?CC[\w -]{0,12}\)? )?"
    rf"(?:(?P<zero>Zero|CC0|Public Domain Dedication)|{_CC_NAME}"
    r"[ ,]*(?:(?:public )?(?:licen[sc]e|licencia|lizenz|licença|licenza|licentie|international|unported|generic)"
    r"[ ,]*){0,3}"
    r"\(?(?:v(?:ersion)?\.? ?)?(?P<version>\d\.\d)?)",
    re.IGNORECASE,
)
_ALL_OF_NAME = re.compile(
    r"(?!.{1,80}\d\.\d)(?:\s*(?:$|[.;:)\]|»”\"'’。、）])|,?\s(?:and|or|but|which|except|unless|where|by|for|in|with|to|und|oder|et|ou|y|e|en|of)\b|"
    r"\s?\(?(?:licen|lizenz|internat|internacional|internazionale|unported|generic))|(?<=[ (,])$",
    re.IGNORECASE,
)
"""What may follow the name of a licence without a version: other words may be of the name, and limit what it grants."""
_LIMITED = re.compile(
    r"[\s,/&+–—-]*(?:(?:and|und|et|y|e|en) )?(?:n[cd]\b|sa\b|no[nt]?\b|non[ -]?c|no[ -]?deriv|nicht|keine|n[ãa]o|"
    r"sin|sem|pas|niet|geen|share|weitergabe|compart|partage|partilha|condividi|gelijk)",
    re.IGNORECASE,
)
"""What follows a short name that goes on in words."""
_NAME_IN_SENTENCE = re.compile(_CC_NAME, re.IGNORECASE)
_OURS = frozenset(
    [*_SPELLED.values(), *(name for _, name in _OTHER_URLS if name), *(name for _, name in _OTHER_WORDS), "CC0-1.0"]
)
_CC_OURS = re.compile(
    r"CC-(?:BY(?:-NC)?(?:-ND|-SA)?|PDM)-\d\.\d(?:-[A-Z]{2,3})?|"
    r"https://creativecommons\.org/licenses/by(?:-nc)?(?:-nd|-sa)?/(?:\d\.\d/[a-z]{2,3}/)?"
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
_FROM_ELSEWHERE = re.compile(
    r"\b(?:adapted|derived|taken|reproduced|reprinted|republished|translated|excerpt(?:ed)?|based|modified)\b"
    r"(?: \w+)? (?:from|on|of)\b|\b(?:courtesy|credit|source:)|"
    r"\bthe (?:\w+ )?(?:book|text|article|post|paper|publication|story|report|course|guide|journal|work|document|table|"
    r"chapter) (?:by|of|from) (?!(?:this|our|the (?:page|site|website))\b)",
    re.IGNORECASE,
)
"""Of a sentence whose licence is that of another work, or of what the page was made from."""
_OF_PAGE = re.compile(
    r"\b(?:this|our|all|the|user|its|except|unless)\b(?: \w+){0,2}? (?:work|page|site|website|contents?|texts?|"
    r"article|post|blog|document|documentation|materials?|contributions?|where|otherwise|noted|wiki)\b"
    r"(?! (?:by|of|from) (?!(?:this|our|the (?:page|site|website))\b))|"
    r"\b(?:this|our)\b(?: \w+){0,2}? (?:work|page|article|post|text|document|book|publication|paper|story|course|guide|"
    r"journal)\b|"
    r"^\W*(?:content|contents|text|contributions?|documentation|except where|unless)\b|"
    r"\b(?:text|content|contents) (?:is|are)\b|"
    r"\b(?:diese[rs]?|der inhalt|alle inhalte|die inhalte|cet|cette|ce|le contenu|este|esta|el contenido|"
    r"o conteúdo|questo|questa|deze|dit|denna|detta|ten|ta)\b|этот|эта|本|この|此|이",
    re.IGNORECASE,
)
_DENIES = re.compile(
    r"\?|\bnot\b|n['’]t\b|\bno longer\b|\buntil\b|\bif\b|\bwere\b|\bsome\b(?! rights reserved)|\bsuch as\b|"
    r"\bused to\b|\bread more\b|"
    r"\babout\b|\bnicht\b|\bkeine?r?\b|\bbis \d|\bne [\w' ]{0,20}pas\b|\bno est|\bnon (?:è|sono)\b|\bniet\b",
    re.IGNORECASE,
)
"""What makes a sentence about a licence, but for its name, none that grants it."""
_BEFORE_SUBJECT = re.compile(
    r"^\W*(?:©|copyright|\(c\))[^.|]*|\b(?:is|are|be|under|released|available|published)\b", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"(?<=[.!?;。])\s+(?=[^\sa-z\d])|\s[|·•]\s|\s*\n")
_NAMED = re.compile(r"Creative|CC|MIT|Apache|Free Documentation|Open Government")
_BLOCKS = ("p", "li", "div", "td", "dd", "small", "footer", "section", "center", "address", "body")
_QUOTED = re.compile(
    r"(?<!\S)(?!(?:no|has|with|without|hide|single-format|format)[-_])\S*?"
    r"(?:quote|comment|reply|replies|widget|related|recommend|teaser|promo|gallery|caption|credit|thumb|carousel|"
    r"embed|signature|advert)|"
    r"(?<!\S)(?:sidebar|aside|photo|picture|image|img)(?!\S)",
    re.IGNORECASE,
)
"""Classes and ids of what is not the page's own; one that only says what the page has beside it is none."""
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
_LONGEST_CAPTION = 200
"""Characters that are said of a picture, at most."""
_OF_BUTTONS = ("creativecommons", "licensebuttons.net")
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
        if not version and _LIMITED.match(said, found.end()):
            return None
        name = _by(kind.replace(" ", "-"), version)
        return f"{name}-{port}" if port in _PORTED.get(name, ()) else name
    if found := _CC_LONG.search(said):
        return _in_words(found)
    return None


def _in_words(found: re.Match[str]) -> str | None:
    """The licence that a name in words means; None where a word of it is not understood: it may grant less."""
    if found["zero"]:
        return "CC0-1.0"
    if not found["version"] and not _ALL_OF_NAME.match(found.string, found.end()):
        return None
    parts = found["parts"]
    kind = ["by", *(short for short, words in _PARTS_OF_LONG.items() if re.search(words, parts, re.IGNORECASE))]
    return _by("-".join(kind), found["version"])


def shown(license_: str) -> str:
    """A licence as it may stand where no takedown reaches it: one that we name, never what a page wrote."""
    return license_ if license_ in _OURS or _CC_OURS.fullmatch(license_) else "a URL of its own"


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
    own = _only_article(tree if main is None else main)
    for link, is_marked in islice(_links(tree), _MOST):
        href = link.get("href") or ""
        if (place := _place(link, main, own)) is None:
            continue
        is_granted = not _is_of_picture(link) if is_marked or _is_badge(link) else _grants(_sentence_of(link), place)
        if not is_granted:
            continue
        if name := _at(href, head, url) if is_marked else named(href):
            yield "rel" if is_marked else "link", name
    for element, words in islice(_words(tree), _MOST):
        if place := _place(element, main, own):
            for sentence in _SENTENCE_END.split(words):
                name = named(sentence)
                if name and _grants(sentence, "software" if name in _OF_SOFTWARE else place):
                    yield "text", name


def _grants(sentence: str, place: str) -> bool:
    """Whether a sentence grants a licence for the page that it stands on, in its `main` part or its `footer`.

    What it grants something for stands before the words that grant: the page or its text, or, but for a licence of
    `software`, nothing at all.
    """
    if _DENIES.search(_NAME_IN_SENTENCE.sub(" ", sentence)):
        return False
    grant = _GRANT.search(sentence)
    if place != "footer" and grant is None:
        return False
    subject = sentence[: grant.start()] if grant else ""
    other, own = _OF_SOMETHING_ELSE.search(subject), _OF_PAGE.search(subject)
    if _FROM_ELSEWHERE.search(subject):
        return False
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
    """The main element, or the only article; None where the page names none, and all of its body counts."""
    main = next(tree.iter("main"), None)
    if main is None:
        main = next(iter(tree.xpath("//*[@role='main'][1]")), None)
    return main if main is not None else _only_article(tree)


def _only_article(part: HtmlElement) -> HtmlElement | None:
    """The article that holds all others of a part of a page; None where it has several, or none."""
    first = next(part.iter("article"), None)
    for article in islice(part.iter("article"), 1, _MOST):
        if first not in islice(article.iterancestors(), _DEPTH):
            return None
    return first


def _place(element: HtmlElement, main: HtmlElement | None, own: HtmlElement | None) -> str | None:
    """Whether an element is of the page's `footer` or `main` part; None where of neither, or of something quoted.

    `own` is the article that the page is, None where it has several: what stands in one of these is of that one.
    """
    in_main = main is None
    in_footer = False
    articles, outermost = 0, None
    for up in (element, *islice(element.iterancestors(), _DEPTH)):
        names = f"{up.get('class') or ''} {up.get('id') or ''}"
        # What is around the main part is the page's, whatever its layout is called.
        is_around = in_main and main is not None
        if up.tag in _NOT_OF_PAGE or (up.tag not in ("body", "html") and not is_around and _QUOTED.search(names)):
            return None
        if up.tag == "article" and not is_around:
            articles += 1
            outermost = up
        in_main = in_main or up is main
        # The footer of an article within the page is of that article.
        in_footer = in_footer or up.tag == "footer" or up.get("role") == "contentinfo" or bool(_FOOTER.search(names))
    if articles > 1 or (outermost is not None and outermost is not own):
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
    return next(link.iter("svg"), None) is not None or any(map(_is_button, link.iter("img")))


def _is_button(image: HtmlElement) -> bool:
    source, words = (image.get("src") or "").lower(), (image.get("alt") or "").lower()
    return any(host in source for host in _OF_BUTTONS) or "creative commons" in words


def _is_of_picture(link: HtmlElement) -> bool:
    """Whether a link stands beside a picture, in a block that is of the picture, or in a sentence about one."""
    block = _block(link)
    pictures = (image for image in islice(block.iter("img"), _DEPTH) if not _is_button(image))
    words = " ".join(block.text_content().split())[:_LONGEST]
    if len(words) < _LONGEST_CAPTION and block.tag != "body" and next(pictures, None) is not None:
        return True
    own = " ".join(link.text_content().split())
    before = _sentence_of(link).partition(own)[0] if own else ""
    return _OF_SOMETHING_ELSE.search(before) is not None and _OF_PAGE.search(before) is None


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
