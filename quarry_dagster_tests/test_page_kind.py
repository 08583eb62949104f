"""What kind of page it is, by its own word first; and discussions, of which all posts are content."""

from __future__ import annotations

import json

import pytest

from quarry_dagster.extract import Extraction, Page
from quarry_dagster.extract.page import extract_page
from quarry_dagster.page import PAGE_TYPE_SOURCES, PAGE_TYPES, page_type, read_head
from quarry_dagster.profiles.settings import Extraction as Settings

POSTS = [
    "The water pump makes a noise when it starts, and I do not know whether it can be mended at home.",
    "Mine did the same. It was a stone in the wheel, which came out with a pair of tongs.",
    "Look at the seal first, for a new pump costs as much as the whole machine did.",
]


def extract(page: str, url: str = "https://example.org/a", **settings) -> Extraction:
    return extract_page(Page("k", url, page.encode(), "text/html; charset=utf-8"), Settings(**settings))


def ld(kind: str, **more: object) -> str:
    return f"<script type='application/ld+json'>{json.dumps({'@type': kind, **more})}</script>"


@pytest.mark.parametrize(
    ("head", "url", "told"),
    [
        (ld("DiscussionForumPosting"), "/", ("forum", "schema.org")),
        (ld("https://schema.org/NewsArticle"), "/", ("article", "schema.org")),
        (ld("Recipe"), "/blog/x", ("recipe", "schema.org")),
        (ld("Product"), "/", ("product", "schema.org")),
        (
            "<meta name=citation_title content=x><meta name=citation_doi content=10.1/2>",
            "/",
            ("scientific", "schema.org"),
        ),
        ("<meta property=og:type content=product>", "/", ("product", "opengraph")),
        ("<meta property=og:type content=article>", "/x", ("article", "opengraph")),
        ("<meta property=og:type content=article>", "/forum/threads/x.1", ("forum", "url")),
        ("<meta name=generator content='Discourse 3.2'>", "/x", ("forum", "generator")),
        ("<meta name=generator content='MkDocs 1.6'>", "/x", ("documentation", "generator")),
        ("", "/docs/start", ("documentation", "url")),
        ("", "/products/lamp", ("product", "url")),
        ("", "/category/lamps", ("listing", "url")),
        ("", "/index.php?topic=4.0", ("forum", "url")),
        ("", "/2024/05/lamps", ("article", "url")),
        ("", "/services/repair", ("service", "url")),
        (ld("Organization"), "/x", ("other", None)),
    ],
)
def test_a_page_says_what_it_is(head: str, url: str, told: tuple[str, str | None]):
    assert page_type(read_head(f"<html><head>{head}</head>"), f"https://example.org{url}") == told
    assert told[0] in PAGE_TYPES and told[1] in (*PAGE_TYPE_SOURCES, None)


@pytest.mark.parametrize("url", [None, "", "http://", "https://[", "urn:quarry:a:1"])
def test_any_address_is_put_up_with(url: str | None):
    assert page_type(read_head("<html>"), url) == ("other", None)


def test_microdata_counts_once_and_parts_of_a_page_do_not():
    page = "<html><body><div itemscope itemtype='https://schema.org/Product'><p>A lamp.</p></div>"
    assert extract(page).page_type == "product"
    assert extract(page + page).page_type == "other"


SOFTWARE = {
    "stack exchange": ("<div class='s-prose js-post-body'>{}</div>", "<div>"),
    "xenforo": ("<article class='message-body js-selectToQuote'><div class='bbWrapper'>{}</div></article>", "<div>"),
    "invision": ("<div data-role='commentContent'>{}</div>", "<div class='comments'>"),
    "flarum": ("<div class='Post-body'>{}</div>", "<div>"),
    "discourse": ("<div class='post' itemprop='text'>{}</div>", "<noscript>"),
    "phpbb": ("<div class='postbody'><p class='author'>by ada</p><div class='content'>{}</div></div>", "<div>"),
    "vbulletin": ("<div id='post_message_{i}'>{}</div>", "<div>"),
    "fluxbb": ("<div class='postmsg'>{}</div><div class='postmsg postsignature'>buy lamps</div>", "<div>"),
    "lobsters": ("<li class='comment'><div class='comment_text'>{}</div></li>", "<ol class='comments'>"),
}


