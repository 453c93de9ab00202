"""Where the user's cache is."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "EDGE_TSM_CACHE"


def cache_folder() -> Path:
    """Return the folder that EDGE_TSM_CACHE names, else the user's own; it may not be there yet."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named)
    import platformdirs  # not before a folder is asked for: a start is to be short

    return Path(platformdirs.user_cache_dir("edge-tsm"))
