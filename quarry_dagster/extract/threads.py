"""The posts of a discussion: where the software of forums puts what their members wrote.

On such a page posts are the content, whatever stands around them, and the general extractors lose most of them: they
look for one article, and leave out what is called a comment.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_MADE_BY = (
    ("class", "js-post-body"),  # Stack Exchange
    ("data-role", "commentContent"),  # Invision
    ("class", "message-body"),  # XenForo 2
    ("class", "messageText"),  # XenForo 1
    ("class", "Post-body"),  # Flarum
    ("component", "post/content"),  # NodeBB
    ("class", "cooked"),  # Discourse
    ("class", "postmsg"),  # FluxBB, PunBB
    ("class", "post_body"),  # MyBB
    ("class", "js-post__content-text"),  # vBulletin 5
    ("class", "postcontent"),  # vBulletin 4
    ("id", "post_message_"),  # vBulletin 3
    ("id", "msg_"),  # SMF
    ("class", "bbp-reply-content"),  # bbPress
    ("class", "wpforo-post-content"),  # wpForo
    ("class", "lia-message-body-content"),  # Khoros
    ("class", "userContent"),  # Vanilla
    ("class", "comment_text"),  # Lobsters
    ("class", "commtext"),  # Hacker News
    ("class", "usertext-body"),  # Reddit
    ("class", "md-div"),  # Lemmy
    ("class", "forum-post-content"),
)
"""The attribute that marks the text of a post, and its value or the beginning of an id, by the software."""
_BY_CLASS = {value: i for i, (attribute, value) in enumerate(_MADE_BY) if attribute == "class"}
_BY_OTHER = [(i, attribute, value) for i, (attribute, value) in enumerate(_MADE_BY) if attribute not in ("class", "id")]
_BY_ID = re.compile(r"(post_message_|msg_)\d+")
_PHPBB = len(_MADE_BY)
_CONTAINERS = ("div", "article", "section", "td", "blockquote", "span", "li")
_NAMED = re.compile(
    r"(?:^|\s)(?:[\w-]*[_-])?(?:post|message|msg|comment|reply|answer|topic|thread|discussion\w*)s?[_-]*"
    r"(?:body|contents?|text|copy|message|inner|entry|main|prose)(?:$|\s)",
    re.IGNORECASE,
)
"""Classes that most other software gives to the text of a post."""
_NO_POST = re.compile(r"signature|^(?:bbcode_?)?quote|preview", re.IGNORECASE)
_FEW = 2
_NAMES = ("class", "id", "style", "role", "itemprop", "data-role", "component")
"""By these the general extractors take a part of a page for no content of it."""
_CODE = ("pre", "code")


def posts_of(tree: HtmlElement) -> list[HtmlElement]:
    """The elements that hold the texts of posts, in their order, by the marks that software of forums makes."""
    found: defaultdict[int, list[HtmlElement]] = defaultdict(list)
    for element in tree.iter(*_CONTAINERS):
        names = element.get("class", "").split()
        marks = [_BY_CLASS[name] for name in names if name in _BY_CLASS]
        marks += (i for i, attribute, value in _BY_OTHER if element.get(attribute) == value)
        if (name := element.get("id")) and (by_id := _BY_ID.fullmatch(name)):
            marks.append(_MADE_BY.index(("id", by_id[1])))
        if "content" in names and "postbody" in _classes_around(element):
            marks.append(_PHPBB)
        if element.get("itemprop") == "text" and "post" in names:  # Discourse, for those who run no scripts
            marks.append(_MADE_BY.index(("class", "cooked")))
        if marks and not any(map(_NO_POST.search, names)):
            found[min(marks)].append(element)
    return next((_outermost(found[i]) for i in sorted(found) if len(found[i]) >= _FEW), [])


def likely_posts_of(tree: HtmlElement) -> list[HtmlElement]:
    """The same for a page that is known to be a discussion, by microdata and by names in common use."""
    said: list[HtmlElement] = []
    named: defaultdict[tuple[str, ...], list[HtmlElement]] = defaultdict(list)
    for element in tree.iter(*_CONTAINERS):
        name = element.get("class", "")
        if element.get("itemprop") == "text":
            said.append(element)
        elif _NAMED.search(name) and not any(map(_NO_POST.search, name.split())):
            named[element.tag, *sorted(re.sub(r"\d+", "", name).split())].append(element)
    groups = [_outermost(group) for group in (said, *named.values()) if len(group) >= _FEW]
    return max(groups, key=lambda group: sum(len("".join(post.itertext())) for post in group), default=[])


def item_types(tree: HtmlElement) -> list[str]:
    """The types of schema.org that the page's microdata has once: those of which it has several are of its parts."""
    counts = Counter(name.rstrip("/").rpartition("/")[2] for name in tree.xpath("//@itemtype"))
    return [name for name, n in counts.items() if n == 1]


def as_page(posts: Sequence[HtmlElement]) -> HtmlElement:
    """A page that holds copies of these elements and nothing else."""
    from lxml.html import Element

    page, body, article = Element("html"), Element("body"), Element("article")
    page.append(body)
    body.append(article)
    for post in map(deepcopy, posts):
        post.tail, post.tag = None, "div"
        for element in post.iter():
            if element.tag not in _CODE:  # whose class names its language
                for name in _NAMES:
                    element.attrib.pop(name, None)
        article.append(post)
    return page


def _classes_around(element: HtmlElement) -> list[str]:
    parent = element.getparent()
    above = parent.getparent() if parent is not None else None
    return [name for each in (parent, above) if each is not None for name in each.get("class", "").split()]


def _outermost(elements: list[HtmlElement]) -> list[HtmlElement]:
    inside = set(elements)
    return [e for e in elements if not any(up in inside for up in e.iterancestors())]
