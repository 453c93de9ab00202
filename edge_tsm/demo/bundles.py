"""The demo model that comes with the package, in clip and in online form."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def bundle(form: Literal["clip", "online"] = "clip") -> Path:
    """Return the folder of the demo bundle.

    >>> bundle().name, bundle("online").name
    ('demo.bundle', 'demo-online.bundle')
    >>> (bundle() / "card.json").is_file()
    True
    """
    return Path(__file__).parent / ("demo.bundle" if form == "clip" else "demo-online.bundle")
