"""Discussions, and questions with answers: who wrote each post, and when, which answer was accepted, votes.

From schema.org's QAPage and DiscussionForumPosting, or from the markup around each post, whichever names more authors
and has more posts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from quarry_dagster.domains.view import MOST, PageView, filled, iso_date, said
from quarry_dagster.extract.published import day_in
from quarry_dagster.extract.threads import likely_posts_of, posts_of
from quarry_dagster.page import Node, types_of

if TYPE_CHECKING:
    from lxml.html import HtmlElement

Post = dict[str, Any]

_THREADS = ("DiscussionForumPosting", "SocialMediaPosting")
_ANSWERS = ("comment", "acceptedAnswer", "suggestedAnswer")
_NAMED = re.compile(
    r"(?:^|[\s_-])(?:user-?name|hn-?user|author|poster|post-?author|nick(?:name)?|display-?name|member-?name|user-?link|user)"
    r"(?:[\s_-]*(?:name|link|title))?(?=$|\s)",
    re.IGNORECASE,
)
"""Classes of what a post's author is named in."""
_NO_NAME = re.compile(r"avatar|title|rank|group|role|badge|count|info|meta|stats|image|icon|status|signature", re.I)
_PROFILE = re.compile(r"^(?:https?://[^/]+)?/~[\w-]+$|/(?:u|users?|members?|profile)/[^/]+/?|[?&]u(?:ser)?=\d")
_DATED = ("datetime", "title", "data-time", "data-timestamp", "data-date-string", "content")
_VOTES = re.compile(r"(?:^|[\s_-])(?:vote-?(?:count|s|number|value)|score|upvotes?|likes?-?count)(?:$|[\s_-])", re.I)
_ACCEPTED = re.compile(
    r"(?:^|[\s_-])(?:accepted(?:-answer)?|best-?answer|is-solution|solution|solved)(?:$|[\s_-])", re.I
)
_AROUND = 3_000
"""Elements around a post that are looked at."""
_LONGEST_NAME = 60
_INNER_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_VOTED = re.compile(r"([+-]?)(\d{1,9}|\d{1,3}(?:[., ]\d{3}){1,2})")
_NEAR = 200
"""Elements around a post that are looked at for a day that is written out."""
_FEW = 3
_LONGEST_DATE = 80
_OF_OTHERS = frozenset({"dd", "h1", "h2", "h3", "h4", "h5", "h6"})
"""What has a date that is not a post's: facts of its author, titles."""
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_OF_AUTHOR = re.compile(
    r"join|since|regist|birth|last|edit|modif|member|desde|depuis|seit|beigetreten|inscri|dabei", re.IGNORECASE
)
_LIKES = ("LikeAction", "AgreeAction")


def forum(view: PageView) -> dict[str, Any] | None:
    """`posts`: of each `author`, `date` (ISO 8601), `votes` and whether it is `accepted`; in the order of the page.

    A post that the page names to machines is followed by its comments, then its answers, each with its own.
    """
    if view.page_type != "forum":
        return None
    told = _told(view)
    is_whole = sum("author" in post for post in told) >= 2 and all("date" in post for post in told)
    seen = _seen(view, guess=not is_whole)
    best = max((told, seen), key=lambda posts: (sum("author" in post for post in posts), len(posts)))
    return {"posts": best} if any(best) else None


def _told(view: PageView) -> list[Post]:
    """The posts that the page names to machines."""
    found: list[Post] = []
    for page in view.nodes("QAPage") or view.nodes("Question"):
        questions = [page] if "Question" in types_of(page) else view.at(page.get("mainEntity"))
        for question in (node for node in questions[:1] if isinstance(node, Mapping)):
            found = list(islice(_posts_in(view, question), MOST))
            break
        if found:
            return found
    for thread in view.nodes(*_THREADS)[:1]:
        found = list(islice(_posts_in(view, thread), MOST))
    if len(found) < 2 and (comments := view.nodes("Comment", "Answer", "UserComments")):
        found = (found[:1] or []) + [_post(view, node) for node in comments[:MOST]]
    return found


def _posts_in(view: PageView, node: Node) -> Iterator[Post]:
    """A post and all that hang on it, each once, whatever they name as their comments."""
    waiting = [(node, "")]
    seen: set[int] = set()
    while waiting:
        post, role = waiting.pop()
        if id(post) in seen:
            continue
        seen.add(id(post))
        yield _post(view, post) | ({"accepted": True} if role == "acceptedAnswer" else {})
        below = [(each, name) for name in _ANSWERS for each in view.at(post.get(name)) if isinstance(each, Mapping)]
        waiting += reversed(below)


def _post(view: PageView, node: Node) -> Post:
    author = view.first(node.get("author") or node.get("creator"))
    votes = said(node.get("upvoteCount")) or _likes(view, node)
    day = said(node.get("dateCreated") or node.get("datePublished") or node.get("commentTime"))
    return filled(
        {
            "author": (said(author) or "")[:_LONGEST_NAME],
            "date": iso_date(day or ""),
            "votes": _as_votes(votes or ""),
        }
    )


