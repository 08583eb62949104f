"""Deduplication: candidates widely, decisions narrowly. Nothing here knows where tables are kept.

- :mod:`~quarry_dagster.dedup.tokens`: text to the words that it is compared by, as hashes
- :mod:`~quarry_dagster.dedup.shingles`: words to n-grams, and their sampled sketch
- :mod:`~quarry_dagster.dedup.candidates`: which pairs of texts are worth a look, by sketch and by vector
- :mod:`~quarry_dagster.dedup.near`: the rule for two texts, with its guards, and which of the two is the cleaner one
- :mod:`~quarry_dagster.dedup.reasons`: what the guards saw, in words
- :mod:`~quarry_dagster.dedup.verify`: the scores of a pair, from the full texts
- :mod:`~quarry_dagster.dedup.scoring`: the same of very many pairs, some at a time
- :mod:`~quarry_dagster.dedup.decide`: rules, the total order, and stars around kept documents
- :mod:`~quarry_dagster.dedup.anew`: all of these over a set of texts at once, without vectors and without history
"""
