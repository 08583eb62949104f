"""The page: one HTML file without scripts that loads nothing.

Pages, URLs and seed files come from strangers. Every value is escaped by the template engine, characters that
could reorder or break the page are shown as U+FFFD, only http(s) URLs become links, and a content security policy
forbids scripts and requests should all that fail.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from quarry_dagster.dedup import decide, near
from quarry_dagster.errors import InvalidUrl
from quarry_dagster.plural import plural
from quarry_dagster.report.charts import bars
from quarry_dagster.report.figures import Facts
from quarry_dagster.wire import wire_url

_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\uffff]")

RULES = {
    decide.URL_RULE: "same address after redirects, but for tracking parameters",
    decide.EXACT_RULE: "same text but for case and spacing",
    decide.NEAR_RULE: "most of it stands in its witness, and no guard speaks against it",
    decide.WHOLE_RULE: f"at least {decide.WHOLE:.0%} of its word 3-grams stand in its witness",
    decide.CLEANER_RULE: "its witness is a near duplicate of it, and the cleaner copy",
    decide.PASSING_RULE: "its witness is a near duplicate of it, and passes the quality policy where it does not",
    decide.CONTAINED_RULE: f"at least {near.PART_KEPT:.0%} of its word 3-grams stand in a much longer text",
    decide.COSINE_RULE: "the cosine of the two vectors reaches the similarity threshold",
}


def render(facts: Facts) -> str:
    """The page of these facts; equal facts give an equal page."""
    import jinja2  # each Dagster process pays for what loads with the definitions

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": "{:,}".format,
        "plural": plural,
        "percent": _percent,
        "short": _short,
        "href": _href,
    }
    environment.globals |= {"bars": bars, "rules": RULES}
    return environment.get_template("corpus.html.jinja").render(facts=facts)


def _clean(value: Any) -> Any:
    return _UNSAFE.sub("\ufffd", value) if type(value) is str else value  # a Markup has been through here


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "<0.1%"
    return f"{share:.1%}" if share else "0%"


def _short(text: str, length: int = 140) -> str:
    """The text on one line, its middle left out where it is too long."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length * 2 // 3]}…{line[-(length // 3) :]}"


def _href(url: str) -> str | None:
    """What a link to this URL names; None where it is no http(s) URL."""
    try:
        return wire_url(url)
    except InvalidUrl:
        return None
