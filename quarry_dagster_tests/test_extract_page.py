"""What one page gives: text, metadata, language, or the reason why there is none."""

from __future__ import annotations

import datetime

import pytest
from lxml.etree import XPath
from lxml.html import document_fromstring
from trafilatura import xpaths

from quarry_dagster.extract import Extraction, Page, count_words, text_digest
from quarry_dagster.extract.decode import NotText, decode
from quarry_dagster.extract.expressions import asking_first
from quarry_dagster.extract.language import detect_language
from quarry_dagster.extract.page import extract_page
from quarry_dagster.extract.walls import is_wall
from quarry_dagster.profiles.settings import Extraction as Settings

FRENCH = (
    "Les élèves ont été reçus à l'école où ils préparent la fête du village. Ça ne s'arrêtera pas là, "
    "même après l'été : la mairie a déjà réservé la salle pour l'année prochaine."
)
ENGLISH = (
    "The harbour was rebuilt twice in the nineteenth century, and each time the town grew a little further "
    "along the shore. Fishing gave way to trade, and trade to summer visitors who came by the new railway."
)


def article(*paragraphs: str, head: str = "") -> str:
    body = "".join(f"<p>{p}</p>" for p in paragraphs)
    return (
        f"<html><head><title>The harbour</title>{head}</head><body><nav><a href='/'>Home</a></nav>"
        f"<article><h1>The harbour</h1>{body}</article><footer>Imprint</footer></body></html>"
    )


def extract(body: str | bytes, content_type: str | None = "text/html; charset=utf-8", **settings) -> Extraction:
    raw = body.encode() if isinstance(body, str) else body
    return extract_page(Page("k", "https://example.org/a", raw, content_type), Settings(**settings))


def test_an_article():
    head = '<meta name="author" content="Ada Byron"><meta property="article:published_time" content="2021-03-05">'
    row = extract(article(ENGLISH, ENGLISH.replace("harbour", "bridge"), head=head))
    assert (row.key, row.outcome, row.detail) == ("k", "extracted", None)
    assert (row.title, row.author, row.date, row.language) == ("The harbour", "Ada Byron", "2021-03-05", "en")
    assert row.text and ENGLISH in row.text and "Imprint" not in row.text
    assert row.word_count == count_words(row.text) > 60
    assert row.text_digest == text_digest(row.text)
    assert row.extractor.startswith("trafilatura ") and row.extractor.endswith(" thorough")


@pytest.mark.parametrize("said", ["", "today", "March 5", "5 minutes ago", "12:30", "Monday", "yesterday"])
def test_no_date_is_made_up_from_the_day_of_extraction(said):
    row = extract(article(f"<time>{said}</time>", ENGLISH, ENGLISH + "!"))
    assert row.outcome == "extracted" and row.date is None


def test_running_out_of_memory_over_json_ld_is_raised_and_not_a_row_with_less_in_it(monkeypatch):
    def runs_out(scripts):
        raise MemoryError

    monkeypatch.setattr("quarry_dagster.page.head.read_json_ld", runs_out)
    with pytest.raises(MemoryError):
        extract(article(ENGLISH, ENGLISH + "!"))


def test_a_date_of_today_that_the_page_says_is_kept():
    today = datetime.date.today().isoformat()
    row = extract(article(ENGLISH, head=f'<meta property="article:published_time" content="{today}">'))
    assert row.date == today


