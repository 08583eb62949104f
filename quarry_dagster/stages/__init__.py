"""What each asset does with the store, one module an asset, without Dagster: read, reuse, call the domain, write.

A stage decides what is new by comparing fingerprints: the digest of what its inputs hold and the version of the
code and settings that would work on them. Where nothing is new it writes nothing.
"""
