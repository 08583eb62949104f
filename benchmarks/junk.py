"""Planted junk: texts that are spoilt in ten ways, each in five steps from harmless to obvious.

A step is the share of the text that is junk: SHARES. The rest is the text that was given, so that a step tells how
much of it a policy bears. Junk is made from the text's own words, from stock phrases written for this, and from a
seed; the same ones give the same junk.
"""

from __future__ import annotations

import base64
import random
import re
from collections import Counter
from collections.abc import Callable

SHARES = (0.02, 0.1, 0.3, 0.6, 1.0)
"""Share of the text that is junk at each step, from the first, which is harmless, to the fifth."""

# fmt: off
_MENU = [
    "Home", "About us", "Contact", "Sign in", "Register", "My account", "Help", "Search", "Products", "Services",
    "News", "Blog", "Events", "Careers", "Press", "Support", "Downloads", "Gallery", "Shop", "Cart", "Checkout",
    "Sitemap", "Archive", "Categories", "Subscribe", "Newsletter", "Follow us", "Facebook", "Twitter", "Instagram",
    "Share", "Print", "Next", "Previous", "Read more", "Back to top", "Language", "English", "Settings", "Log out",
]
# fmt: on
_COOKIES = (
    "We use cookies to improve your experience on this website.",
    "By continuing to browse you accept our cookie policy.",
    "This site uses cookies from us and from our partners.",
    "Read our privacy policy to learn how we handle your data.",
    "You can change your cookie settings at any time.",
    "Accept all cookies",
    "Reject all",
    "Manage your cookie preferences",
    "Please read our terms of use and our privacy policy before you go on.",
    "Strictly necessary cookies are always active.",
    "Our partners use cookies to show you advertising that suits you.",
    "All rights reserved.",
)
# fmt: off
_LOREM = [
    "lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit", "sed", "do", "eiusmod", "tempor",
    "incididunt", "ut", "labore", "et", "dolore", "magna", "aliqua", "ut", "enim", "ad", "minim", "veniam", "quis",
    "nostrud", "exercitation", "ullamco", "laboris", "nisi", "ut", "aliquip", "ex", "ea", "commodo", "consequat",
    "duis", "aute", "irure", "dolor", "in", "reprehenderit", "in", "voluptate", "velit", "esse", "cillum", "dolore",
    "eu", "fugiat", "nulla", "pariatur",
]
# fmt: on
_OFFERS = (
    "Buy cheap {0} online, best {0} prices, {0} near me, {0} deals, top {0} shop.",
    "Looking for {0}? The best {0} for your {0} needs: {0} reviews, {0} offers and more {0}.",
    "Cheap {0}, discount {0}, {0} sale, {0} for sale, {0} free shipping, {0} {1}, {1} {0}.",
    "Our {0} is the number one {0}; order {0} today and save on {0} and {1}.",
)
_WORD = re.compile(r"[^\W\d_]{4,}")

Rng = random.Random
Junk = Callable[[str, int, Rng], str]
"""A text, how many characters of junk are wanted, and chance: the junk."""


def planted(text: str, kind: str, step: int, seed: int = 0) -> str:
    """The text with junk of a kind (one of KINDS) at a step, 0 to 4."""
    rng = random.Random(f"{seed} {kind} {step} {text[:200]}")
    share = SHARES[step]
    if kind in _SPOILING:
        return _SPOILING[kind](text, share, rng)
    wanted = max(int(len(text) * share), 1)
    junk = _ADDED[kind](text, wanted, rng)
    lines = _shortened(text, len(text) - wanted) if share < 1 else []
    at = rng.choice((0, len(lines)))
    return "\n".join([*lines[:at], junk, *lines[at:]])


def _shortened(text: str, characters: int) -> list[str]:
    """The lines of a text until there are so many characters."""
    lines: list[str] = []
    for line in text.split("\n"):
        if characters <= 0:
            break
        lines.append(line)
        characters -= len(line) + 1
    return lines


def _until(wanted: int, make: Callable[[], str], between: str = "\n") -> str:
    parts: list[str] = []
    size = 0
    while size < wanted:
        parts.append(make())
        size += len(parts[-1]) + len(between)
    return between.join(parts)


def _menu(text: str, wanted: int, rng: Rng) -> str:
    own = _WORD.findall(text) or ["Page"]

    def entry() -> str:
        if rng.random() < 0.5:
            return rng.choice(_MENU)
        return " ".join(word.capitalize() for word in rng.choices(own, k=rng.randint(1, 3)))

    return _until(wanted, entry)


