"""The rule for near duplicates: a copy goes, what differs in a name or a number stays, for a reason in words."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarry_dagster.dedup import near, verify
from quarry_dagster.dedup.reasons import reasons
from quarry_dagster.dedup.tokens import spelled, tokens
from quarry_dagster.extract import count_words, text_digest
from quarry_dagster_tests.corpus import words


def _against(text: str, other: str) -> list[str]:
    return [reason.guard for reason in reasons(text, other)]


def _every(text: str, n: int, by: str = "changed") -> str:
    return " ".join(by + "aeiou"[i % 5] * (i // n % 7) if i % n == 0 else w for i, w in enumerate(text.split(), 1))


BODY = words(1, 400)
FORM = (
    "The {0} command changes the rules of the firewall. To {0} a port give its number behind the word {0}. "
    "With the option dry-run the command says what it would {0}, and changes nothing. Rules that {0} a whole network "
    "come behind those that {0} a single address, in the order in which they were given, and the first that fits is "
    "the one that counts. Look at the list of all rules before and after, and keep a way in that does not depend on "
    "the network, for who shuts himself out has to go to the machine itself. The manual has examples of each kind of "
    "rule, for single hosts and whole networks, with and without ports, and says how they are stored."
)


def _about(animal: str) -> str:
    parts = [f"{words(4 + i, n)} {animal.lower()}" for i, n in enumerate((300, 200, 90, 70))]
    return f"{animal} and their herds. {' '.join(parts)}"


@pytest.mark.parametrize(
    ("text", "other", "guard"),
    [
        (words(1, 100), BODY, "length"),
        (words(2, 400), BODY, "lost"),
        (f"{BODY} {words(3, 130)}", BODY, "passages"),
        (FORM.format("deny"), FORM.format("allow"), "form"),
        (
            _about("Zebras"),
            _about("Horses"),
            "head word",
        ),
        (
            f"{words(8, 60)} 7 March {words(9, 60)} 12 dollars {words(10, 60)} 31 cents",
            f"{words(8, 60)} 9 March {words(9, 60)} 14 dollars {words(10, 60)} 35 cents",
            "numbers",
        ),
        (
            f"{words(11, 120)} {words(12, 18)} {words(13, 120)}",
            f"{words(11, 120)} {words(14, 18)} {words(13, 120)}",
            "block",
        ),
        (f"Alpha beta. {words(15, 60)}", f"Gamma beta. {words(15, 60)}", "short"),
    ],
    ids=[*near.GUARDS],
)
def test_each_guard_keeps_what_it_is_there_for(text: str, other: str, guard: str) -> None:
    assert guard in _against(text, other)
    mine, _ = _views([text, other])
    assert near.compare(mine) != 0


@pytest.mark.parametrize(
    "copy",
    [
        _every(BODY, 12),
        " ".join(BODY.split()[:250]),
        f"Home News Contact Login Search {BODY} Imprint Privacy Terms Cookies Sitemap",
        BODY.upper(),
        " ".join(s for i, s in enumerate(BODY.split(". ")) if i % 6),
    ],
    ids=["edited", "cut", "in its site's chrome", "in capitals", "sentences dropped"],
)
def test_a_copy_goes(copy: str) -> None:
    assert _against(copy, BODY) == []


def _views(texts: list[str]) -> tuple[near.View, near.View]:
    a, b = near.Text.of(texts)
    return near.views(a, b)


def test_the_cleaner_of_two_copies_has_no_chrome_and_no_typos_and_is_not_cut() -> None:
    chrome = f"{' '.join(f'menu{i}' for i in range(40))} {BODY} {' '.join(f'link{i}' for i in range(40))}"
    code = " ".join(f"x{i} = y{i % 7}" for i in range(300))
    for better, worse in (
        (BODY, chrome),
        (BODY, _every(BODY, 30)),
        (BODY, " ".join(BODY.split()[:300])),
        (f"{BODY} {words(20, 60)}", BODY),
        (code, " ".join(code.split()[:500])),
    ):
        mine, theirs = _views([better, worse])
        assert (near.is_cleaner(mine), near.is_cleaner(theirs)) == (True, False)
    assert near.is_cleaner(_views([BODY, BODY.upper()])[0]) is None


def test_a_sentence_names_the_word_that_keeps_a_text() -> None:
    (form,) = (r for r in reasons(FORM.format("deny"), FORM.format("allow")) if r.guard == "form")
    assert form.sentence == "the word *deny* stands 6 times and not once in the other one"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("هَلۡ أَتَىٰكَ حَدِيثُ ٱلۡغَٰشِيَةِ", "هل اتىك حديث الغشية"),
        ("في عام ٢٠٢٤", "في عام 2024"),
        ("सन् २०२४ में", "सन् 2024 में"),
    ],
    ids=["vowel signs", "Arabic digits", "Devanagari digits"],
)
def test_what_is_written_in_two_ways_is_compared_as_one(one: str, other: str) -> None:
    (found, counts) = tokens([one, other])
    first, second = np.split(found.hashes, counts.cumsum()[:-1])
    assert first.tolist() == second.tolist()


@pytest.mark.parametrize("text", ["公园的树木 and 7 trees。", "วันนี้อากาศดี 12", "One two. Three!", "ꀉꀊꀋ", ""])
def test_tokens_are_spelled_one_by_one(text: str) -> None:
    found, counts = tokens([text])
    assert len(spelled(text)) == len(found.hashes) == counts.sum()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ཡོངས་ཁྱབ་གསལ་བསྒྲགས", 4), ("ሰላም፡ለዓለም፡ሁሉ", 3), ("ꀉꀊꀋꀌ", 2), ("ພາສາລາວ", 4), ("公园的树", 2)],
    ids=["Tibetan", "Ethiopic", "Yi", "Lao", "Han"],
)
def test_words_are_counted_without_spaces(text: str, expected: int) -> None:
    assert count_words(text) == expected


MARKED = """# A *title*

