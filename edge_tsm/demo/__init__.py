"""The demo model, and the generated video that it was trained on.

It recognizes how something moves: swipes, zooms, turns, or nothing in particular. It was trained
from scratch by examples/train_demo.py on the video of `edge_tsm.demo.synthetic`, which needs
OpenCV.
"""

from edge_tsm.demo.bundles import bundle

__all__ = ["bundle"]
