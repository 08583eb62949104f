"""Facts of a page: what its markup says of it, apart from what it says to its readers.

`tags` finds elements in markup of any state, `head` reads a page's head with them, `json_ld` what its JSON-LD says,
`kind` tells from these what kind of page it is.
All of it is a function of the markup alone, loads no parser, and costs the same for each byte whatever the page is:
it may be asked in the process that crawls.
"""

from quarry_dagster.page.head import Head, Link, Meta, read_head
from quarry_dagster.page.json_ld import JsonLd, Node, read_json_ld, text_in, typed, types_of
from quarry_dagster.page.kind import PAGE_TYPE_SOURCES, PAGE_TYPES, page_type

__all__ = [
    "PAGE_TYPES",
    "PAGE_TYPE_SOURCES",
    "Head",
    "JsonLd",
    "Link",
    "Meta",
    "Node",
    "page_type",
    "read_head",
    "read_json_ld",
    "text_in",
    "typed",
    "types_of",
]