def _cookie_wall(text: str, wanted: int, rng: Rng) -> str:
    return _until(wanted, lambda: " ".join(rng.sample(_COOKIES, rng.randint(1, 3))))


def _tag_cloud(text: str, wanted: int, rng: Rng) -> str:
    own = [word.lower() for word in _WORD.findall(text)] or ["tag"]
    tags = sorted(set(rng.choices(own, k=60)))

    def line() -> str:
        return ", ".join(f"{rng.choice(tags)} ({rng.randint(1, 300)})" for _ in range(rng.randint(8, 20)))

    return _until(wanted, line)


def _keywords(text: str, wanted: int, rng: Rng) -> str:
    common = [word for word, _ in Counter(map(str.lower, _WORD.findall(text))).most_common(20)] or ["shoes"]
    pairs = [(" ".join(rng.choices(common, k=2)), rng.choice(common)) for _ in range(2)]
    return _until(wanted, lambda: rng.choice(_OFFERS).format(*rng.choice(pairs)))


def _repeated_lines(text: str, wanted: int, rng: Rng) -> str:
    long = [line for line in text.split("\n") if len(line) > 40] or [text[:200] or "line"]
    line = rng.choice(long)[:300]
    return _until(wanted, lambda: line)


def _lorem_ipsum(text: str, wanted: int, rng: Rng) -> str:
    def sentence() -> str:
        begin = rng.randrange(len(_LOREM))
        return " ".join((_LOREM * 2)[begin : begin + rng.randint(6, 18)]).capitalize() + "."

    return _until(wanted, lambda: _until(300, sentence, " "))


def _log(text: str, wanted: int, rng: Rng) -> str:
    def line() -> str:
        time = f"2024-{rng.randint(1, 12):02}-{rng.randint(1, 28):02} {rng.randint(0, 23):02}:{rng.randint(0, 59):02}"
        numbers = " ".join(str(rng.randint(0, 10 ** rng.randint(1, 7))) for _ in range(rng.randint(3, 9)))
        return f"{time} [{rng.choice(('INFO', 'WARN', 'DEBUG'))}] {rng.choice(('get', 'put', 'id'))}={numbers}"

    return _until(wanted, line)


def _encoded(text: str, wanted: int, rng: Rng) -> str:
    if rng.random() < 0.5:
        return _until(wanted, lambda: base64.b64encode(rng.randbytes(rng.randint(60, 300))).decode())
    names = "abcdefghijklmnop"

    def code() -> str:
        a, b, c = rng.choices(names, k=3)
        return f"function {a}({b},{c}){{return {b}[{rng.randint(0, 99)}]?{c}({a}):{{{c}:!0,{b}:{rng.random():.4f}}}}};"

    return _until(wanted, lambda: _until(rng.randint(200, 900), code, ""))


def _shuffled(text: str, share: float, rng: Rng) -> str:
    """So many of the words change places."""
    parts = re.split(r"(\s+)", text)
    chosen = [i for i in range(0, len(parts), 2) if rng.random() < share]
    words = [parts[i] for i in chosen]
    rng.shuffle(words)
    for i, word in zip(chosen, words, strict=True):
        parts[i] = word
    return "".join(parts)


def _mojibake(text: str, share: float, rng: Rng) -> str:
    """So many of the words have a letter with an accent, or a typographic quote, which were read as Windows-1252."""
    accents = str.maketrans("aeiounAEIOUN", "áéíóúñÁÉÍÓÚÑ")

    def spoil(found: re.Match[str]) -> str:
        if rng.random() >= share:
            return found[0]
        at = rng.randrange(len(found[0]))
        changed = found[0][at].translate(accents)
        word = found[0][:at] + (changed if changed != found[0][at] else found[0][at] + "\u2019") + found[0][at + 1 :]
        return word.encode().decode("cp1252", "replace")

    return re.sub(r"\w+", spoil, text)


_ADDED: dict[str, Junk] = {
    "menu": _menu,
    "cookie wall": _cookie_wall,
    "tag cloud": _tag_cloud,
    "keywords": _keywords,
    "repeated lines": _repeated_lines,
    "lorem ipsum": _lorem_ipsum,
    "log": _log,
    "encoded": _encoded,
}
_SPOILING: dict[str, Callable[[str, float, Rng], str]] = {"shuffled words": _shuffled, "mojibake": _mojibake}
KINDS = (*_ADDED, *_SPOILING)
