"""Shingles are a function of the text alone, on every machine, in every script."""

import numpy as np
import pytest

from quarry_dagster.dedup.shingles import SAMPLE_RATE, SAMPLED, SKETCH_MIN, SKETCH_SHINGLE, shingles, sketches

ENGLISH = " ".join(f"word{i} and then some" for i in range(400))


def test_a_hash_never_changes() -> None:
    # Sketches are stored in users' data: another value here must come with another shingles.VERSION.
    assert shingles(["Alpha beta gamma delta"], 3)[0].tolist() == [5479438238321688773, 10322479128124286516]


def test_case_form_and_spacing_do_not_matter_but_order_does() -> None:
    plain, other, swapped = shingles(["Die Straße am Ufer", "  DIE\nStraße? am (Ufer)", "Ufer am Straße die"], 3)
    assert plain.tolist() == other.tolist()
    assert not set(plain.tolist()) & set(swapped.tolist())


def test_a_text_gives_the_same_shingles_whatever_stands_beside_it() -> None:
    alone = shingles([ENGLISH], 3)[0]
    among = shingles(["other words here", "", ENGLISH, "x", "the end of it"], 3)
    assert [len(s) for s in among] == [1, 0, len(alone), 0, 2]
    assert np.array_equal(among[2], alone)


def test_a_run_of_letters_of_a_script_without_spaces_ends_with_its_text() -> None:
    thai = ["วันนี้อากาศดีเราจึงไปเดินเล่น", "ริมแม่น้ำและเห็นนกมากมาย"]
    for text, among in zip(thai, shingles(thai, 3), strict=True):
        assert np.array_equal(among, shingles([text], 3)[0])


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        (
            "今日は天気がいいので散歩に行きました。川のそばで鳥を見ました。",
            "今日は天気がいいので散歩に行きました。山のそばで鳥を見ました。",
        ),
        ("วันนี้อากาศดีเราจึงไปเดินเล่นริมแม่น้ำและเห็นนกมากมาย", "วันนี้อากาศดีเราจึงไปเดินเล่นริมทะเลและเห็นนกมากมาย"),
    ],
)
def test_scripts_without_spaces_are_compared_by_characters(text: str, edited: str) -> None:
    a, b = (set(s.tolist()) for s in shingles([text, edited], 3))
    assert len(a) > 20
    assert 0.5 < len(a & b) / len(a) < 1


@pytest.mark.parametrize(
    ("plain", "spelled"),
    [
        (
            "Die Verbraucherschutzbestimmungen im Onlinehandel",
            "Die Ver\u00adbraucher\u00adschutz\u00adbestim\u00admungen im Online\u00adhandel",
        ),
        ("من می\u200cخواهم به خانه\u200cی دوستم بروم", "من میخواهم به خانهی دوستم بروم"),
        ("one two three four five", "\ufeffone two\u200b three \u200efour\u200f five"),
    ],
    ids=["soft hyphens", "joiners", "marks"],
)
def test_characters_that_are_not_seen_do_not_matter(plain: str, spelled: str) -> None:
    one, other = shingles([plain, spelled], 3)
    assert len(one) >= 2
    assert one.tolist() == other.tolist()


def test_mixed_scripts_keep_words_whole() -> None:
    assert len(shingles(["東京 Tokyo2026 station"], 1)[0]) == 4


def test_a_part_shares_its_samples_with_the_whole() -> None:
    whole = " ".join(f"t{i} u{i * 7 % 991} v{i * 13 % 983}" for i in range(3000))
    part = whole[: len(whole) // 3]
    of_whole, of_part = sketches([whole, part])
    assert len(of_part) > SKETCH_MIN
    assert np.isin(of_part, of_whole).mean() > 0.98
    assert 1 / 20 < len(of_whole) / 9000 < 1 / 13


def test_short_texts_have_a_sketch_too() -> None:
    short, tiny, empty = sketches(["one two three four five six seven eight", "one two", ""])
    assert len(short) == 4
    assert len(tiny) == len(empty) == 0


def test_what_fills_a_sketch_up_is_no_sample_and_still_the_same_in_other_texts() -> None:
    words = [f"w{i}" for i in range(24)]
    short, shorter = sketches([" ".join(words), " ".join(words[:20])])
    of_short, of_shorter = (shingles([" ".join(w)], SKETCH_SHINGLE)[0] for w in (words, words[:20]))
    assert (short < SAMPLED).sum() == (of_short < 2**64 // SAMPLE_RATE).sum() < len(short) == len(of_short) == 20
    assert set(shorter.tolist()) < set(short.tolist())
    assert len(shorter) == len(of_shorter) == 16


def test_a_text_without_enough_words_has_none_of_its_neighbours_shingles() -> None:
    assert [len(s) for s in shingles(["!!!", "one two three four five six", "?", "a b"], 3)] == [0, 4, 0, 0]


THAI = [
    "วัน",
    "นี้",
    "อากาศ",
    "ดี",
    "เรา",
    "จึง",
    "ไป",
    "เดิน",
    "เล่น",
    "ริม",
    "แม่น้ำ",
    "และ",
    "เห็น",
    "นก",
    "มาก",
    "มาย",
    "ใน",
    "สวน",
    "บ้าน",
    "คน",
    "รัก",
    "กิน",
    "ข้าว",
    "ตลาด",
    "เช้า",
    "เย็น",
    "ฝน",
    "ตก",
    "ถนน",
    "รถ",
]
THAI += [
    "โรงเรียน",
    "ครู",
    "เด็ก",
    "หนังสือ",
    "อ่าน",
    "เขียน",
    "เมือง",
    "ทะเล",
    "ภูเขา",
    "ป่า",
    "ไม้",
    "ดอกไม้",
    "สี",
    "แดง",
    "เขียว",
    "ขาว",
    "ดำ",
    "ใหญ่",
    "เล็ก",
    "เก่า",
    "ใหม่",
    "ทำ",
    "งาน",
    "พัก",
]


def test_two_long_thai_texts_of_the_same_words_do_not_contain_each_other() -> None:
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, len(THAI) + 1)
    short, long = ("".join(rng.choice(THAI, n, p=weights / weights.sum())) for n in (400, 5000))
    (a, b) = (set(s.tolist()) for s in shingles([short, long], 3))
    assert len(a & b) / len(a) < 0.55
    middle = short[: len(short) // 2] + "".join(rng.choice(THAI, 5)) + short[len(short) // 2 :]
    (c,) = (set(s.tolist()) for s in shingles([middle], 3))
    assert len(a & c) / len(a) > 0.95
