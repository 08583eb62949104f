"""Invented documents with planted duplicates, for machines without labelled ones.

Every word is made of syllables, in seven scripts, two of them without spaces between words. Words follow Zipf's law,
a document has its topic, and a language its stock phrases. Invented text is easier than real text in one way (no
document quotes another unless it was told to) and no harder in any that is known: read the figures accordingly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

Rng = np.random.Generator
Sentence = list[str]

BASE = "base"
HARD_NEGATIVES = ("hard: one site's chrome", "hard: one form filled in", "hard: one opening")

_MEDIAN_WORDS = 800
_SPREAD = 0.6
_TOPICS = 40
_TOPIC_WORDS = 150
_WORDS = 6000


@dataclass(frozen=True)
class Script:
    """How a language is written."""

    onsets: str
    nuclei: tuple[str, ...]
    space: str
    stop: str
    share: float


SCRIPTS = (
    Script("bdfgklmnprstvz", ("a", "e", "i", "o", "u", "ai", "en", "or"), " ", ".", 0.46),
    Script("бвгдзклмнпрст", ("а", "е", "и", "о", "у", "ый", "ов"), " ", ".", 0.12),
    Script("βγδζθκλμνπρστ", ("α", "ε", "ι", "ο", "ου", "ως", "ην"), " ", ".", 0.08),
    Script("بتجحدرسشعفقكلمن", ("ا", "و", "ي", "ان", ""), " ", ".", 0.08),
    Script("कगचजटतदनपबमरलवस", ("ा", "ि", "ी", "े", "ो", "्य", ""), " ", "।", 0.08),
    Script("".join(map(chr, range(0x4E00, 0x4E00 + 900))), ("",), "", "。", 0.1),
    Script(
        "กขคฆงจฉชซญฎฐณดตถทธนบปผฝพฟภมยรลวศษสหอฮ", ("า", "ิ", "ี", "ึ", "ื", "ุ", "ู", "ะ", "ั", "่", "้", "์", ""), "", " ", 0.08
    ),
)


class Language:
    """The words of one script, by how common they are, and the words of each topic."""

    def __init__(self, script: Script, rng: Rng) -> None:
        self.script = script
        made: dict[str, None] = {}
        while len(made) < _WORDS:
            syllables = int(rng.integers(1, 3 if len(script.onsets) > 100 else 5))
            made["".join(_pick(rng, script.onsets) + _pick(rng, script.nuclei) for _ in range(syllables))] = None
        self.words = np.array(list(made), dtype=object)
        weights = 1 / np.arange(1, _WORDS + 1)
        self.weights = weights / weights.sum()
        self.topics = rng.integers(300, _WORDS, (_TOPICS, _TOPIC_WORDS))
        self.phrases = [self.some(rng, 6) for _ in range(60)]

    def some(self, rng: Rng, n: int, topic: int | None = None) -> Sentence:
        """n words, of this topic or of none."""
        common = rng.choice(_WORDS, n, p=self.weights)
        if topic is not None:
            common = np.where(rng.random(n) < 0.45, rng.choice(self.topics[topic], n), common)
        return self.words[common].tolist()

    def sentences(self, rng: Rng, words: int) -> list[Sentence]:
        """A body of about that many words on one topic."""
        topic, out = int(rng.integers(_TOPICS)), []
        while words > 0:
            sentence = self.some(rng, int(rng.integers(6, 26)), topic)
            if rng.random() < 0.05:
                sentence += self.phrases[int(rng.integers(len(self.phrases)))]
            out.append(sentence)
            words -= len(sentence)
        return out

    def write(self, sentences: list[Sentence], per_paragraph: int = 4) -> str:
        """Sentences as text."""
        space, stop = self.script.space, self.script.stop
        written = [space.join(s).capitalize() + stop for s in sentences if s]
        gap = space if stop.strip() else ""
        groups = [written[i : i + per_paragraph] for i in range(0, len(written), per_paragraph)]
        return "\n\n".join(gap.join(g) for g in groups)


Change = Callable[[Language, list[Sentence], Rng], str]


def _exact(language: Language, body: list[Sentence], rng: Rng) -> str:
    return language.write(body)


def _case_and_space(language: Language, body: list[Sentence], rng: Rng) -> str:
    return "  " + language.write(body, 7).upper().replace("\n\n", " \n ") + "\n"


def _punctuation(language: Language, body: list[Sentence], rng: Rng) -> str:
    text = language.write(body)
    return text.replace(language.script.stop, "!") if language.script.stop.strip() else text.replace(" ", " – ")


def _truncated(language: Language, body: list[Sentence], rng: Rng) -> str:
    return language.write(body[: max(1, int(len(body) * rng.uniform(0.5, 0.9)))])


def _excerpt(language: Language, body: list[Sentence], rng: Rng) -> str:
    size = max(3, int(len(body) * rng.uniform(0.15, 0.4)))
    start = int(rng.integers(0, max(1, len(body) - size)))
    return language.write(body[start : start + size])


def _typos(language: Language, body: list[Sentence], rng: Rng) -> str:
    def spoil(word: str) -> str:
        if len(word) < 2 or rng.random() >= 0.05:
            return word
        at = int(rng.integers(0, len(word) - 1))
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    return language.write([[spoil(w) for w in s] for s in body])


def _edit(share: float) -> Change:
    def change(language: Language, body: list[Sentence], rng: Rng) -> str:
        return language.write([[language.some(rng, 1)[0] if rng.random() < share else w for w in s] for s in body])

    return change


def _dropped(language: Language, body: list[Sentence], rng: Rng) -> str:
    return language.write([s for s in body if rng.random() > 0.2] or body)


def _reordered(language: Language, body: list[Sentence], rng: Rng) -> str:
    return language.write([body[i] for i in rng.permutation(len(body))])


def _in_chrome(language: Language, body: list[Sentence], rng: Rng) -> str:
    menu = "\n".join(language.script.space.join(language.some(rng, 2)) for _ in range(25))
    return f"{menu}\n\n{language.write(body)}\n\n{language.write(language.sentences(rng, 60))}"


def _syndicated(language: Language, body: list[Sentence], rng: Rng) -> str:
    return language.write([*language.sentences(rng, 60), *body, *language.sentences(rng, 40)], 5)


def _merged(language: Language, body: list[Sentence], rng: Rng) -> str:
    return language.write([*body, *language.sentences(rng, sum(map(len, body)))])


CHANGES: dict[str, Change] = {
    "exact": _exact,
    "case and space": _case_and_space,
    "punctuation": _punctuation,
    "truncated": _truncated,
    "excerpt": _excerpt,
    "typos in 5 % of words": _typos,
    "5 % of words changed": _edit(0.05),
    "15 % of words changed": _edit(0.15),
    "sentences dropped": _dropped,
    "sentences reordered": _reordered,
    "site chrome added": _in_chrome,
    "syndicated": _syndicated,
    "merged with another": _merged,
}


def generate(documents: int, seed: int = 0) -> pl.DataFrame:
    """About so many documents: columns id, text, cluster, kind. A fifth to a quarter are planted duplicates."""
    rng = np.random.default_rng(seed)
    languages = [Language(s, rng) for s in SCRIPTS]
    shares = np.array([s.share for s in SCRIPTS])
    planted = max(1, documents // 55)
    hard = max(1, documents // 100)
    rows: list[tuple[str, str, str]] = []  # text, cluster, kind

    def body() -> tuple[Language, list[Sentence]]:
        language = languages[int(rng.choice(len(languages), p=shares / shares.sum()))]
        words = int(np.clip(rng.lognormal(np.log(_MEDIAN_WORDS), _SPREAD), 80, 6000))
        return language, language.sentences(rng, words)

    for kind, change in CHANGES.items():
        for i in range(planted):
            language, sentences = body()
            rows.append((language.write(sentences), f"{kind} {i}", BASE))
            rows.append((change(language, sentences, rng), f"{kind} {i}", kind))
    for i in range(0, hard, 5):
        rows += _hard_negatives(languages[i // 5 % len(languages)], i, min(5, hard - i), rng)
    for i in range(documents - len(rows)):
        language, sentences = body()
        rows.append((language.write(sentences), f"single {i}", BASE))
    frame = pl.DataFrame(rows, schema=["text", "cluster", "kind"], orient="row")
    return frame.with_row_index("n").select(pl.format("d{}", "n").alias("id"), "text", "cluster", "kind")


def _hard_negatives(language: Language, group: int, n: int, rng: Rng) -> list[tuple[str, str, str]]:
    """n documents of each kind of hard negative; those of one kind share what the kind says."""
    chrome = [language.sentences(rng, 150) for _ in range(2)]
    form = language.sentences(rng, 300)
    opening = language.sentences(rng, 350)
    fields = [[rng.random() < 0.35 for _ in s] for s in form]
    out = []
    for i in range(n):
        filled = [
            [language.some(rng, 1, group % _TOPICS)[0] if f else w for w, f in zip(s, fs, strict=True)]
            for s, fs in zip(form, fields, strict=True)
        ]
        bodies = (
            [*chrome[0], *language.sentences(rng, 320), *chrome[1]],
            filled,
            [*opening, *language.sentences(rng, 900)],
        )
        for kind, sentences in zip(HARD_NEGATIVES, bodies, strict=True):
            out.append((language.write(sentences), f"{kind} {group + i}", kind))
    return out


def _pick(rng: Rng, choices: str | tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]
