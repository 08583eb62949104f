"""Quality of texts: signals, which are numbers, and policies, which decide by them.

Knows no store, no profile and no Dagster.
"""

from quarry_dagster.quality.signals import SIGNALS, VERSION, Signal, Text, signals

__all__ = ["SIGNALS", "VERSION", "Signal", "Text", "signals"]