@pytest.mark.parametrize("software", SOFTWARE)
@pytest.mark.parametrize("mode", ["thorough", "fast"])
def test_all_posts_of_a_discussion_are_its_text(software: str, mode: str):
    post, around = SOFTWARE[software]
    posts = "".join(post.replace("{i}", str(i)).format(f"<p>{text}</p>") for i, text in enumerate(POSTS))
    row = extract(
        f"<html><head><title>Noise</title></head><body><nav>Home</nav>{around}{posts}</body></html>", mode=mode
    )
    assert row.page_type == "forum"
    assert row.text == "\n\n".join(POSTS)


def test_replies_called_comments_are_content_of_a_discussion_and_not_of_an_article():
    replies = "".join(f"<div class='comment'><div class='comment-body'><p>{text}</p></div></div>" for text in POSTS)
    story = (
        f"<article><h1>Noise</h1><p>{'The mill has stood at the river for as long as anyone knows. ' * 8}</p></article>"
    )
    page = "<html><head>{}</head><body>" + story + f"<div class='comments'>{replies}</div></body></html>"
    text = extract(page.format(ld("NewsArticle", headline="Noise"))).text or ""
    assert "The mill" in text and not any(post in text for post in POSTS)
    text = extract(page.format(ld("QAPage"))).text or ""
    assert all(post in text for post in POSTS)


BODY = f"<p>{POSTS[0] * 2}</p><p>{POSTS[1] * 2}</p>"


ELEMENT = json.dumps(["$", "article", None, {"children": [["$", "p", None, {"children": BODY}]]}])
STREAMED = [json.dumps([1, part]) for part in (f"5:{ELEMENT[:60]}", f"{ELEMENT[60:]}\n")]
"""What Next.js streams, cut where it likes."""


@pytest.mark.parametrize(
    "script",
    [
        f"<script id=__NEXT_DATA__ type=application/json>{json.dumps({'props': {'post': {'body': BODY}}})}</script>",
        "<script>self.__next_f.push({})</script><script>self.__next_f.push({})</script>".format(*STREAMED),
        f"<script type=application/json id=__NUXT_DATA__>{json.dumps([['Reactive', 1], {'a': 2}, 'T', BODY])}</script>",
        f"<script>window.__NUXT__={{layout:'default',data:[{{body:{json.dumps(BODY)}}}]}}</script>",
        f"<script>window.__NUXT__=(function(a,b){{return {{a:b}}}}('T',{json.dumps(BODY)}))</script>",
        f"<script>window.__NUXT__ = {json.dumps({'data': [{'contentHtml': BODY}]})};</script>",
        "<div id=data-preloaded data-preloaded='{}'></div>".format(
            json.dumps({"topic": json.dumps({"posts": [{"cooked": BODY}]})}).replace("'", "&#39;").replace("&", "&amp;")
        ),
        ld("NewsArticle", articleBody=f"{POSTS[0] * 2}\n\n{POSTS[1] * 2}"),
    ],
)
def test_the_text_of_a_page_that_is_a_script_is_in_its_data(script: str):
    shell = "<html><head><title>x</title></head><body><div id=app>Please enable JavaScript to use this app.</div>{}"
    row = extract(shell.format(script))
    assert row.outcome == "extracted" and row.text and row.text.split() == f"{POSTS[0] * 2} {POSTS[1] * 2}".split()
    assert row.detail == "its text is in the data of its script" or "articleBody" in script, (
        "read by trafilatura itself"
    )


@pytest.mark.parametrize(
    "script",
    [
        "<script>window.x = {not: 'json'}</script>",
        "<script type=application/json>[[[[</script>",
        "<script type=application/json>" + "[" * 100_000,
        f"<script type=application/json>{json.dumps({'labels': {str(i): 'Accept all' for i in range(500)}})}</script>",
        f"<script type=application/json>{json.dumps({'messages': {'cookies': POSTS[0] * 9}})}</script>",
    ],
)
def test_data_that_is_no_text_is_left(script: str):
    row = extract(f"<html><body><div>Please enable JavaScript to use this app.</div>{script}")
    assert row.outcome == "javascript_only"
