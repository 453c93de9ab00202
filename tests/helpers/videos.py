"""Small videos made on the spot."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from edge_tsm.demo.synthetic import generate


def write_video(path: Path, count: int, *, fps: float = 25) -> Path:
    """A video whose frame i has gray level 4 * i."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    for i in range(count):
        writer.write(np.full((48, 64, 3), 4 * i % 256, np.uint8))
    writer.release()
    return path


def levels(frames: list) -> list[int]:
    return [round(float(frame.image.mean()) / 4) for frame in frames]


def write_film(path: Path, seeds: Iterable[int], *, fps: int = 12, clip_s: float = 2.0) -> Path:
    """Generated clips of the demo's classes, one after the other (see `label_of`)."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (170, 128))
    for seed in seeds:
        for image in generate(seed, times=round(fps * clip_s)):
            writer.write(image)
    writer.release()
    return path
