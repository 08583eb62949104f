"""Datasets made of a published corpus: files that others can load, trace and trust.

An export is a function of the corpus and of its settings (:class:`quarry_dagster.profiles.settings.Export`): the same
give the same bytes. A new format is a class of :mod:`quarry_dagster.exports.formats` and a line in its registry.
"""

from quarry_dagster.exports.export import Exported, export

__all__ = ["Exported", "export"]
