"""A source of your own: any class with these five members. Here: the screen of nothing at all.

    python examples/custom_source.py out/gestures.bundle

What it raises as SourceError counts as a loss, and `reopens` lets it be iterated again after one.
"""

import sys
import threading
import time
from collections.abc import Iterator

import numpy as np

import edge_tsm


class Noise:
    """Ten pictures of noise a second, for three seconds."""

    uri, live, fps = "noise", True, 10.0
    reopens = True

    def __init__(self) -> None:
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[edge_tsm.Frame]:
        generator = np.random.default_rng(0)
        for index in range(30):
            if self._closed.wait(1 / self.fps):  # a wait that `close` ends
                return
            image = generator.integers(0, 255, (240, 320, 3), np.uint8)
            yield edge_tsm.Frame(image, index, time.monotonic())

    def close(self) -> None:
        """May come from any thread."""
        self._closed.set()


with edge_tsm.load(sys.argv[1]) as recognizer:
    for answer in edge_tsm.Pipeline(Noise(), recognizer, window_s=1.0, every_s=0.5):
        print(answer.source, answer.label)
