"""A licence counts where the page grants it for itself, and nowhere else."""

from __future__ import annotations

import json
import time

import pytest

from quarry_dagster.page import read_head
from quarry_dagster.page.license import has_hint, named, page_license, shown
from quarry_dagster.page.tree import parse

CC = "https://creativecommons.org/licenses/by-sa/4.0/"


def license_of(markup: str) -> tuple[str | None, str | None]:
    tree = parse(markup)[0] if has_hint(markup) else None
    return page_license(read_head(markup), tree, "https://a.test/page")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("http://creativecommons.org/licenses/by/4.0", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by-nc-nd/3.0/deed.de", "CC-BY-NC-ND-3.0"),
        ("//www.creativecommons.org/licenses/by-sa/2.5/legalcode", "CC-BY-SA-2.5"),
        ("https://creativecommons.org/licenses/by/3.0/us/", "CC-BY-3.0-US"),
        ("https://creativecommons.org/licenses/by-sa/3.0/fr/", "https://creativecommons.org/licenses/by-sa/3.0/fr/"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "CC-PDM-1.0"),
        ("https://opensource.org/licenses/MIT", "MIT"),
        ("https://www.apache.org/licenses/LICENSE-2.0.html", "Apache-2.0"),
        ("https://spdx.org/licenses/EUPL-1.2.html", "EUPL-1.2"),
        ("https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/", "OGL-UK-3.0"),
        ("CC BY 4.0", "CC-BY-4.0"),
        ("(CC-BY-NC-SA 3.0)", "CC-BY-NC-SA-3.0"),
        ("CC0 1.0 Universal", "CC0-1.0"),
        ("CC BY-SA", "https://creativecommons.org/licenses/by-sa/"),
        ("a Creative Commons Attribution-ShareAlike 4.0 International License", "CC-BY-SA-4.0"),
        ("Creative Commons Attribution-NonCommercial-NoDerivs 2.0 Generic", "CC-BY-NC-ND-2.0"),
        ("Creative Commons Namensnennung - Weitergabe unter gleichen Bedingungen 3.0", "CC-BY-SA-3.0"),
        ("Creative Commons Attribution, NonCommercial, Share Alike license v3.0", "CC-BY-NC-SA-3.0"),
        ("CC-BY-NC/4.0", "CC-BY-NC-4.0"),
        ("Creative Commons Attribution License (version 3.0)", "CC-BY-3.0"),
        ("a Creative Commons Attribution International licence", "https://creativecommons.org/licenses/by/"),
        ("Creative Commons Atribución/Reconocimiento-NoComercial-SinDerivados 4.0 Internacional", "CC-BY-NC-ND-4.0"),
        ("Creative Commons Atribuição-NãoComercial-CompartilhaIgual 4.0 Internacional", "CC-BY-NC-SA-4.0"),
        ("Creative Commons Atribuição-SemDerivações 4.0", "CC-BY-ND-4.0"),
        ("Creative Commons Attribuzione - Non opere derivate 4.0 Internazionale", "CC-BY-ND-4.0"),
        ("Creative Commons Attribuzione - Non commerciale - Non opere derivate 4.0", "CC-BY-NC-ND-4.0"),
        ("Creative Commons Naamsvermelding-GeenAfgeleideWerken 4.0", "CC-BY-ND-4.0"),
        (
            "Creative Commons Paternité-Pas d'Utilisation Commerciale-"
            "Partage des Conditions Initiales à l'Identique 2.0",
            "CC-BY-NC-SA-2.0",
        ),
        ("Creative Commons Namensnennung - Nicht kommerziell - Keine Bearbeitungen 4.0", "CC-BY-NC-ND-4.0"),
        ("All rights reserved", None),
        ("https://a.test/creativecommons.html", None),
        ("the CC of the mail, and CCTV 4.0", None),
    ],
)
def test_licences_have_one_name_however_they_are_said(said: str, name: str | None) -> None:
    assert named(said) == name


