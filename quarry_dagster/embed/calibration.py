"""Ordinary text that conversions are adjusted on: always the same, so that they do not depend on the user's corpus."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

_TEXTS = 32


@lru_cache(maxsize=1)
def calibration_texts() -> list[str]:
    """What the pages of the demo say."""
    from lxml import html

    site = Path(str(files("quarry_dagster") / "demo" / "site"))
    pages = sorted(site.rglob("*.html"))[:_TEXTS]
    return [" ".join(html.fromstring(page.read_bytes()).text_content().split()).lower() for page in pages]


@lru_cache(maxsize=1)
def calibration_id() -> str:
    """Names the texts."""
    return hashlib.sha256("\n".join(calibration_texts()).encode()).hexdigest()[:8]
