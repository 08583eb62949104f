"""Trying to break a data root: kills, failing disks, many writers, hostile input, large input.

Each attack is one module; `python -m benchmarks.torture` runs them, or those that are named.
"""
