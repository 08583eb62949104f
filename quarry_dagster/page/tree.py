"""A page's elements, parsed by lxml: for worker processes alone, which a page may cost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_REFERENCE = re.compile(r"&#(?:[xX]([0-9a-fA-F]++)|([0-9]++));?")


def parse(source: str) -> tuple[HtmlElement | None, str | None]:
    """The page's tree, None where it has no element, and what the parser could not read.

    Not trafilatura's own parsing, which gives up at 256 nested elements without a word and keeps what came before.
    """
    from lxml.etree import ElementDefaultClassLookup, ErrorLevels, ErrorTypes, ParserError
    from lxml.html import HtmlElement, HTMLParser, document_fromstring

    parser = HTMLParser(
        collect_ids=False,
        default_doctype=False,
        encoding="utf-8",
        huge_tree=True,
        remove_comments=True,
        remove_pis=True,
    )
    # lxml looks for a class for forms, labels and the like by a Python call for each element; nobody here needs them.
    parser.set_element_class_lookup(ElementDefaultClassLookup(element=HtmlElement))
    if "&#" in source:
        source = _REFERENCE.sub(_character, source)
    try:
        tree = document_fromstring(source.encode("utf-8", "replace"), parser=parser)
    except ParserError:  # "Document is empty"
        tree = None
    for entry in parser.error_log.filter_from_level(ErrorLevels.FATAL):
        if entry.type == ErrorTypes.ERR_RESOURCE_LIMIT:
            return tree, f"cut by the parser: {entry.message.partition(', use')[0]}"
    return tree, None


def _character(reference: re.Match[str]) -> str:
    """A reference to a character that XML can hold; nothing in the place of one that it cannot."""
    digits = (reference[1] or reference[2]).lstrip("0")[:8]  # more are no character, however many
    code = int(digits or "0", 16 if reference[1] else 10)
    is_text = code in (9, 10, 13) or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or 0xFFFF < code <= 0x10FFFF
    return reference[0] if is_text else ""
