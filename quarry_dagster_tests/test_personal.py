"""Personal data is found where it stands, and what only looks like it is not."""

from __future__ import annotations

import random
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarry_dagster.personal import TYPES, Finding, personal_data, redact
from quarry_dagster_tests.corpus import words


def found(text: str) -> list[tuple[str, str]]:
    """Types and values of what is found."""
    return [(each.type, text[each.start : each.end]) for each in personal_data(text)]


PLANTED = [
    ("email", "ann.o'brien+lists@shore-mail.co.uk"),
    ("email", "анна@пример.рф"),
    ("email", "ann [at] shore [dot] org"),
    ("email", "ann(at)shore.org"),
    ("phone", "+49 (0)30 901820-0"),
    ("phone", "+44 20 7946 0018"),
    ("phone", "+15017122661"),
    ("phone", "(415) 861-5449"),
    ("phone", "415.861.5449"),
    ("ip", "81.143.69.142"),
    ("ip", "2a02:8108:9640:1c2a::7d3"),
    ("card", "4111 1111 1111 1111"),
    ("card", "5500-0055-5555-5559"),
    ("card", "3782 822463 10005"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB29NWBK60161331926819"),
    ("iban", "NO93 8601 1117 947"),
    ("national_id", "536-90-4399"),
    ("national_id", "54362315K"),
    ("national_id", "X-2482300W"),
    ("national_id", "RCCMNL83S18D969H"),
    ("national_id", "2 95 10 99 126 111 93"),
    ("national_id", "390.533.447-05"),
    ("national_id", "85.07.30-033.28"),
    ("national_id", "11010519491231002X"),
    ("national_id", "756.9217.0769.85"),
    (
        "secret",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF\n\n"
        + "MIIEowIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF0PQ7qzMrfXMb9pVmQfIvR0bGcCq\n" * 3
        + "-----END RSA PRIVATE KEY-----",
    ),
    ("secret", "AKIA" + "QYLPMN5HHHFPZAM2"),
    ("secret", "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO0pINUx"),
    ("secret", "xoxb-" + "2413452345-8723458234-hRTBLgyxFRTyuHjKqwZx"),
    ("secret", "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"),
    ("secret", "AIza" + "SyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe"),
]


@pytest.mark.parametrize(("kind", "value"), PLANTED, ids=[f"{kind}-{i}" for i, (kind, _) in enumerate(PLANTED)])
@pytest.mark.parametrize("around", ["Write or call {} today.", "{}", "One\n\n| {} | two |", "Reach us: {}, or wait."])
def test_what_is_planted_is_found_where_it_stands(kind: str, value: str, around: str) -> None:
    assert (kind, value) in found(around.format(value))


NAMED = [
    ("phone", "Tel: {}", "030 901820"),
    ("phone", "電話 {}", "03-1234-5678"),
    ("phone", "call us on {}", "0800 123 4567"),
    ("national_id", "Steuer-IdNr. {}", "36 574 261 809"),
    ("national_id", "his NHS number is {}", "943 476 5870"),
    ("national_id", "BSN: {}", "111222333"),
    ("national_id", "PESEL {}", "44051401359"),
    ("national_id", "Aadhaar no. {}", "2341 2341 2346"),
    ("national_id", "SIN {}", "123-456-782"),
    ("ip", "client at {} was banned", "5.61.34.12"),
    ("card", "credit card {}", "4012888888881881"),
    ("email", "send(to='{}')", "ann@shore.org"),
    ("email", "邮箱{}。", "ann@shore.org"),
    ("email", "see /{} there", "ann@shore.org"),
    ("phone", "Tlf. {}", "22 34 56 78"),
    ("phone", "Mob: {}", "07700 900123"),
    ("phone", "电话：{}", "010-65529988"),
    ("phone", "手机:{}", "13812345678"),
    ("phone", "tel {}", "0033142342000"),
    ("phone", "Phone: {}", "030 / 90 18 20"),
    ("ip", '[{}] - - "GET / HTTP/1.1"', "83.12.44.9"),
    ("ip", "http://{}/ is up", "83.12.44.9"),
    ("ip", "inet {} netmask", "83.12.44.9"),
    ("national_id", "my ssn is {}", "536904399"),
    ("secret", "postgres://admin:{}@db.shore.org/x", "Tr0ub4dor"),
    ("ip", "client_ip={} connected", "81.143.69.142"),
    ("ip", "GET /?ip={}", "52.14.33.7"),
    ("ip", "src={} dst=x", "52.14.33.7"),
    ("iban", "{}\u00a0and", "DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000"),
    ("iban", "{} is mine", "de89370400440532013000"),
    ("email", "<{}>", "info@t.co"),
    ("email", "Mail {}", "ceo@x.com"),
    ("email", "mailto://{}", "ann@shore.org"),
    ("national_id", "personnummer {}", "19811228-9874"),
]


@pytest.mark.parametrize(("kind", "around", "value"), NAMED, ids=[around for _, around, _ in NAMED])
def test_a_number_without_a_form_of_its_own_is_found_beside_its_name(kind: str, around: str, value: str) -> None:
    assert (kind, value) in found(around.format(value))
    assert ("national_id", value) not in found(f"The value is {value} here.")


NOTHING = [
    "Chrome/120.0.6099.109 and version 10.15.7.200 of 2024-01-15",
    "upgrade to v4.18.205.13, release 12.1.105.20, firmware 113.120.5.8",
    "192.168.1.10, 10.0.0.1, 127.0.0.1, 224.0.0.1, 203.0.113.7 and 8.8.8.8",
    "see RFC 2606, section 4.1.2.13, and 2001:db8::1 or 12:34:56",
    "2024-11-30 12:34:56, 30.11.2024, 11/30/2024, 1999-2024, 2019 – 2021",
    "app_version=110.112.130.5, ver='4.118.205.13', pkg==113.120.5.8, v=110.112.130.5",
    "https://user:pass@host.org/x, ssh://git@shore.org/x, ftp://ann@shore.org, a@b.com and w1@e.com",
    "taken on 20240115-1238, of 20240115-1246",
    "me@example.com, user@domain.com, icon@2x.png, git@github.com:a/b.git, @ann@mastodon.social, x@localhost",
    "pip install quarry@1.2.3 or left@right and a @ b",
    "4111 1111 1111 1112 is no card, nor 1234567890123456 or 4111111111111111222",
    "DE89 3704 0044 0532 0130 01 is no account, nor XX12 3456 7890 1234 5678",
    "ISBN 978-3-16-148410-0, ISSN 2049-3630, doi:10.1000/182, order 415-861-5449",
    "call 555-0123, (212) 555-0187 or 123-456-7890 in the film",
    "12345678A, 390.533.447-06, 85.07.30-033.29, X1234567A, RCCMNL83S18D969A, 000-12-3456",
    "3.14159 26535 89793 23846, 1,000,000 and 12 345 678,90",
    "AKIAIOSFODNN7EXAMPLE, ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, sk_live_XXXXXXXXXXXXXXXXXXXXXXXX",
    "Tel Aviv 1948 1967 1973 and Tel Megiddo 1925 1939",
    "call 2 3 5 7 11 13 17 19, mobile 1920 1080 1366",
    "800 600 1024 pixels, results 250 300 4000, Phone 14 Pro Max 256 512 1024",
    "10:20:30:40:50:60:70:80, abcd::ef and Foo::Bar dead::beef",
    "Upgrade from 10.2.3.4 to 11.0.2.1",
    "part 54362315K, catalog no. 811228-9874, case 111-22-3333",
    "Serial: 4539 1488 0343 6467, order no. 4012888888881881",
    "a8f5f167f44f4964e6c998dee827110c 550e8400-e29b-41d4-a716-446655440000",
]


@pytest.mark.parametrize("text", NOTHING)
def test_versions_dates_ids_and_what_manuals_make_up_are_nobodys(text: str) -> None:
    assert found(text) == []


def test_where_two_are_found_at_one_place_the_surer_counts() -> None:
    assert found("IBAN GB29NWBK60161331926819 and card 4111 1111 1111 1111.") == [
        ("iban", "GB29NWBK60161331926819"),
        ("card", "4111 1111 1111 1111"),
    ]


def test_places_are_in_code_points_whatever_stands_before() -> None:
    text = f"{'𝔸🙂é' * 5} ann@shore.org"
    assert found(text) == [("email", "ann@shore.org")]


@given(st.text(alphabet="0123456789+-. ()/@:aA[]\n", max_size=300))
def test_places_are_within_the_text_in_order_and_do_not_overlap(text: str) -> None:
    end = 0
    for each in personal_data(text):
        assert end <= each.start < each.end <= len(text) and each.type in TYPES and 0 <= each.confidence <= 1
        end = each.end


@pytest.mark.parametrize(
    "unit",
    [
        *("1", "1 ", "1.", "1-", "a@", "a.", "a@a.", "+1", "1:", "(1)", "AA11 ", "eyJ", "sk-", "sk-ant-", "http://a:"),
        *("a [at] ", "::", "-----BEGIN "),
    ],
)
def test_any_text_takes_linear_time(unit: str) -> None:
    text = unit * (400_000 // len(unit))
    began = time.process_time()
    personal_data(text)
    between = time.process_time()
    personal_data(text[: len(text) // 2])
    assert between - began < 30, "or eight megabytes would not end within a page's time"
    assert time.process_time() - between < 30


@pytest.mark.parametrize(
    "unit",
    [
        *("123-45-6789 ", "811228-9874 ", "12345678Z ", "111.444.777-35 ", "PESEL 44051401359, ", "943 476 5870 NHS "),
        *("DE89 3704 0044 0532 0130 00 ", "4111 1111 1111 1111 ", "+49 30 901820 ", "81.143.69.142 ", "eyJ-", "://a:"),
        *("http://a:b@c.de ", "a@shore.org ", "2a02:8108::1 ", "de89 ", "-----BEGIN PRIVATE KEY-----\nDEK-Info: a\n"),
    ],
)
def test_a_text_of_one_thing_four_times_as_long_takes_four_times_as_long(unit: str) -> None:
    def cost(length: int) -> float:
        text = unit * (length // len(unit))
        began = time.process_time()
        personal_data(text)
        return time.process_time() - began

    short, long = (min(cost(length) for _ in range(2)) for length in (30_000, 120_000))
    assert long < 9 * short + 0.05, "of quadratic time it would be sixteen times"


def test_an_id_has_its_name_beside_it_however_many_stand_in_between() -> None:
    listed = ", ".join(["44051401359"] * 60)
    assert len(found(f"PESEL: {listed}")) == len(found("PESEL: " + ", ".join(["44051401359"] * 4)))


def test_ten_thousand_addresses_are_ten_thousand_rows() -> None:
    text = "\n".join(f"a{i}@shore.org" for i in range(10_000))
    assert len(personal_data(text)) == 10_000


def test_a_placeholder_or_a_pseudonym_by_a_key_takes_the_place_of_what_was_found() -> None:
    text = "Ann (ann@shore.org, +44 20 7946 0018) wrote to ANN@shore.org from 81.2.69.142."
    places = personal_data(text)
    assert redact(text, places, {}) == text
    assert redact(text, places, {"email": "placeholder", "phone": "placeholder"}) == (
        "Ann (<EMAIL>, <PHONE>) wrote to <EMAIL> from 81.2.69.142."
    )
    named = redact(text, places, {"email": "pseudonym"}, key=b"a secret")
    first, second = re.findall(r"<EMAIL:([0-9a-f]{12})>", named)
    assert first == second, "one person keeps one name, however the address is written"
    assert redact(text, places, {"email": "pseudonym"}, key=b"another") != named
    with pytest.raises(ValueError, match="need a key"):
        redact(text, places, {"email": "pseudonym"})
    rows = [each._asdict() | {"doc_id": "1", "partition": "p"} for each in places]
    assert redact(text, rows, {"ip": "placeholder"}).endswith("from <IP>."), "rows of the table will do"
    for unknown in ({"emial": "placeholder"}, {"email": "drop"}):
        with pytest.raises(ValueError, match=r"a type is one of .*email.*, a rule keep, placeholder, pseudonym"):
            redact(text, places, unknown)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="not in this text"):
        redact("short", places, {"email": "placeholder"})
    assert redact(text, places, {"ip": "placeholder"}, min_confidence=0.99) == text


def test_nothing_of_a_value_is_in_what_is_found() -> None:
    assert Finding._fields == ("type", "rule", "confidence", "start", "end")


def test_prose_has_none() -> None:
    assert not any(personal_data(words(seed, 300)) for seed in range(20))
    rng = random.Random(0)
    numbers = " ".join(str(rng.randrange(10 ** rng.randrange(1, 9))) for _ in range(3000))
    assert [each for each in personal_data(numbers) if each.confidence > 0.8] == []
