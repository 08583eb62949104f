"""Settings that come from the environment: where data and caches lie, what may be crawled, which profile is used."""

from __future__ import annotations

import getpass
import os
import platform
from pathlib import Path
from urllib.parse import unquote

from quarry_dagster.errors import ConfigError

DEFAULT_DATA = "data"


def data_root(given: str | None = None) -> str:
    """The data root: as given, else $QUARRY_DATA, else `data` in the working folder. Local paths are absolute."""
    root = given or os.environ.get("QUARRY_DATA") or DEFAULT_DATA
    return root if "://" in root else str(Path(root).expanduser().absolute())


def cache_folder() -> Path:
    """What this machine keeps for itself, and can make again: `quarry-dagster` in $XDG_CACHE_HOME, else `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quarry-dagster"


def profile_name(given: str | None = None) -> str | None:
    """The profile's name or path: as given, else $QUARRY_PROFILE; None means to detect it."""
    return given or os.environ.get("QUARRY_PROFILE") or None


def code_location() -> str:
    """$QUARRY_CODE_LOCATION, the name under which the UI knows our definitions: that of workspace.yaml by default."""
    return os.environ.get("QUARRY_CODE_LOCATION") or "quarry_dagster"


def check_dagster_home(beside: Path | None) -> None:
    """Return if Dagster can keep its run history: in $DAGSTER_HOME, else in this folder beside a local data root.

    Raises:
        ConfigError: $DAGSTER_HOME is no folder by its full path, it is needed and not set, or no database can be there.
    """
    home = os.environ.get("DAGSTER_HOME") or beside
    if home is None:
        raise ConfigError("set DAGSTER_HOME to a local folder: Dagster keeps its run history there")
    if unquote(str(home).partition("?")[0]) != str(home):  # Dagster puts it into the URL of a database as it is
        raise ConfigError(
            f"Dagster cannot keep its run history in {str(home)!r}: the path has a question mark, or an escape such as "
            "%20; rename the folder, or set DAGSTER_HOME to another"
        )
    if home is beside:
        return
    folder = Path(home).expanduser()
    if not (folder.is_absolute() and folder.is_dir()):
        raise ConfigError(
            f"DAGSTER_HOME is {home!r}, which is no folder by its full path: make it, or unset DAGSTER_HOME"
        )


def who() -> str:
    """The user and the machine of this process, as records name who said something."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        user = f"user {os.getuid()}"
    return f"{user} on {platform.node()}"


def allowed_addresses() -> str:
    """$QUARRY_ALLOW_ADDRESSES, a list of CIDRs of private addresses that may be crawled."""
    return os.environ.get("QUARRY_ALLOW_ADDRESSES", "")