@pytest.mark.parametrize(
    ("license_", "told"),
    [
        *(("CC-BY-SA-3.0-DE", True), ("MIT", True), ("https://creativecommons.org/licenses/by-sa/3.0/fr/", True)),
        *(("https://creativecommons.org/licenses/by/", True), ("GFDL-1.3-or-later", True), ("CC0-1.0", True)),
        *(("https://a.test/terms/ann", False), ("ann-smith", False), ("CC-BY-4.0-ann", False)),
    ],
)
def test_no_word_of_a_page_is_in_a_licence_as_it_is_shown(license_: str, told: bool) -> None:
    assert shown(license_) == (license_ if told else "a URL of its own")


@pytest.mark.parametrize(
    "said",
    [
        *("Creative Commons Attribution-IckeKommersiell 4.0", "Creative Commons Attribution - Ingen bearbetning 4.0"),
        *("Creative Commons Namensnennung, nur für Schulen 4.0", "Creative Commons Attribution and Peace 4.0"),
        *("Creative Commons Attribution-Peace", "CC BY-SA-NC 3.0", "CC BY, NonCommercial", "CC BY nicht kommerziell"),
        *("Creative Commons Uznanie autorstwa – Użycie niekomercyjne 4.0", "Creative Commons Attribution Peace"),
    ],
)
def test_a_name_of_which_a_word_is_not_understood_is_none(said: str) -> None:
    assert named(said) is None


GRANTED = [
    ("<a rel='license' href='{}'>licence</a>", "rel"),
    ("<p>This page is licensed under a <a href='{}'>Creative Commons licence</a>.</p>", "link"),
    ("<a href='{}'><img src='https://i.creativecommons.org/l/by-sa/4.0/88x31.png'></a>", "link"),
    ("<p>This work is available under the Creative Commons Attribution-ShareAlike 4.0 License.</p>", "text"),
    ("<p>Licence: CC BY-SA 4.0</p>", "text"),
    ("<a href='{}'><svg><path d='M0 0'/></svg></a>", "link"),
    ("<a href='{}'><img src='/cc.png' alt='Creative Commons licence'></a>", "link"),
    ("<p>Dieser Text steht unter der <a href='{}'>Creative-Commons-Lizenz</a>.</p>", "link"),
]
TEXT = "<p>The harbour was rebuilt twice, and each time the town grew a little further along the shore.</p>"


@pytest.mark.parametrize(("markup", "source"), GRANTED, ids=[m[:30] for m, _ in GRANTED])
@pytest.mark.parametrize(
    "page",
    [
        "<body><main>{text}{granted}</main></body>",
        "<body><article>{text}{granted}</article></body>",
        "<body>{text}{granted}</body>",
        "<body><main>{text}</main><footer><div>{granted}</div></footer></body>",
        "<body><div class='content-sidebar-wrap'><main>{text}{granted}</main></div></body>",
        "<body><div class='site no-comments has-sidebar'><article>{text}{granted}</article></div></body>",
        "<body><div class='has-sidebar no-comments'>{text}{granted}</div></body>",
        "<body><main><article>{text}{granted}</article></main></body>",
        "<body><main>{text}</main><div id='footer'>{granted}</div></body>",
    ],
)
def test_a_licence_that_the_page_grants_in_its_main_part_or_footer_is_its_own(
    page: str, markup: str, source: str
) -> None:
    assert license_of(page.format(text=TEXT, granted=markup.format(CC))) == ("CC-BY-SA-4.0", source)


