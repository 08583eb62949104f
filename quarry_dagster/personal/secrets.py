"""Secrets: keys and tokens that vendors give a literal prefix, private keys, signed tokens.

The forms are those that the vendors document for scanners of secrets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from quarry_dagster.personal.finding import Finding

_RULES = (
    ("aws", "AKIA", r"AKIA[A-Z0-9]{16}(?![A-Z0-9])", 0.95),
    ("aws", "ASIA", r"ASIA[A-Z0-9]{16}(?![A-Z0-9])", 0.95),
    ("github", "gh", r"gh[pousr]_[A-Za-z0-9]{36,255}(?![A-Za-z0-9])", 0.99),
    ("github", "github_pat_", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}", 0.99),
    ("gitlab", "glpat-", r"glpat-[\w-]{20,64}", 0.98),
    ("slack", "xox", r"xox[abeoprs]-[A-Za-z0-9-]{10,250}", 0.97),
    (
        "slack",
        "hooks.slack.com/",
        r"hooks\.slack\.com/services/T[A-Z0-9]{8,12}/B[A-Z0-9]{8,12}/\w{20,30}",
        0.99,
    ),
    ("stripe", "_live_", r"(?:sk|rk)_live_[A-Za-z0-9]{16,247}", 0.99),
    ("google", "AIza", r"AIza[\w-]{35}(?![\w-])", 0.95),
    ("google", "GOCSPX-", r"GOCSPX-[\w-]{28}", 0.98),
    ("anthropic", "sk-ant-", r"sk-ant-[\w-]{20,200}", 0.99),
    ("openai", "sk-", r"sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,100}T3BlbkFJ[A-Za-z0-9_-]{20,100}", 0.99),
    ("openai", "sk-", r"sk-(?!ant-)[A-Za-z0-9]{48}(?![A-Za-z0-9])", 0.9),
    ("huggingface", "hf_", r"hf_[A-Za-z]{34}(?![A-Za-z0-9])", 0.97),
    ("npm", "npm_", r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])", 0.98),
    ("pypi", "pypi-AgE", r"pypi-AgE[\w-]{50,1000}", 0.99),
    ("sendgrid", "SG.", r"SG\.[\w-]{22}\.[\w-]{43}", 0.99),
    ("digitalocean", "_v1_", r"do[opr]_v1_[a-f0-9]{64}", 0.99),
    ("shopify", "shp", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}", 0.99),
    ("azure", "AccountKey=", r"AccountKey=[A-Za-z0-9+/]{86}==", 0.98),
    ("telegram", ":AA", r"\d{8,10}:AA[\w-]{33}(?![\w-])", 0.97),
    (
        "jwt",
        "eyJ",
        r"eyJ[A-Za-z0-9_-]{8,2000}+\.eyJ[A-Za-z0-9_-]{8,4000}+\.[A-Za-z0-9_-]{16,1000}",
        0.9,
    ),
    (
        "private_key",
        "PRIVATE KEY",
        r"-----BEGIN (?:[A-Z]{2,10} )?PRIVATE KEY(?: BLOCK)?-----"
        r"(?:(?:\s|\\[nr]){0,4}[A-Z][A-Za-z-]{2,20}: ?[\w,. ():/-]{1,100}(?=\s|\\[nr])){0,5}[^-]{64,20000}"
        r"-----END [A-Z ]{0,20}PRIVATE KEY[A-Z ]{0,6}-----",
        0.99,
    ),
)
_COMPILED = tuple(
    (rule, hint, re.compile(rf"(?<![A-Za-z0-9]){pattern}", re.ASCII), sure) for rule, hint, pattern, sure in _RULES
)
_PLACEHOLDER = re.compile(r"EXAMPLE|example|XXXX|xxxx|\.\.\.|0{8}|1234567890|abcdefgh|your[_-]", re.ASCII)
_IN_URL = re.compile(
    r"[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{1,100}:([^\s/@]{3,100})@(?!localhost|127\.|example|host\b)", re.ASCII
)
"""A password in a URL: RFC 3986, 3.2.1."""
_VARIETY = 8
"""Different characters that a real key has at least."""


_EXAMPLES = frozenset(
    {"password", "pass", "pw", "passwd", "secret", "token", "key", "port", "guest", "root", "admin", "user"}
)


def secrets(text: str) -> Iterator[Finding]:
    """The secrets of a text; placeholders of manuals are none."""
    for rule, hint, pattern, sure in _COMPILED:
        if hint not in text:
            continue
        for found in pattern.finditer(text):
            if not _PLACEHOLDER.search(found[0]) and len(set(found[0])) >= _VARIETY:
                yield Finding("secret", rule, sure, *found.span())
    if "://" in text:
        for found in _IN_URL.finditer(text):
            if not _PLACEHOLDER.search(found[1]) and found[1].lower() not in _EXAMPLES:
                yield Finding("secret", "url", 0.9, *found.span(1))