@pytest.mark.parametrize(
    ("encoding", "content_type", "declared"),
    [
        ("utf-8", "text/html; charset=utf-8", ""),
        ("cp1252", "text/html; charset=iso-8859-1", ""),
        ("cp1252", "text/html", '<meta charset="windows-1252">'),
        ("cp1252", "text/html", ""),
        ("utf-8", None, ""),
        ("utf-8-sig", "text/html; charset=iso-8859-1", ""),
        ("utf-16", "text/html", ""),
        ("utf-8", "text/html; charset=iso-8859-1", ""),
        ("utf-8", "text/html", '<meta charset="iso-8859-1">'),
        ("cp1252", "text/html; charset=utf-8", '<meta charset="utf-8">'),
    ],
)
def test_encodings_declared_undeclared_and_wrongly_declared(encoding, content_type, declared):
    row = extract(article(FRENCH, head=declared).encode(encoding), content_type)
    assert row.text and FRENCH in row.text
    assert row.language == "fr"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1251", "Вчера в городе открыли новый мост через реку, и тысячи жителей вышли посмотреть на него."),
        ("koi8_r", "Вчера в городе открыли новый мост через реку, и тысячи жителей вышли посмотреть на него."),
        ("shift_jis", "昨日、新しい橋が開通し、多くの市民が川のほとりに集まって記念の式典を見守りました。"),
        ("euc_jp", "昨日、新しい橋が開通し、多くの市民が川のほとりに集まって記念の式典を見守りました。"),
        ("gb18030", "昨天，城里的新桥正式开通，成千上万的市民来到河边参观，庆祝活动一直持续到深夜。"),
        ("big5", "昨天，城裡的新橋正式開通，成千上萬的市民來到河邊參觀，慶祝活動一直持續到深夜。"),
        ("euc_kr", "어제 도시에 새로운 다리가 개통되어 수많은 시민들이 강가에 모여 축하 행사를 지켜보았다."),
        ("cp1253", "Χθες άνοιξε η νέα γέφυρα της πόλης και χιλιάδες κάτοικοι βγήκαν να τη δουν."),
        ("cp1255", "אתמול נפתח הגשר החדש בעיר ואלפי תושבים באו לראות אותו על גדת הנהר."),
        ("cp1256", "افتتح أمس الجسر الجديد في المدينة وخرج آلاف السكان لمشاهدته على ضفة النهر."),
        ("cp1250", "Včera byl ve městě otevřen nový most přes řeku a tisíce obyvatel se na něj přišly podívat."),
        ("iso8859_2", "Wczoraj otwarto w mieście nowy most, a tysiące mieszkańców przyszło świętować nad rzekę."),
        ("cp1254", "Dün şehirde yeni köprü açıldı ve binlerce kişi nehrin kıyısında toplanıp töreni izledi."),
        ("cp1252", "Gestern wurde die neue Brücke über den Fluß eröffnet; später gab es für alle Gäste Würstchen."),
    ],
)
def test_undeclared_encodings_of_many_languages(encoding, text):
    assert text in decode(article(text, text).encode(encoding), None)


def test_guessing_an_encoding_ends_on_a_long_script():
    """To look for letters from every place of the script on would take a day."""
    page = article(FRENCH, FRENCH + " Voilà.", head=f"<script>{'a' * 4_000_000}</script>")
    row = extract(page.encode("cp1252"), "text/html")
    assert row.text and FRENCH in row.text


def test_one_broken_byte_does_not_change_the_encoding():
    body = article(*[FRENCH] * 5).encode()
    assert decode(body + b"\xff", "text/html; charset=utf-8").count(FRENCH) == 5


