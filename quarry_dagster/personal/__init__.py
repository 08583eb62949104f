"""Personal data in texts: where it stands, how sure that is, and texts without it.

`find.py` asks all rules: `network.py` for e-mail and hosts, `numbers.py` for cards, accounts and ids with check digits,
`phones.py`, `secrets.py`; `redact.py` gives a text without what was found.
"""

from quarry_dagster.personal.find import personal_data, version
from quarry_dagster.personal.finding import TYPES, Finding
from quarry_dagster.personal.redact import How, redact

__all__ = ["TYPES", "Finding", "How", "personal_data", "redact", "version"]
