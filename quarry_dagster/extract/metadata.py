"""Title, author and date of a page, as trafilatura finds them.

Its `extract_metadata` also looks for categories, tags, site name and licence, which takes a third of its time and is
not kept. The steps here are its own, in its order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_NEWEST_DATE = "2099-12-31"
"""A constant: the result is not to depend on the day."""


def page_metadata(tree: HtmlElement, url: str | None, *, thorough: bool) -> dict[str, str | None]:
    """`title`, `author` and `date` (ISO 8601); `tree` stays as it is.

    Not `thorough`: a date only where the page marks it as one, an author only where its metadata name one.

    Raises:
        MemoryError: also from JSON-LD, for a row is not to depend on `worker_memory_mb` (see page.py).
    """
    from htmldate import find_date
    from trafilatura import metadata

    found = metadata.examine_meta(tree)
    if found.author and " " not in found.author:
        found.author = None
    try:
        found = metadata.extract_meta_json(tree, found)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  whatever a page writes as JSON-LD: what was read before it stays
        pass
    found.title = found.title or metadata.extract_title(tree)
    if thorough:
        found.author = found.author or metadata.extract_author(tree)
    found.date = find_date(
        tree,
        url=found.url or metadata.extract_url(tree, url),
        original_date=True,
        extensive_search=thorough,
        max_date=_NEWEST_DATE,
    )
    found.clean_and_trim()
    return {name: getattr(found, name) or None for name in ("title", "author", "date")}