@pytest.mark.parametrize(
    "body", [b"%PDF-1.7 \n%\xe2\xe3\xcf\xd3 stream", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00"]
)
def test_binary_is_not_text(body):
    with pytest.raises(NotText):
        decode(body, "text/html")
    assert extract(body).outcome == "error"


def test_given_plain_text_is_taken_as_it_is():
    row = extract(f"\r\n{ENGLISH}\r\n<p>5 < 6</p>\r\n", "text/plain; charset=utf-8")
    assert row.text == f"{ENGLISH}\n<p>5 < 6</p>"
    assert (row.outcome, row.extractor, row.title, row.language) == ("extracted", "plain text", None, "en")
    assert extract(" \n ", "text/plain").outcome == "empty"


def test_a_text_that_normalisation_would_blow_up_costs_itself() -> None:
    ligature = "\ufdfa"  # NFKC makes 18 characters of it
    row = extract(ligature * 20_000, "text/plain", max_page_mb=0.1)
    assert row.outcome == "error" and row.detail and "max_page_mb 0.1" in row.detail and row.text is None
    assert extract(f"{ligature} " * 5_000, "text/plain", max_page_mb=0.1).outcome == "extracted"
    assert extract("word " * 20_000, "text/plain", max_page_mb=0.1).outcome == "extracted", "it becomes no longer"


def test_a_short_text_is_kept_to_explain_itself_but_has_no_digest():
    row = extract("Only four words here", "text/plain", min_words=5)
    assert (row.outcome, row.text, row.word_count, row.text_digest) == ("too_short", "Only four words here", 4, None)
    assert row.detail and "min_words 5" in row.detail
    assert extract("Only four words here", "text/plain", min_words=4).outcome == "extracted"


@pytest.mark.parametrize(
    "body",
    [
        '<div id="root"></div><noscript>Please enable JavaScript.</noscript><script src="a.js"></script>',
        '<div id="app"></div><script src="/main.js"></script>',
        "<p>JavaScript is required to view this site. Please turn on JavaScript and reload the page.</p><p>Thanks</p>",
        "<p>Bitte aktivieren Sie JavaScript in Ihrem Browser, um diese Seite anzuzeigen.</p><p>Danke</p>",
        "<div>Veuillez activer JavaScript pour continuer à utiliser ce site.</div><p>Merci</p>",
        "<div>この先へ進むには JavaScript を有効にしてください。</div><p>。</p>",
        "<main><p>This website uses cookies to give you the best experience.</p><p>Accept all cookies</p></main>",
    ],
)
def test_shells_and_walls(body):
    row = extract(f"<html><head><title>App</title></head><body>{body}</body></html>")
    assert (row.outcome, row.text, row.text_digest) == ("javascript_only", None, None)
    assert row.detail


def test_an_article_on_javascript_is_no_shell():
    assert not is_wall("How to enable JavaScript in your browser. " + ENGLISH * 2)
    assert not is_wall("A short note on the harbour.")


def test_deep_nesting_is_read_or_reported():
    def nested(depth: int) -> str:
        paragraphs = f"<p>{ENGLISH}</p>" * 3
        return f"<html><head></head><body>{'<div>' * depth}{paragraphs}{'</div>' * depth}</body></html>"

    row = extract(nested(1000))
    assert row.outcome == "extracted" and row.text and ENGLISH in row.text
    row = extract(nested(3000))
    assert row.outcome == "empty" and row.detail and "depth" in row.detail
    # What came before the nesting is not passed off as the whole page.
    row = extract(nested(5).replace("</body>", "<i>" * 5000 + "</body>"))
    assert row.detail and "cut by the parser" in row.detail


@pytest.mark.parametrize("body", ["", "   ", '{"a": 1}', "<html><body></body></html>", "<!-- -->"])
def test_nothing_to_extract(body):
    row = extract(body)
    assert (row.outcome, row.text, row.word_count, row.text_digest) == ("empty", None, 0, None)


def test_language_of_short_and_of_wordless_texts():
    assert detect_language("Hello there") is None
    assert detect_language("12 345 678 910 - 2020 - 2021 - 2022 - 2023") is None
    assert detect_language(FRENCH) == "fr"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one two, three - 4!", 4),
        ("it's well-known", 2),
        ("हिन्दी में लिखा", 3),
        ("한국어 문장입니다", 2),
        ("人人生而自由。", 3),
        ("新しい橋 opened", 3),
        ("สวัสดีครับ", 4),
        ("", 0),
    ],
)
def test_count_words(text, words):
    assert count_words(text) == words


def test_text_digest_ignores_case_width_and_whitespace_only():
    assert text_digest("Straße  ＡＢＣ\n") == text_digest("STRASSE abc")
    assert text_digest("a b") != text_digest("ab")
    assert len(text_digest("")) == 32


@pytest.mark.parametrize(
    "expression", [e.path for of in vars(xpaths).values() if isinstance(of, list) for e in of if isinstance(e, XPath)]
)
def test_an_expression_that_asks_for_the_attribute_first_finds_the_same_elements(expression):
    values = [
        "",
        "author",
        "Author-name",
        "comments",
        "post-body",
        "sidebar",
        "hidden",
        "meta tags",
        "x entry-content y",
    ]
    attributes = [{}, *({a: v} for a in ("class", "id", "style", "rel") for v in values)]
    attributes += [{"id": v, "class": w} for v in values for w in values] + [
        {"class": v, "id": "author"} for v in values
    ]
    tags = ("a", "div", "p", "span", "section", "time")
    body = "".join(
        f"<{tag} {' '.join(f'{name}={value!r}' for name, value in of.items())}>x</{tag}>"
        for tag in tags
        for of in attributes
    )
    tree = document_fromstring(f"<html><body>{body}</body></html>")
    asking = XPath(asking_first(expression), namespaces={"re": "http://exslt.org/regular-expressions"})
    original = XPath(expression, namespaces={"re": "http://exslt.org/regular-expressions"})
    assert asking(tree) == original(tree)


def test_an_expression_whose_test_holds_without_the_attribute_stays_as_it_is():
    assert asking_first("//p[re:test(@class, '^(?:lead)?$')]") == "//p[re:test(@class, '^(?:lead)?$')]"
    assert asking_first("//p[re:test(@class, 'lead')]") == "//p[(@class and re:test(string(@class), 'lead'))]"
