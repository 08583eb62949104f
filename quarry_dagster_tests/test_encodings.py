"""Bytes become the text that was meant: a declared encoding is believed unless the bytes say otherwise."""

from __future__ import annotations

import codecs
import gzip
import io

import pytest

from quarry_dagster.byte_order import wide_encoding
from quarry_dagster.extract import Page
from quarry_dagster.extract.decode import NotText, decode
from quarry_dagster.extract.page import extract_page
from quarry_dagster.profiles.settings import Extraction
from quarry_dagster.seeds import Place, Problem, Seed, read_seeds
from quarry_dagster_tests.corpus import words

# A language, the encodings its pages are in, and words that they say.
TEXTS = {
    "fr": (
        "cp1252 iso8859_15",
        "Les élèves ont été reçus à l'école où ils préparent la fête du village. Ça ne s'arrêtera pas là, "
        "même après l'été : la mairie a déjà réservé la salle pour l'année prochaine.",
    ),
    "de": (
        "cp1252",
        "Gestern wurde die neue Brücke über den Fluß eröffnet; später gab es für alle Gäste Würstchen und "
        "Getränke, während die Kapelle größere Stücke spielte.",
    ),
    "es": (
        "cp1252",
        "El niño volvió a la montaña mañana por la mañana, según dijo su padre, porque el camión todavía no "
        "había llegado al pueblo donde vivían los señores.",
    ),
    "pt": (
        "cp1252",
        "A câmara não decidiu ainda quando começarão as obras da ponte, mas a população já está à espera das "
        "soluções prometidas há três anos.",
    ),
    "sv": (
        "cp1252",
        "Igår öppnades den nya bron över ån, och många människor kom för att äta, dricka och höra musik på kvällen.",
    ),
    "is": (
        "cp1252",
        "Það var mikið um að vera þegar nýja brúin yfir ána var opnuð í gær og þúsundir bæjarbúa komu til að "
        "skoða hana.",
    ),
    "ru": (
        "cp1251 koi8_r iso8859_5 cp866 mac_cyrillic",
        "Вчера в городе открыли новый мост через реку, и тысячи жителей вышли посмотреть на него. Праздник "
        "продолжался до позднего вечера.",
    ),
    "uk": (
        "cp1251 koi8_u",
        "Вчора в місті відкрили новий міст через річку, і тисячі жителів вийшли подивитися на нього. Свято "
        "тривало до пізнього вечора.",
    ),
    "bg": (
        "cp1251",
        "Вчера в града откриха новия мост над реката и хиляди жители излязоха да го видят. Празникът продължи "
        "до късно вечерта.",
    ),
    "pl": (
        "cp1250 iso8859_2",
        "Wczoraj otwarto w mieście nowy most, a tysiące mieszkańców przyszło świętować nad rzekę. Życzymy "
        "wszystkim gościom miłego wieczoru, źle nie będzie.",
    ),
    "cs": (
        "cp1250 iso8859_2",
        "Včera byl ve městě otevřen nový most přes řeku a tisíce obyvatel se na něj přišly podívat. Žádný z "
        "nich nelitoval, že přišel, a šťastně zůstal až do večera.",
    ),
    "hu": (
        "cp1250 iso8859_2",
        "Tegnap megnyitották az új hidat a városban, és több ezer lakos jött el megnézni. Az ünnepség késő "
        "estig tartott, és a főtéren tűzijáték is volt, örültek a gyerekek.",
    ),
    "ro": (
        "iso8859_2 cp1250",
        "Ieri a fost deschis noul pod peste râu, iar mii de locuitori au venit să îl vadă. Sărbătoarea a "
        "continuat până târziu în noapte, în centrul oraşului.",
    ),
    "hr": (
        "cp1250 iso8859_2",
        "Jučer je u gradu otvoren novi most preko rijeke, a tisuće stanovnika došle su ga vidjeti. Slavlje je "
        "trajalo do kasno u noć, uz šumove i žamor ljudi iz čitave županije.",
    ),
    "tr": (
        "cp1254 iso8859_9",
        "Dün şehirde yeni köprü açıldı ve binlerce kişi nehrin kıyısında toplanıp töreni izledi. Çocuklar "
        "için ayrıca küçük bir eğlence de düzenlendi, akşam ışıklar yandı.",
    ),
    "el": (
        "cp1253 iso8859_7",
        "Χθες άνοιξε η νέα γέφυρα της πόλης και χιλιάδες κάτοικοι βγήκαν να τη δουν. Η γιορτή συνεχίστηκε "
        "μέχρι αργά το βράδυ.",
    ),
    "he": (
        "cp1255 iso8859_8",
        "אתמול נפתח הגשר החדש בעיר ואלפי תושבים באו לראות אותו על גדת הנהר. החגיגה נמשכה עד שעה מאוחרת בלילה.",
    ),
    "ar": (
        "cp1256 iso8859_6",
        "افتتح أمس الجسر الجديد في المدينة وخرج آلاف السكان لمشاهدته على ضفة النهر. استمر الاحتفال حتى وقت "
        "متأخر من الليل.",
    ),
    "th": ("cp874 tis_620", "เมื่อวานนี้มีการเปิดสะพานใหม่ข้ามแม่น้ำ และประชาชนหลายพันคนมาชมพิธีเปิด งานเลี้ยงดำเนินไปจนถึงดึก"),
    "lt": (
        "cp1257",
        "Vakar mieste buvo atidarytas naujas tiltas per upę, ir tūkstančiai gyventojų atėjo jo pažiūrėti. "
        "Šventė tęsėsi iki vėlyvo vakaro, žmonės džiaugėsi ir šoko aikštėje.",
    ),
    "lv": (
        "cp1257",
        "Vakar pilsētā tika atklāts jaunais tilts pār upi, un tūkstošiem iedzīvotāju ieradās to apskatīt. "
        "Svētki turpinājās līdz vēlam vakaram, cilvēki priecājās un dziedāja.",
    ),
    "ja": (
        "cp932 euc_jp iso2022_jp",
        "昨日、新しい橋が開通し、多くの市民が川のほとりに集まって記念の式典を見守りました。市議会は火曜日に、昨年の冬に石が動いたため、川にかかる古い橋を再建することを決めた。",
    ),
    "zh": (
        "gb18030 gb2312",
        "昨天，城里的新桥正式开通，成千上万的市民来到河边参观，庆祝活动一直持续到深夜。市议会星期二决定重建横跨河流的旧桥。",
    ),
    "tw": (
        "big5",
        "昨天，城裡的新橋正式開通，成千上萬的市民來到河邊參觀，慶祝活動一直持續到深夜。市議會星期二決定重建橫跨河流的舊橋。",
    ),
    "ko": (
        "euc_kr",
        "어제 도시에 새로운 다리가 개통되어 수많은 시민들이 강가에 모여 축하 행사를 지켜보았다. "
        "시의회는 화요일에 옛 다리를 다시 짓기로 결정했다.",
    ),
}
DECLARED = (
    *("", "iso-8859-1", "windows-1252", "utf-8", "windows-1251", "koi8-r", "iso-8859-2", "windows-1250"),
    *("windows-1254", "iso-8859-7", "windows-1255", "windows-1256", "windows-874", "windows-1257"),
    *("shift_jis", "euc-jp", "gb2312", "big5", "euc-kr", "iso-2022-jp", "utf-16", "no-such-charset", "hex", "rot13"),
)


