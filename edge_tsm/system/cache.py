"""Where the user's cache is."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "EDGE_TSM_CACHE"


def cache_folder() -> Path:
    """Return the folder that EDGE_TSM_CACHE names, else the user's own; it may not be there yet."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("edge-tsm"))