> Some **bold** and `code` and snake_case

- one
- two

| a | b |
| --- | :-: |
| 1 | 2 |

```python
def f(x):
    return x
```
"""
PLAIN = "A title\n\nSome bold and code and snake_case\none\ntwo\na b\n1 2\ndef f(x):\n  return x"


def test_a_text_with_marks_and_the_same_text_without_are_one() -> None:
    assert text_digest(MARKED) == text_digest(PLAIN)
    assert text_digest(" ".join(MARKED.split())) == text_digest(PLAIN), "wherever its lines end"
    assert text_digest("snake_case") != text_digest("snakecase")


_texts = st.builds(
    lambda seed, n, every, cut: " ".join(_every(words(seed, n), every).split()[cut:]),
    st.integers(0, 3),
    st.integers(20, 300),
    st.integers(5, 60),
    st.integers(0, 40),
)


@settings(max_examples=60, deadline=None)
@given(_texts, _texts, _texts)
def test_scores_are_a_function_of_two_texts_and_the_same_either_way_round(one: str, other: str, beside: str) -> None:
    alone = verify.scores(near.Text.of([one, other]), np.array([0]), np.array([1])).row(0, named=True)
    among = verify.scores(near.Text.of([beside, other, one]), np.array([1, 0]), np.array([2, 1])).row(0, named=True)
    turned = {
        "jaccard": among["jaccard"],
        "left_in_right": among["right_in_left"],
        "right_in_left": among["left_in_right"],
        "left_guards": among["right_guards"],
        "right_guards": among["left_guards"],
        "right_is_cleaner": None if among["right_is_cleaner"] is None else not among["right_is_cleaner"],
    }
    assert alone == turned
    if min(alone["left_guards"], alone["right_guards"]) != near.NOT_COMPARED:
        assert (alone["left_guards"] == 0) == (reasons(one, other) == [])


def test_edits_of_a_text_all_go_for_it_and_forms_of_it_all_stay() -> None:
    rng = random.Random(0)
    names = ["".join(rng.choices("bdfgklmnprst", k=7)) for _ in range(20)]
    forms = [FORM.format(name) for name in names]
    assert all(_against(a, b) for a in forms for b in forms if a != b)
    for form in forms[:5]:
        long = f"{form} {words(9, 150)}"
        edit = long.split()
        for i in rng.sample(range(20, len(edit)), 6):
            edit[i] = "".join(rng.choices("aeiou", k=5))
        assert _against(" ".join(edit), long) == []