def page(text: str, head: str = "") -> str:
    english = "<p>Some words of English stand here too, as they often do.</p>"
    paragraphs = f"<p>{text}</p>" * 2
    return f"<html><head>{head}<title>x</title></head><body><article>{paragraphs}{english}</article></body></html>"


@pytest.mark.parametrize(
    ("language", "encoding"), [(name, encoding) for name, (all_, _) in TEXTS.items() for encoding in all_.split()]
)
def test_whatever_is_declared_the_text_is_read(language: str, encoding: str) -> None:
    text = TEXTS[language][1]
    for declared in DECLARED:
        by_header = f"text/html; charset={declared}" if declared else "text/html"
        assert text in decode(page(text).encode(encoding), by_header), f"header {declared}"
        meta = f"<meta charset={declared}>" if declared else ""
        assert text in decode(page(text, meta).encode(encoding), "text/html"), f"meta {declared}"


@pytest.mark.parametrize("declared", DECLARED)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "ascii"])
def test_what_shows_itself_needs_no_declaration(encoding: str, declared: str) -> None:
    text = "The café opened" if encoding != "ascii" else "The cafe opened"
    assert text in decode(page(text, f"<meta charset='{declared}'>").encode(encoding), f"text/html; charset={declared}")


@pytest.mark.parametrize(
    "text",
    [
        "It’s late",
        "£50 and more",
        "25 °C",
        "© 2020 Acme",
        "a naïve café",
        "“quoted”",
        "5 – 6",
        "½ cup",
        "Müller",
        "10×20",
    ],
)
@pytest.mark.parametrize("declared", ["", "utf-8", "iso-8859-1"])
def test_a_single_sign_in_an_english_page_is_read(text: str, declared: str) -> None:
    assert text in decode(page(text).encode("cp1252"), f"text/html; charset={declared}" if declared else None)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (page("Größe " * 20).encode() + b"\xff", "Größe"),
        (page("Größe " * 20).encode().replace(b"e </p>", b"e \x92</p>"), "Größe"),
        (page("“a” " * 20).encode().replace(b"\xe2\x80\x9c", b"\x80\x9c", 2), "“a”"),
        (page(TEXTS["ja"][1] * 3).encode("cp932").replace(b"\x8a\xee", b"\xff", 1), "市議会は火曜日に"),
        (page(TEXTS["ja"][1] * 3).encode("euc_jp").replace(b"</p>", b"\x8f</p>", 1), "市議会は火曜日に"),
        (page(TEXTS["ko"][1] * 3).encode("cp949")[:-80], "시의회는"),
        (page(TEXTS["ru"][1] * 3).encode("cp1251").replace(b"</p>", b"\x98</p>", 1), "Праздник"),
    ],
)
@pytest.mark.parametrize("declared", ["", "iso-8859-1", "big5"])
def test_a_damaged_byte_does_not_change_the_encoding(body: bytes, text: str, declared: str) -> None:
    assert text in decode(body, f"text/html; charset={declared}" if declared else None)


