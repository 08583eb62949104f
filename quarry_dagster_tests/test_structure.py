"""Texts of pages keep their structure in Markdown, code character by character, and have a plain form."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml.html import HTMLParser, document_fromstring

from quarry_dagster.extract import Extraction, Page, normal_form, plain_form, text_digest
from quarry_dagster.extract.code_blocks import CodeBlocks
from quarry_dagster.extract.markdown import lines_of, unescaped
from quarry_dagster.extract.page import extract_page
from quarry_dagster.profiles.settings import Extraction as Settings

PROSE = (
    "The harbour was rebuilt twice in the nineteenth century, and each time the town grew a little further along "
    "the shore. Fishing gave way to trade, and trade to summer visitors who came by the new railway."
)


def extract(body: str, content_type: str = "text/html; charset=utf-8", **settings) -> Extraction:
    page = f"<html><head><title>The harbour</title></head><body><main><h1>The harbour</h1><p>{PROSE}</p>{body}</main>"
    whole = page if content_type.startswith("text/html") else body
    return extract_page(Page("k", "https://example.org/a", whole.encode(), content_type), Settings(**settings))


def text_of(body: str, **settings) -> str:
    text = extract(body, **settings).text
    assert text is not None
    return text


def fences(text: str) -> list[str]:
    """The code of each fence of a text in Markdown."""
    found: list[list[str]] = []
    is_open = False
    for line, kind in lines_of(text):
        if kind == "fence":
            is_open = not is_open
            found += [[]] * is_open
        elif kind == "code":
            found[-1] = [*found[-1], line]
    return ["\n".join(each) for each in found]


def test_headings_lists_tables_and_emphasis_are_kept():
    text = text_of(
        "<h2>Ways there</h2><ul><li>By <b>boat</b></li><li>By train<ul><li>from the north</li></ul></li></ul>"
        "<ol><li>Go to the pier</li><li>Wait</li></ol>"
        "<table><tr><th>Day</th><th>Boats</th></tr><tr><td>Monday</td><td>4</td></tr></table>"
    )
    for line in (
        "## Ways there",
        "- By **boat**",
        "  - from the north",
        "2. Wait",
        "| Day | Boats |",
        "| Monday | 4 |",
    ):
        assert line in text.split("\n")


def test_the_setting_plain_gives_the_words_without_marks():
    body = "<h2>Ways</h2><p>By <b>boat</b> or <code>rail</code>.</p><pre>a  *b*\n# c</pre>"
    row = extract(body, text_format="plain")
    assert row.text_format == "plain" and row.text
    assert row.text.split("\n")[2:] == ["Ways", "", "By boat or rail.", "", "a  *b*", "# c"]
    marked = extract(body)
    assert marked.text_format == "markdown" and marked.text_digest == row.text_digest


@pytest.mark.parametrize(
    ("markup", "code"),
    [
        ("<pre>if x:\n    y  = 1\n\n    z = '|*_`'</pre>", "if x:\n    y  = 1\n\n    z = '|*_`'"),
        ("<pre><code>one\n  two</code></pre>", "one\n  two"),
        ("<pre><span class='line'>one</span>\n<span class='line'>  two</span></pre>", "one\n  two"),
        ("<pre><div class='token-line'>one<br></div><div class='token-line'>  two<br></div></pre>", "one\n  two"),
        ("<pre><ol><li>one</li><li>  two</li></ol></pre>", "one\n  two"),
        ("<pre><span class='lineno'>1 </span>one\n<span class='lineno'>2 </span>  two</pre>", "one\n  two"),
        ("<pre><div><span class='x1'>1</span><div>one\n</div></div><div><b>2</b><div>  two</div></div></pre>", None),
        (
            "<table class='highlighttable'><tr><td class='linenos'><pre>1\n2</pre></td>"
            "<td class='code'><pre>one\n  two</pre></td></tr></table>",
            "one\n  two",
        ),
        (
            "<div class='syntaxhighlighter'><table><tr><td class='gutter'><div class='line'>1</div><div>2</div></td>"
            "<td class='code'><div>one</div><div>&nbsp;two</div></td></tr></table></div>",
            "one\n\xa0two",
        ),
        (
            "<table class='highlight js-file-line-container'><tr><td class='blob-num' data-line-number='1'></td>"
            "<td class='blob-code'>one</td></tr>"
            "<tr><td class='blob-num'></td><td class='blob-code'>  two</td></tr></table>",
            "one\n  two",
        ),
        ("<figure><pre>one\n  two</pre><figcaption>Listing 1</figcaption></figure>", "one\n  two"),
        ("<p>Call <code>one<br>  two</code></p>", "one\n  two"),
        ("<pre>one   \n \t\r\n&nbsp; two</pre>", "one   \n \t\n\xa0 two"),
        ("<pre><style>.n {color: red}</style>one<script>n()</script></pre>", "one"),
        (
            "<table class='hljs-ln'><tr><td class='hljs-ln-numbers'></td><td>one</td></tr>"
            "<tr><td class='hljs-ln-numbers'></td><td></td></tr><tr><td></td><td>two</td></tr></table>",
            "one\n\ntwo",
        ),
        ("<pre><ol><li>one</li>\n<li></li>\n<li>two</li></ol></pre>", "one\n\ntwo"),
        ("<pre>a ``` b\n```\nc</pre>", "a ``` b\n```\nc"),
    ],
)
def test_each_block_of_code_is_one_fence_with_its_lines_as_they_are(markup: str, code: str | None):
    text = text_of(f"{markup}<p>{PROSE[::-1]}</p>")
    assert fences(text) == [code or "one\n  two"]
    assert PROSE[::-1] in text.split("\n"), "what follows is prose"


def test_a_fence_names_the_language_of_its_code():
    assert "```python\nx = 1\n```" in text_of("<pre><code class='language-python'>x = 1</code></pre>")
    assert "```\nx = 1\n```" in text_of("<pre><code class='language-none'>x = 1</code></pre>")
    sphinx = "<div class='highlight-{} notranslate'><div class='highlight'><pre>x = 1</pre></div></div>"
    assert "```c++\nx = 1\n```" in text_of(sphinx.format("c++"))
    assert "```\nx = 1\n```" in text_of(sphinx.format("default"))


def test_code_within_a_line_stays_in_it():
    text = text_of("<p>Call <code>git\n  commit</code> and <code>a_b</code> now.</p>")
    assert "Call `git commit` and `a_b` now." in text.split("\n")


def test_nothing_is_escaped_that_a_reader_would_not_escape():
    said = "snake_case, a * b * c, [1], x &lt; y, #1 and 1. or - are what they are \\* here"
    text = text_of(f"<p>{said}</p><p>- no list</p><p># no heading</p><p>1. no list</p><p>H<sub>2</sub>O</p>")
    for line in (said.replace("&lt;", "<"), "- no list", "# no heading", "1. no list", "H2O"):
        assert line in text.split("\n")


def test_a_line_of_markup_that_ends_is_no_line_of_the_text():
    assert "One sentence in two lines." in text_of("<ul><li>One sentence\n   in two lines.</li></ul>")
    assert "one\ntwo" in text_of("<p>one<br>two</p>")


@pytest.mark.parametrize("begin", ["<section id='cookies'>", "<div id='s-cookies'><span id='a'></span><a></a>"])
def test_a_chapter_is_kept_whatever_its_heading_names(begin: str):
    text = text_of(f"{begin}<h2>Cookies</h2><p>Those that the server sets are kept for a day.</p>")
    assert "Those that the server sets" in text


def test_a_long_chapter_is_not_the_whole_of_a_page_that_names_no_main_part():
    chapters = "".join(
        f"<div class='chapter'><h2>{name}</h2>{f'<p>{PROSE} {name}</p>' * n}</div>"
        for name, n in (("Before", 1), ("War", 9), ("After", 1))
    )
    page = f"<html><head><title>A town</title></head><body><div>{chapters}</div></body></html>"
    text = extract_page(Page("k", "https://example.org/a", page.encode(), "text/html"), Settings()).text
    assert text is not None and {"## Before", "## War", "## After"} <= {*text.split("\n")}


@pytest.mark.parametrize(
    "around", ["<div>{}</div>", "{}", "<div><div>{}</div></div>", "<div>{}</div><div><p>An advert.</p></div>"]
)
@pytest.mark.parametrize("chapter", ["{}", "<div>{}</div>", "<dl><dd>{}</dd></dl>"])
def test_a_page_that_names_no_main_part_keeps_its_lists_and_headings(around: str, chapter: str):
    paragraphs = "".join(chapter.format(f"<p>{PROSE} {n}</p>") for n in "abc")
    body = f"<h1>Pancakes</h1>{paragraphs}<h2>Ingredients</h2><ul><li>2 eggs</li></ul>"
    page = f"<html><head><title>Pancakes</title></head><body>{around.format(body)}</body></html>"
    text = extract_page(Page("k", "https://example.org/a", page.encode(), "text/html"), Settings()).text
    assert text and text.endswith("c\n\n## Ingredients\n\n- 2 eggs")


@pytest.mark.parametrize(
    "reference", ["&#27;", "&#8;", "&#x1F;", "&#xFFFE;", "&#xD800;", "&#x110000;", "&#99999999999;"]
)
def test_a_reference_to_no_character_costs_only_itself(reference: str):
    assert "it is there and more &amp; more" in text_of(f"<p>it is {reference}there and more &amp;amp; more</p>")


@pytest.mark.parametrize(
    ("markup", "line"),
    [
        ("<p><code>GET /a/<var>id</var>/b</code> and <code>a<em>b</em>c</code></p>", "`GET /a/id/b` and `abc`"),
        ("<p>The option <code></code> is off.</p>", "The option is off."),
        ("<p>&amp;lt;b&amp;gt; and &amp;nbsp; and <code>&amp;lt;</code></p>", "&lt;b&gt; and &nbsp; and `&lt;`"),
        ("<h2>Ways<a class=headerlink href='#w'>\xb6</a></h2><p>There.</p>", "## Ways"),
        ("<h2><a href='#w'>#</a>Ways<span class=mw-editsection>[<a>edit</a>]</span></h2><p>x</p>", "## Ways"),
        ("<p>10<sup>6</sup>, x<sup>-2</sup>, 1<sup>st</sup></p>", "10^6, x^-2, 1st"),
        ("<p>so it is<sup><a href='#n1'>1</a></sup></p>", "so it is[1]"),
        ("<p>He said <q>yes, <b>I</b></q>.</p>", 'He said "yes, **I**".'),
        ("<p>```</p><p>no code</p>", "\\```"),
        ("<p>~~~ waves</p>", "\\~~~ waves"),
    ],
)
def test_what_stands_within_a_line_stays_as_it_was_meant(markup: str, line: str):
    text = text_of(markup)
    assert line in text.split("\n") and not fences(text)


def test_lines_of_a_poem_are_lines_and_its_stanzas_paragraphs():
    assert text_of("<p>one<br>two<br>\nthree<br><br>four<br>five</p>").endswith("one\ntwo\nthree\n\nfour\nfive")


def test_a_table_has_one_line_below_its_first_row():
    rows = "<tr><td>alpha</td><td>1</td></tr><tr><td>beta</td><td>2 | 3</td></tr>"
    assert text_of(f"<table>{rows}</table>").endswith("| alpha | 1 |\n|---|---|\n| beta | 2 \\| 3 |")
    headed = "<tr><th>a</th><th>b</th></tr><tr><th>c</th><th>d</th></tr>"
    assert text_of(f"<table>{headed}{rows}</table>").count("---|---") == 1


def test_a_list_in_a_cell_of_a_table_is_kept():
    row = "<tr><td>Monday</td><td><ul><li>10:00 AM - 8:00 PM</li><li>by appointment</li></ul></td></tr>"
    assert "| Monday | 10:00 AM - 8:00 PM by appointment |" in text_of(
        f"<table>{row}<tr><td>Sunday</td><td>none</td></tr></table>"
    )


def test_steps_that_are_links_are_kept_below_their_heading():
    steps = "".join(f"<li><a href='/{i}'>Do thing {i}</a></li>" for i in range(4))
    assert "3. Do thing 2" in text_of(f"<h2>How to</h2><ol>{steps}</ol>")
    assert "Do thing" not in text_of(f"<nav><h2>More</h2><ol>{steps}</ol></nav>")


GIVEN = "# no heading\n* a star, **two** and `ticks`\n| bars |\n```\nno code"


def test_a_given_text_is_plain_and_its_plain_form_is_itself():
    row = extract(GIVEN, "text/plain", min_words=0)
    assert (row.text, row.text_format, row.page_type) == (GIVEN, "plain", None)
    assert plain_form(GIVEN, "plain") == GIVEN


# Without backslashes: a sign behind one is no mark to the normal form, in code too.
MARKS = st.text(alphabet="ab1 \n*_`~#|>-=+.[]<", max_size=60)


@given(MARKS)
def test_the_normal_form_of_the_plain_form_is_that_of_the_text(text: str):
    assert normal_form(plain_form(text, "markdown")) == normal_form(text)


@given(st.text(alphabet="ab1 \n*_`~#|>-=+.\\[]<", max_size=60))
def test_a_text_that_was_never_escaped_loses_a_backslash_alone(text: str):
    assert unescaped(text).replace("\\", "") == text.replace("\\", "")


def test_marks_and_words_are_one_document():
    marked = "## Ways\n\n- By **boat**\n\n| Day | Boats |\n|---|---|\n| Monday | 4 |\n\n```python\nx = a_b\n```"
    assert text_digest(marked) == text_digest(plain_form(marked, "markdown"))
    assert plain_form(marked, "markdown") == "Ways\n\n- By boat\n\nDay Boats\nMonday 4\n\nx = a_b"


@pytest.mark.parametrize(
    "markup",
    [
        "<pre><div class=line-numbers>" * 50_000,
        "<code>" * 50_000 + "<br>",
        "<pre>" + "<span class=lineno>" * 50_000 + "1",
        "<table><tr><td><ul><li>" * 10_000,
        "<div class=comment-body itemprop=text>" * 20_000,
    ],
)
def test_nested_markup_takes_linear_time(markup: str):
    tree = document_fromstring(markup + "x", parser=HTMLParser(huge_tree=True))
    began = time.process_time()
    CodeBlocks(tree)
    half = document_fromstring(markup[: len(markup) // 2] + "x", parser=HTMLParser(huge_tree=True))
    between = time.process_time()
    CodeBlocks(half)
    assert between - began < 20 and time.process_time() - between < 20
