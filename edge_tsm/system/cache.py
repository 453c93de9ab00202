"""Where the user's cache, and what should outlast a cache, are (XDG Base Directory)."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "EDGE_TSM_CACHE"


def cache_folder() -> Path:
    """Return the folder that EDGE_TSM_CACHE names, else the user's own; it may not be there yet."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else _own("XDG_CACHE_HOME", "~/.cache")


def state_folder() -> Path:
    """Return the user's folder of what should outlast a cache; it may not be there yet."""
    return _own("XDG_STATE_HOME", "~/.local/state")


def _own(variable: str, usual: str) -> Path:
    # Unlike Path.expanduser, this raises nothing for a user without a home, as in containers.
    return Path(os.environ.get(variable) or os.path.expanduser(usual)) / "edge-tsm"  # noqa: PTH111
