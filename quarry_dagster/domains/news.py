"""News, by schema.org's NewsArticle and OpenGraph's article."""

from __future__ import annotations

import re
from typing import Any

from quarry_dagster.domains.view import PageView, filled, names, said

_TYPES = (
    *("NewsArticle", "ReportageNewsArticle", "AnalysisNewsArticle", "OpinionNewsArticle", "BackgroundNewsArticle"),
    *("ReviewNewsArticle", "LiveBlogPosting"),
)


def news(view: PageView) -> dict[str, Any] | None:
    """`section`, `author`, `is_accessible_for_free`, `publisher`, `keywords`."""
    found = view.nodes(*_TYPES)
    is_told = view.head.contents("article:section", "news_keywords") and "article" in view.head.contents("og:type")
    if not found and not is_told:
        return None
    node = max(found, key=len, default={})
    sections = names(view, node.get("articleSection")) or view.head.contents("article:section")
    return filled(
        {
            "section": sections[0] if sections else None,
            "author": names(view, node.get("author")) or ([view.author] if view.author else []),
            "is_accessible_for_free": is_free(node.get("isAccessibleForFree")),
            "publisher": said(view.first(node.get("publisher"))),
            "keywords": keywords(names(view, node.get("keywords")) or view.head.contents("news_keywords")),
        }
    )


def is_free(value: Any) -> bool | None:
    """Whether `isAccessibleForFree` says that everybody may read all; None where it says nothing."""
    text = (said(value) or "").rpartition("/")[2].strip().casefold()
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(text)


def keywords(found: list[str]) -> list[str]:
    """The words of lists that are set apart by commas or semicolons, each once."""
    return list(dict.fromkeys(word.strip() for each in found for word in re.split("[,;]", each) if word.strip()))[:50]
