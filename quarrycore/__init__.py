"""The deployment guide's names in Python, over `quarry_dagster`, which does the work.

quarrycore.CascadeExtractor(gpu_enabled=True)  # await .extract_batch(pages) -> texts and vectors of crawled pages
quarrycore.observability.GPUMonitor()  # use of the GPUs, and embeddings a second, while it watches
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quarry_dagster.environment import profile_name
from quarry_dagster.errors import ConfigError
from quarry_dagster.extract import Extraction, Extractor, Page, normal_form
from quarry_dagster.profiles.choose import choose_profile
from quarry_dagster.store.schemas import EXTRACTED

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

__all__ = ["CascadeExtractor", "Result"]


@dataclass(frozen=True)
class Result:
    """What one page gave."""

    url: str
    extraction: Extraction
    """Its text, title, author, date, language and more; `outcome` says what became of it, and `detail` why."""
    embedding: np.ndarray | None
    """The vector of its text: float32 of shape (dim,), of length one; None where it has none."""

    @property
    def text(self) -> str | None:
        """The main text in Markdown; None where the page was not accepted."""
        return self.extraction.text if self.extraction.outcome == EXTRACTED else None


class CascadeExtractor:
    """Extracts the main texts of crawled pages and embeds them, as a run does: trafilatura with its fallbacks, then the
    profile's model."""

    def __init__(self, gpu_enabled: bool = True, profile: str | None = None) -> None:
        """`gpu_enabled` embeds on a GPU where there is one, and the profile's backend is torch: OpenVINO and static
        tables stay on the CPU. `profile` is a name or the path of a YAML; without it QUARRY_PROFILE names one, or the
        hardware found chooses it.

        Raises:
            ConfigError: there is no such profile, or it is wrong; or `gpu_enabled` is neither true nor false.
        """
        if not isinstance(gpu_enabled, bool):
            raise ConfigError(f"gpu_enabled: True or False, not {gpu_enabled!r}")
        chosen = choose_profile(profile_name(profile)).profile
        device = {"device": "auto" if gpu_enabled else "cpu"}
        self._profile = chosen.model_copy(update={"embedding": chosen.embedding.model_copy(update=device)})

    async def extract_batch(self, pages: Iterable[Mapping[str, Any] | object] | pl.DataFrame) -> list[Result]:
        """What each page gave, in the order of the pages.

        A page is a mapping or an object with `url` and `body` or `html` (bytes or str), and maybe `content_type` and
        `final_url`: a row of the table `raw_pages`, or what a crawler of your own returns. One without a body gets
        outcome `not_fetched`.

        Raises:
            ConfigError: they are no pages, or a page has no url; or the profile cannot be used here.
            ModelError: the model cannot be loaded.
        """
        if not isinstance(pages, Iterable):
            raise ConfigError(f"pages: a list of pages or a frame, not {type(pages).__name__}")
        rows = pages.iter_rows(named=True) if hasattr(pages, "iter_rows") else pages  # pyright: ignore
        return await asyncio.to_thread(self._extract, [_page(row, at) for at, row in enumerate(rows)])

    def _extract(self, pages: list[Page]) -> list[Result]:
        from quarry_dagster.embed import load_encoder

        there = [page for page in pages if page.body]
        with Extractor(self._profile.extraction, self._profile.hardware.worker_count) as extractor:
            made = {extraction.key: extraction for extraction in extractor.extract(there)}
        accepted = [extraction for extraction in made.values() if extraction.outcome == EXTRACTED]
        vectors = {}
        if accepted:
            encoder = load_encoder(self._profile.embedding, self._profile.hardware.gpu_memory_fraction)
            embedded = encoder.encode([normal_form(extraction.text or "") for extraction in accepted])
            vectors = {extraction.key: vector for extraction, vector in zip(accepted, embedded, strict=True)}
        missing = [Extraction(page.key, "not_fetched", "none", "it has no body") for page in pages if not page.body]
        made |= {extraction.key: extraction for extraction in missing}
        return [Result(page.url, made[page.key], vectors.get(page.key)) for page in pages]


def _page(given: Mapping[str, Any] | object, at: int) -> Page:
    def read(*names: str) -> Any:
        values = (given.get(n) if isinstance(given, Mapping) else getattr(given, n, None) for n in names)
        return next((value for value in values if value is not None), None)

    url, body = read("final_url", "url"), read("body", "html")
    if not isinstance(url, str) or not isinstance(body, str | bytes | None):
        raise ConfigError(
            f"page {at} of the batch: a page is a mapping or an object with a url (str) and a body or html (str or "
            f"bytes), and this is {type(given).__name__} with a url of {type(url).__name__} and a body of "
            f"{type(body).__name__}"
        )
    is_text = isinstance(body, str)
    content_type = "text/html; charset=utf-8" if is_text else read("content_type")
    return Page(str(at), url, body.encode("utf-8", "replace") if is_text else body or b"", content_type)
