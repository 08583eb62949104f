"""What libraries and the system say of a disk or a store that fails, in our words: what, where, and what to do."""

from __future__ import annotations

import errno
import os

from quarry_dagster.errors import QuarryError, StoreError

_REMEDIES = {
    errno.ENOSPC: "the disk is full: make room there and run again",
    errno.EDQUOT: "the quota is used up: make room there and run again",
    errno.EFBIG: "the file would be larger than this disk allows: make the partitions smaller",
    errno.EROFS: "the disk is read-only: mount it to be written, or name another data root with --data or QUARRY_DATA",
    errno.EACCES: "this user may not: make it accessible, or name another data root with --data or QUARRY_DATA",
    errno.EPERM: "this user may not: make it accessible, or name another data root with --data or QUARRY_DATA",
    errno.EIO: "the disk fails: look at the system's log, and restore from a backup on another disk",
    errno.ESTALE: "the network disk has lost it: mount it again and run again",
    errno.ENOTDIR: "a part of its path is a file: move that away, or name another data root with --data or QUARRY_DATA",
    errno.EISDIR: "there is a folder of that name: move that away",
    errno.ENAMETOOLONG: "the path is too long for this disk: name a data root with a shorter one",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n) and run again",
    errno.ENFILE: "too many files are open on this system: raise the limit and run again",
}
_SAID = {os.strerror(number): number for number in _REMEDIES}
"""What the system says: libraries pass it on in errors of many kinds."""
_DAMAGED_DATABASE = "it is damaged: move it away, and Dagster makes it anew; its history of runs is lost"
_DATABASES = {
    "database or disk is full": _REMEDIES[errno.ENOSPC],
    "disk I/O error": "the disk is full, or fails: make room there, or look at the system's log",
    "attempt to write a readonly database": _REMEDIES[errno.EACCES],
    "unable to open database file": _REMEDIES[errno.EACCES],
    "database is locked": "another process holds it: let that end, and run again",
    "database disk image is malformed": _DAMAGED_DATABASE,
    "file is not a database": _DAMAGED_DATABASE,
}
"""What SQLite says, in which Dagster keeps runs and events."""
_STORES = {
    "NoSuchBucket": "there is no such bucket: make it, or name another data root",
    "AccessDenied": "the store refuses these credentials: give them the right to read, write and list",
    "InvalidAccessKeyId": "the store does not know these credentials",
    "SignatureDoesNotMatch": "the store does not accept these credentials",
    "NoCredentials": "no credentials were found for this store",
    "EndpointConnectionError": "the store cannot be reached: look at the network and its address",
    "ConnectTimeoutError": "the store cannot be reached: look at the network and its address",
}


def in_our_words(error: BaseException, what: str, where: str) -> StoreError | None:
    """The error as our own; None where it is none of a disk or store, or our own already.

    Args:
        error: what was raised.
        what: what was to be done, such as "read".
        where: the file, as a person would name it.
    """
    if isinstance(error, QuarryError | FileExistsError):
        return None
    said = str(error)
    number = error.errno if isinstance(error, OSError) else None
    if number not in _REMEDIES:
        number = next((found for text, found in _SAID.items() if text in said), None)
    if number is not None:
        return StoreError(f"cannot {what} {where}: {_REMEDIES[number]}")
    if remedy := next((remedy for text, remedy in _DATABASES.items() if text in said), None):
        return StoreError(f"cannot {what} {where}: {remedy}")
    kind = type(error).__name__
    for name, remedy in _STORES.items():
        if name in kind or name in said:
            return StoreError(f"cannot {what} {where}: {remedy}")
    if isinstance(error, PermissionError):  # of an object store it has no number
        return StoreError(f"cannot {what} {where}: {_REMEDIES[errno.EACCES]}")
    return None
