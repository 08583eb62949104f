"""What datatrove's filters say of texts: run by a Python that has datatrove and spaCy, and not this project.

A text a line comes in as JSON. Out go, a line a text: its words, what each filter and FineWeb's chain of them say
(null, or the reason for which the text is dropped), and the CPU seconds that the four filters and the chain took.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def main() -> int:
    from datatrove.data import Document  # pyright: ignore[reportMissingImports]
    from datatrove.pipeline.filters import (  # pyright: ignore[reportMissingImports]
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.utils.text import (  # pyright: ignore[reportMissingImports]
        split_into_parts,
        split_into_words,
    )

    alone = {
        "gopher_repetition": GopherRepetitionFilter(),
        "gopher_quality": GopherQualityFilter(),
        "c4": C4QualityFilter(),
        "fineweb_quality": FineWebQualityFilter(),
    }
    chain = (
        alone["gopher_repetition"],
        alone["gopher_quality"],
        C4QualityFilter(filter_no_terminal_punct=False),
        alone["fineweb_quality"],
    )

    def by_chain(text: str) -> str | None:
        document = Document(text=text, id="")
        return next((reason for each in chain if (reason := verdict(each, document))), None)

    def verdict(each: Any, document: Any) -> str | None:
        passed = each.filter(document)
        return passed[1] if isinstance(passed, tuple) else None

    split_into_words("Warm.")
    for line in sys.stdin:
        text = json.loads(line)
        split_into_parts.cache_clear()
        reasons, seconds = timed(
            lambda text=text: {k: verdict(f, Document(text=text, id="")) for k, f in alone.items()}
        )
        split_into_parts.cache_clear()
        reasons["chain"], chain_seconds = timed(lambda text=text: by_chain(text))
        answer = {
            "words": split_into_words(text),
            "reasons": reasons,
            "seconds": seconds,
            "chain_seconds": chain_seconds,
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return 0


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    result = work()
    return result, time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