@pytest.mark.parametrize(("markup", "_"), GRANTED, ids=[m[:30] for m, _ in GRANTED])
@pytest.mark.parametrize(
    "page",
    [
        "<main>{text}<blockquote>{granted}</blockquote></main>",
        "<main>{text}<figure><img src=a><figcaption>{granted}</figcaption></figure></main>",
        "<main>{text}</main><aside>{granted}</aside>",
        "<main>{text}</main><div class='comments'><div class='comment-body'>{granted}</div></div>",
        "<main>{text}<div class='widget'>{granted}</div></main>",
        "<main>{text}<article><article>{granted}</article></article></main>",
        "<main>{text}</main><div>{granted}</div>",
        "<main>{text}<div class='photo'><img src=a>{granted}</div></main>",
        "{text}<div class='sidebar'>{granted}</div>",
        "<article>{text}</article><article>{text}{granted}</article>",
        "<main><article>{text}<footer>{granted}</footer></article><article>{text}</article></main>",
    ],
)
def test_what_is_quoted_commented_shown_beside_or_of_another_page_is_not(page: str, markup: str, _: str) -> None:
    assert license_of(f"<body>{page.format(text=TEXT, granted=markup.format(CC))}</body>") == (None, None)


@pytest.mark.parametrize("granted", [GRANTED[0][0], GRANTED[2][0]])
def test_a_link_in_the_block_of_a_picture_is_the_picture_s(granted: str) -> None:
    body = f"<main>{TEXT}<div><img src=a.jpg>Photo: Jane Doe {granted.format(CC)}</div></main>"
    assert license_of(f"<body>{body}</body>") == (None, None)


NO_GRANTS = [
    "This work is not licensed under CC BY 4.0.",
    "Licensed under CC BY 4.0 until 2019; all rights reserved since.",
    "If this text were licensed under CC BY 4.0, you could copy it.",
    "Is this text licensed under CC BY 4.0?",
    "Some articles are licensed under CC BY 4.0.",
    "The photographs on this page are licensed under CC BY 4.0.",
    "We do not use Creative Commons licences, CC BY 4.0 among them.",
    "Dieser Text steht nicht unter der Lizenz CC BY 4.0.",
    "Released under the MIT License.",
    "The book by Jane Doe is licensed under CC BY 4.0.",
    "The text of that report is licensed under CC BY 4.0.",
    "This article is adapted from Smith (2019), licensed under CC BY 4.0.",
    "Photo: Jane Doe, licensed under CC BY 4.0.",
]


@pytest.mark.parametrize("sentence", NO_GRANTS)
@pytest.mark.parametrize("place", ["<main>{}{}</main>", "<main>{}</main><footer>{}</footer>"])
def test_a_sentence_that_denies_asks_or_speaks_of_something_else_grants_nothing(sentence: str, place: str) -> None:
    assert license_of(f"<body>{place.format(TEXT, f'<p>{sentence}</p>')}</body>") == (None, None)


@pytest.mark.parametrize(
    "sentence",
    [
        "Wikipedia is licensed under CC BY-SA 4.0, and we like that.",
        "Read more about <a href='https://creativecommons.org/licenses/by/4.0/'>the CC BY licence</a>.",
    ],
)
def test_in_the_main_part_it_has_to_be_the_page_that_is_licensed(sentence: str) -> None:
    assert license_of(f"<body><main>{TEXT}<p>{sentence}</p></main></body>") == (None, None)


@pytest.mark.parametrize(
    ("sentence", "name"),
    [
        ("© 2024 The Shore. CC BY-SA 4.0", "CC-BY-SA-4.0"),
        ("Text: CC BY-SA 3.0 DE. Code: MIT.", "CC-BY-SA-3.0-DE"),
        ("This documentation is released under the MIT License.", "MIT"),
        (
            "All content is available under the Open Government Licence v3.0, except where stated.",
            "OGL-UK-3.0",
        ),
        (
            "Content is available under GNU Free Documentation License 1.3 or later.",
            "GFDL-1.3-or-later",
        ),
        ("Content and images on this site are licensed under CC BY 4.0.", "CC-BY-4.0"),
        ("Dieser Text steht unter der Lizenz CC BY 4.0.", "CC-BY-4.0"),
        (
            "Dieser Text steht unter der Lizenz Creative Commons Namensnennung - Nicht kommerziell 4.0.",
            "CC-BY-NC-4.0",
        ),
        ("© 2024 The Shore. Some rights reserved under CC BY-NC 4.0.", "CC-BY-NC-4.0"),
        ("The text of this page is licensed under CC BY 4.0.", "CC-BY-4.0"),
        ("This article by Jane Doe is licensed under CC BY 4.0.", "CC-BY-4.0"),
        (
            "Except where otherwise noted, this site is licensed under Creative Commons Attribution 4.0.",
            "CC-BY-4.0",
        ),
    ],
)
def test_a_footer_grants_for_the_site(sentence: str, name: str) -> None:
    assert license_of(f"<body><main>{TEXT}</main><footer><p>{sentence}</p></footer></body>") == (name, "text")


