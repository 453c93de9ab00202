"""The demo model that comes with the package, in clip and in online form.

Trained from scratch on generated video (`edge_tsm.demo.synthetic`) by examples/train_demo.py; it
tells how something moves: swipes, zooms, turns, or nothing in particular.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def bundle(form: Literal["clip", "online"] = "clip") -> Path:
    """Return the folder of the demo bundle."""
    return Path(__file__).parent / ("demo.bundle" if form == "clip" else "demo-online.bundle")
