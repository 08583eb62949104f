"""Code on a page, character by character: what stands in `pre` is kept as it is shown, whatever the extractor does.

An extractor joins lines, drops blanks and takes marks for its own. So each block is put between two words that the page
does not have, and what comes back between them gives way to the block's own text, in a fence.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_NUMBERED = re.compile(
    r"(?:^|[\s_-])(?:line-?num(?:ber)?s?|linenos?|ln-num(?:bers)?|hljs-ln-n|gutter|rouge-gutter|ln|nums)(?:$|[\s_-])",
    re.IGNORECASE,
)
"""Classes of what highlighters put numbers of lines into."""
_NUMBERS = re.compile(r"[\d\s.:|]*")
_LINES = {"div", "p", "li", "tr", "table", "ol", "ul", "figure"}
"""Elements of which each is a line of its own, or several."""
_NOT_SHOWN = {"style", "script", "template"}
_FILLED = {"tr", "li"}
"""Lines that are shown with nothing in them, too: their number is."""
_ROWS = {"table", "thead", "tbody", "tr", "ol", "ul"}
"""Elements in which text of their own is nothing but the markup's layout."""
_WITHOUT_PRE = re.compile(
    r"(?:^|\s)(?:syntaxhighlighter|crayon-main|w3-code|hljs-ln|js-file-line-container|blob-wrapper)(?:$|\s)"
)
"""Classes of the blocks of highlighters that make no `pre`."""
_LANGUAGE = re.compile(
    r"(?:^|\s)(?:lang(?:uage)?-|highlight-(?:source-|text-)?|sourceCode |brush:\s*)"
    r"(?![\w-]*(?:line|wrap|block))([\w+#.-]+)"
)
_NO_LANGUAGE = {"none", "plaintext", "text", "plain", "default", "highlight", "nohighlight", "notranslate"}
_LINE_END = re.compile(r"\r\n?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class CodeBlocks:
    """The blocks of code of one page."""

    def __init__(self, tree: HtmlElement) -> None:
        """Mark the blocks in the tree, which is changed: each is one element without children."""
        self._blocks: list[tuple[str, str]] = []
        self._word = "qcode"
        blocks, codes = _outermost(tree)
        if blocks:
            whole = "".join(tree.itertext())
            while self._word in whole:
                self._word += "q"
        for block in blocks:
            text = text_of(block)
            if not text or (_NUMBERS.fullmatch(text) and _is_beside_code(block)):
                _empty(block, "span")
            else:
                self._mark(block, text)
        for code in codes:  # its markup says nothing, and a line of markup that ends is no line of code
            text = " ".join("".join(code.itertext()).split())
            _empty(code, "code" if text else "span")
            code.text = text or None

    def restored(self, text: str) -> str:
        """What was extracted, with each block that is in it in a fence of its own."""
        if not self._blocks:
            return text
        word = self._word
        # With the marks that the extractor has put around it, of a code block or a cell.
        between = rf"(?:`+\n?)?[^\S\n]*{word}b(\d+)q.*?{word}e\1q(?:\s*\n`{{3,}})?[`*|~ ]*"
        text = re.sub(between, self._fenced, text, flags=re.DOTALL)
        return re.sub(rf"{word}[be]\d+q ?", "", text)

    def _mark(self, block: HtmlElement, text: str) -> None:
        number = len(self._blocks)
        self._blocks.append((text, _language_of(block)))
        _empty(block, "pre")
        block.text = f"{self._word}b{number}q {text} {self._word}e{number}q"

    def _fenced(self, found: re.Match[str]) -> str:
        code, language = self._blocks[int(found[1])]
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", code) or [""]))
        return f"\n{fence}{language}\n{code}\n{fence}\n"


def _outermost(tree: HtmlElement) -> tuple[list[HtmlElement], list[HtmlElement]]:
    """The blocks of code, and the pieces of code within lines, that are in no other."""
    from lxml.etree import iterwalk

    blocks: list[HtmlElement] = []
    codes: list[HtmlElement] = []
    walk = iterwalk(tree, events=("start",), tag=("pre", "code", "div", "table"))
    for _, element in walk:
        if element.tag in ("div", "table") and not _WITHOUT_PRE.search(element.get("class") or ""):
            continue
        is_line = element.tag == "code" and element.find(".//br") is None
        (codes if is_line else blocks).append(element)
        walk.skip_subtree()
    return blocks, codes


def text_of(block: HtmlElement) -> str:
    """The text of a block as it is shown, without the numbers of its lines, and without empty lines around it."""
    from lxml.etree import iterwalk

    parts: list[str] = []
    ended = True  # whether the last part ends a line

    def add(text: str | None) -> None:
        nonlocal ended
        if text:
            parts.append(text)
            ended = text.endswith("\n")

    walk = iterwalk(block, events=("start", "end"))
    begun = 0  # how many parts stand before the row that is read
    for event, element in walk:
        is_inner = element is not block
        if is_inner and element.tag in _LINES and not ended:
            add("\n")
        if event == "start" and is_inner and (element.tag in _NOT_SHOWN or _is_number(element)):
            walk.skip_subtree()
        elif event == "start":
            begun = len(parts) if element.tag in _FILLED else begun
            add("\n" if element.tag == "br" else element.text)
        elif is_inner:
            if element.tag in _FILLED and len(parts) == begun:
                add("\n")
            if element.getparent().tag not in _ROWS or (element.tail or "").strip():
                add(element.tail)
    lines = _CONTROLS.sub("", _LINE_END.sub("\n", "".join(parts))).split("\n")
    filled = [i for i, line in enumerate(lines) if line.strip()]
    return "\n".join(lines[filled[0] : filled[-1] + 1]) if filled else ""


def _is_number(element: HtmlElement) -> bool:
    """Whether an element holds the numbers of lines and nothing else: by its class, or by standing before a line."""
    name = element.get("class")
    if name and _NUMBERED.search(name):
        return all(map(_NUMBERS.fullmatch, islice(element.itertext(), 10_000)))
    if len(element) or not (element.text or "").strip().isdigit() or (element.tail or "").strip():
        return False
    line = element.getnext()
    return line is not None and line.tag in _LINES and element.getprevious() is None


def _is_beside_code(block: HtmlElement) -> bool:
    """Whether a block of numbers alone stands in a row of a table, where the code stands in the next cell."""
    cell = next(block.iterancestors("td"), None)
    return cell is not None and cell.getnext() is not None and cell.getnext().find(".//pre") is not None


def _language_of(block: HtmlElement) -> str:
    """The language that the classes of a block, of the code in it or of what it stands in name, else ""."""
    around = [block, *block.iter("code"), *list(block.iterancestors())[:2]]
    for element in around:
        found = _LANGUAGE.search(f"{element.get('class') or ''} ")
        if found and found[1].lower() not in _NO_LANGUAGE:
            return found[1].lower()
    return ""


def _empty(block: HtmlElement, tag: str) -> None:
    tail = block.tail
    block.clear()
    block.tag, block.tail = tag, tail