@pytest.mark.parametrize(
    "sentence",
    [
        "Photo by Ann, licensed under <a href='{}'>CC BY-SA 4.0</a>.",
        "The icons are available under <a href='{}'>CC BY-SA 4.0</a>.",
        "The source code is licensed under CC BY-SA 4.0.",
        "In 2002 <a href='{}'>Creative Commons</a> wrote what became CC BY-SA 4.0.",
    ],
)
def test_what_is_granted_for_a_picture_or_told_of_licences_is_not(sentence: str) -> None:
    assert license_of(f"<body><main>{TEXT}<p>{sentence.format(CC)}</p></main></body>") == (None, None)


def json_ld(node: dict[str, object]) -> str:
    return f'<script type="application/ld+json">{json.dumps(node)}</script>'


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (f"<link rel='license' href='{CC}'>", ("CC-BY-SA-4.0", "rel")),
        ("<link rel='license' href='/terms/licence'>", ("https://a.test/terms/licence", "rel")),
        ("<meta name='DC.rights' content='CC BY 4.0'>", ("CC-BY-4.0", "dublin_core")),
        (f"<meta name='dcterms.license' content='{CC}'>", ("CC-BY-SA-4.0", "dublin_core")),
        ("<meta name='DC.rights' content='© 2020 The Press'>", (None, None)),
        (json_ld({"@type": "Article", "license": CC}), ("CC-BY-SA-4.0", "json_ld")),
        (json_ld({"@type": "WebPage", "license": {"@type": "CreativeWork", "url": CC}}), ("CC-BY-SA-4.0", "json_ld")),
        (json_ld({"@type": "ImageObject", "license": CC}), (None, None)),
    ],
)
def test_the_head_says_it_for_the_page(head: str, found: tuple[str | None, str | None]) -> None:
    assert license_of(f"<html><head>{head}</head><body><main>{TEXT}</main></body></html>") == found


def test_two_that_differ_are_a_conflict_and_one_named_twice_is_none() -> None:
    other = "https://creativecommons.org/licenses/by/3.0/"
    footer = "<footer><a href='{}'>licence</a> and CC BY-SA licence</footer>"
    head = f"<head><link rel=license href='{CC}'></head>"
    assert license_of(f"<html>{head}<body>{TEXT}{footer.format(other)}</body>") == (None, "conflict")
    assert license_of(f"<html>{head}<body>{TEXT}{footer.format(CC)}</body>") == ("CC-BY-SA-4.0", "rel")


@pytest.mark.parametrize(
    "unit",
    [
        *("<div><a rel=license href=x>", "<p>CC BY 4.0 licence", "<a href='//creativecommons.org/'>", "rel="),
        *(
            "<article>CC BY 4.0",
            "<div><img src=a><a rel=license href=x></a>",
            "Creative Commons Attribution-",
            "CC BY ",
        ),
    ],
)
def test_a_page_of_nothing_else_takes_linear_time(unit: str) -> None:
    def cost(length: int) -> float:
        began = time.process_time()
        license_of(unit * (length // len(unit)))
        return time.process_time() - began

    assert cost(2_000_000) < 20
    short, long = (min(cost(length) for _ in range(2)) for length in (200_000, 800_000))
    assert long < 9 * short + 0.05, "of quadratic time it would be sixteen times"