def _likes(view: PageView, node: Node) -> str | None:
    """How many liked a post, by schema.org's InteractionCounter."""
    for counter in view.at(node.get("interactionStatistic")):
        if isinstance(counter, Mapping):
            action = view.first(counter.get("interactionType"))
            names = types_of(action) if isinstance(action, Mapping) else [said(action) or ""]
            if any(name.endswith(_LIKES) for name in names):
                return said(counter.get("userInteractionCount"))
    return None


def _as_votes(written: str) -> int | None:
    """A whole number of votes, with or without a separator of thousands."""
    found = _VOTED.fullmatch(written.strip())
    return int(found[1] + re.sub(r"\D", "", found[2])) if found else None


def _classes(element: HtmlElement) -> str:
    """The classes of an element, with a hyphen before each capital within a word."""
    return _INNER_CAPITAL.sub("-", element.get("class") or "")


def _seen(view: PageView, guess: bool) -> list[Post]:
    """The posts that the page's markup has; with `guess` also where only their likeness tells them."""
    tree = view.tree
    if tree is None:
        return []
    posts = (posts_of(tree) or (likely_posts_of(tree) if guess else []))[:MOST]
    held = Counter(up for post in posts for up in post.iterancestors())
    return [_around(post, held) for post in posts]


def _around(post: HtmlElement, held: Counter[HtmlElement]) -> Post:
    """What stands around the text of a post: in the outermost element that holds no other one."""
    container = post
    for up in post.iterancestors():
        if held[up] > 1 or up.tag == "body":
            break
        container = up
    elements = list(islice(_outside(post, container), _AROUND))
    if container.tag == "tr" and container.getprevious() is not None and not _author(container, elements):
        elements = [*islice(container.getprevious().iter("*"), _AROUND), *elements]  # it names who wrote what follows
    accepted = any(
        e.get("itemprop") == "acceptedAnswer" or _ACCEPTED.search(_classes(e))
        for e in (container, *islice(container.iterancestors(), 2), *elements[:50])
        if held[e] <= 1
    )
    return filled(
        {
            "author": _author(container, elements),
            "date": next((day for e in elements if (day := _date_at(e))), None) or _date_in_words(elements),
            "votes": next((votes for e in elements if (votes := _votes_at(e)) is not None), None),
            "accepted": True if accepted else None,
        }
    )


def _outside(post: HtmlElement, container: HtmlElement) -> Iterator[HtmlElement]:
    """The elements of a post's container in their order, but for those of its text."""
    from lxml.etree import iterwalk

    walk = iterwalk(container, events=("start",))
    for _, element in walk:
        if element is post:
            walk.skip_subtree()
        else:
            yield element


def _author(container: HtmlElement, elements: list[HtmlElement]) -> str | None:
    if name := (container.get("data-author") or container.get("data-user-name") or "").strip():
        return name[:_LONGEST_NAME]
    for element in elements:
        if element.get("itemprop") in ("author", "creator"):
            named = element.find(".//*[@itemprop='name']")
            if name := _name(element if named is None else named):
                return name
    for element in elements:
        classes = _classes(element)
        is_named = _NAMED.search(classes) and not _NO_NAME.search(classes)
        if (is_named or element.get("rel") == "author") and (name := _name(element)):
            return name
    profiles = (e for e in elements if e.tag == "a" and _PROFILE.search(e.get("href") or ""))
    terms = (e for e in elements if e.tag == "dt")  # FluxBB, PunBB
    return next((name for e in (*profiles, *terms) if (name := _name(e))), None)


def _name(element: HtmlElement) -> str | None:
    linked = next((link for link in element.iter("a") if any(map(str.isalnum, link.text_content()))), element)
    text = " ".join((element.get("content") or linked.text_content()).split())
    return text if 0 < len(text) <= _LONGEST_NAME and any(map(str.isalnum, text)) else None


def _date_at(element: HtmlElement) -> str | None:
    said_in = [value for name in _DATED if (value := element.get(name))]
    text = (element.text or "").strip()
    if len(text) < _LONGEST_NAME and text[:2].isdigit():
        said_in.append(text)
    return next((day for value in said_in if (day := iso_date(value))), None)


def _date_in_words(elements: list[HtmlElement]) -> str | None:
    """The first day that is written out around a post, but for one of its author, such as when they joined."""
    for element in elements[:_NEAR]:
        if len(element) > _FEW or _OF_AUTHOR.search(_classes(element)) or not _OF_OTHERS.isdisjoint(_tags(element)):
            continue
        parts = [element.text, *(part for child in element for part in (child.text, child.tail))]
        text = " ".join(filter(None, parts))
        is_of_post = len(text) < _LONGEST_DATE and _YEAR.search(text) and not _OF_AUTHOR.search(text)
        if is_of_post and (day := day_in(text)):
            return day
    return None


def _tags(element: HtmlElement) -> list[str]:
    return [str(up.tag) for up in (element, *islice(element.iterancestors(), _FEW))]


def _votes_at(element: HtmlElement) -> int | None:
    if element.get("itemprop") != "upvoteCount" and not _VOTES.search(_classes(element)):
        return None
    written = (element.get("data-value") or element.get("content") or element.text_content()).strip()
    return _as_votes(written)
