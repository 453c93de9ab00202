"""Small videos made on the spot."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def write_video(path: Path, count: int, *, fps: float = 25) -> Path:
    """A video whose frame i has gray level 4 * i."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    for i in range(count):
        writer.write(np.full((48, 64, 3), 4 * i % 256, np.uint8))
    writer.release()
    return path


def levels(frames: list) -> list[int]:
    return [round(float(frame.image.mean()) / 4) for frame in frames]
