"""Character references in attributes, as HTML has them: `&region=` in a link is a parameter, and no `®ion=`."""

from __future__ import annotations

import html
import re
from html.entities import html5

_REFERENCE = re.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[A-Za-z][A-Za-z0-9]{1,31};?)")
_LONGEST_BARE = max(len(name) for name in html5 if not name.endswith(";"))


def attribute_value(written: str) -> str:
    """The value that an attribute's text stands for.

    Unlike in a page's text, a named reference without its semicolon is none where `=`, a letter or a digit follows
    (WHATWG HTML 13.2.5.73, "consumed as part of an attribute").
    """
    if "&" not in written:
        return written
    return _REFERENCE.sub(_resolved, written)


def _resolved(found: re.Match[str]) -> str:
    reference = found[0]
    if reference[1] == "#" or (reference[1:] in html5 and reference.endswith(";")):
        return html.unescape(reference)
    # The longest name that needs no semicolon: it may be shorter than what was found.
    for size in range(min(len(reference) - 1, _LONGEST_BARE), 1, -1):
        if (name := reference[1 : 1 + size]) in html5:
            behind = reference[1 + size :] or found.string[found.end() : found.end() + 1]
            is_text = behind[:1] == "=" or (behind[:1].isascii() and behind[:1].isalnum())
            return reference if is_text else html5[name] + reference[1 + size :]
    return reference