def test_a_page_whose_declared_encoding_is_wrong_is_text_and_not_binary() -> None:
    body = page(TEXTS["ja"][1], "<meta charset=shift_jis>").encode("euc_jp")
    row = extract_page(Page("k", "http://a.test/", body, "text/html"), Extraction(mode="fast"))
    assert (row.outcome, row.detail, row.language) == ("extracted", None, "ja")
    assert row.text and TEXTS["ja"][1] in row.text


def test_a_plain_text_that_quotes_a_declaration_declares_nothing() -> None:
    text = f"A page begins so: <meta charset=koi8-r>. {TEXTS['fr'][1]}"
    row = extract_page(Page("k", "http://a.test/", text.encode("cp1252"), "text/plain"), Extraction())
    assert row.text == text


@pytest.mark.parametrize("body", [bytes(range(256)) * 20, b"\x7fELF" + bytes(1000), b"\0\1\2\3" * 500])
def test_what_is_no_text_is_no_text(body: bytes) -> None:
    with pytest.raises(NotText):
        decode(body, "text/html; charset=utf-8")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "body",
    [b"QUJD" * 750_000, ("é" * 3_000_000).encode("cp1252"), b"\xe9" + b"<" * 3_000_000],
    ids=["base64", "no words", "no text"],
)
def test_megabytes_without_words_cost_little(body: bytes) -> None:
    row = extract_page(Page("k", "http://a.test/", body, "text/plain"), Extraction())
    assert row.outcome in ("too_short", "empty")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s.csv", 'url,text\nhttp://a.test/1,{}\nhttp://a.test/2,"{}\nmore"\n'),
        ("s.csv", 'url\ttext\r\nhttp://a.test/1\t{}\r\nhttp://a.test/2\t"{}\r\nmore"\r\n'),
        ("s.csv", "url;text\nhttp://a.test/1;{}\nhttp://a.test/2;{}"),
        ("s.jsonl", '{{"url": "http://a.test/1", "text": "{}"}}\n{{"url": "http://a.test/2", "text": "{}"}}\n'),
        ("s.ndjson", '{{"id": "1", "text": "{}"}}\n\n{{"id": "2", "text": "{}"}}'),
        ("s.txt", "# {}\nhttp://a.test/1\nhttp://a.test/2 # {}\n"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_tables_in_every_unicode_encoding_are_read(name: str, content: str, encoding: str, packed: bool) -> None:
    text = f"Größe und Maß: {' '.join(words(1).split())}"
    raw = content.format(text, text).encode(encoding)
    file = io.BytesIO(gzip.compress(raw) if packed else raw)
    name = f"{name}.gz" if packed else name
    items = list(read_seeds(file, name, max_body=1 << 20))
    seeds = [item for item in items if isinstance(item, Seed)]
    assert len(seeds) == len(items) == 2, items
    assert all(seed.body is None or text in seed.body.decode() for seed in seeds)
    # Reading goes on behind the first, in another process.
    place, first = Place(), []
    for item in read_seeds(io.BytesIO(file.getvalue()), name, max_body=1 << 20, place=place):
        first.append(item)
        break
    rest = list(read_seeds(io.BytesIO(file.getvalue()), name, max_body=1 << 20, place=place))
    assert (first + rest)[-1] == seeds[-1]


def test_a_file_put_together_of_several_may_have_a_mark_on_any_line() -> None:
    one = codecs.BOM_UTF8 + b'{"url": "http://a.test/%d"}\n'
    items = list(read_seeds(io.BytesIO(one % 1 + one % 2), "s.jsonl", max_body=1000))
    assert [item.url for item in items if isinstance(item, Seed)] == ["http://a.test/1", "http://a.test/2"]


def test_a_table_in_another_encoding_is_named_line_by_line() -> None:
    raw = "url,text\nhttp://a.test/1,plain\nhttp://a.test/2,Größe\n".encode("cp1252")
    one, two = read_seeds(io.BytesIO(raw), "s.csv", max_body=1000)
    assert isinstance(one, Seed) and isinstance(two, Problem)
    assert (two.line, two.reason) == (3, "not UTF-8; save the file as UTF-8")


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        (b"", None),
        (b"a", None),
        (b"\0", None),
        ("é".encode("utf-16"), "utf-16"),
        ("é".encode("utf-32"), "utf-32"),
        ("<p>é".encode("utf-16-le"), "utf-16-le"),
        ("url\n".encode("utf-32-be"), "utf-32-be"),
        (bytes(4096), None),
        (bytes(range(256)) * 16, None),
        (("天地玄黄" * 100).encode(), None),
    ],
)
def test_wide_text_is_told_by_its_mark_or_its_nuls(head: bytes, encoding: str | None) -> None:
    assert wide_encoding(head) == encoding
