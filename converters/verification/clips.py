"""The clips on which conversions are checked: noise, generated video, and the user's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_tsm.bundle.card import Sampling
from edge_tsm.data.clips import clips_below
from edge_tsm.datatypes import Image
from edge_tsm.errors import ConversionError, SourceError
from edge_tsm.inference.preprocess import Preprocessor
from edge_tsm.inference.sampling import Sampler
from edge_tsm.sources import open_recording, rate_of

MOST_REAL_CLIPS = 64

Clips = NDArray[np.float32]  # (K, T*3, H, W)


def random_clips(count: int, shape: tuple[int, ...]) -> Clips:
    """Return `count` clips of normal noise, the domain of normalized input."""
    generator = np.random.default_rng(20190401)
    return generator.standard_normal((count, *shape), dtype=np.float32)


def generated_clip(seed: int, segments: int, size: int) -> Image:
    """Return (T, size, size, 3) uint8: discs that move and grow over a drifting gradient."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    slope, base = generator.uniform(-1, 1, (2, 3)), generator.uniform(60, 180, 3)
    discs = generator.uniform((0, 0, -0.6, -0.6, 0.05), (1, 1, 0.6, 0.6, 0.2), (4, 5))
    colors = generator.uniform(0, 255, (4, 3))
    frames = []
    for t in np.linspace(0, 1, segments):
        image = base + 70 * (slope[0] * (x + t / 4)[..., None] + slope[1] * y[..., None])
        for (cx, cy, vx, vy, radius), color in zip(discs, colors, strict=True):
            inside = (x - cx - vx * t) ** 2 + (y - cy - vy * t) ** 2 < (radius * (1 + t / 2)) ** 2
            image[inside] = color
        frames.append(np.clip(image, 0, 255).astype(np.uint8))
    return np.stack(frames)


def clip_reader(preprocess: Preprocessor, sampling: Sampling) -> Callable[[Path], list[Image]]:
    """Return what reads a clip as on the device: T crops, (crop_px, crop_px, 3) uint8 each."""
    sampler = Sampler(sampling)

    def read(path: Path) -> list[Image]:
        recording = open_recording(path)
        frames = recording.sample(sampler.at(rate_of(recording)))
        return [preprocess.crop(frame.image) for frame in frames]

    return read


def real_clips(
    folder: Path, preprocess: Preprocessor, sampling: Sampling, *, warn: Callable[[str], None]
) -> Clips:
    """Return the videos and frame folders below `folder`, prepared as on the device.

    A clip that cannot be read is reported and left out, other files are counted; more than 64 are
    thinned evenly.

    Raises:
        ConversionError: no readable clip there.
    """
    found, left = clips_below(folder)
    if left:
        warn(f"{folder}: {left}")
    step = max(1, -(-len(found) // MOST_REAL_CLIPS))
    read, tensors = clip_reader(preprocess, sampling), []
    for path in found[::step]:
        try:
            crops = read(path)
        except SourceError as error:
            warn(f"left out of the check: {error}")
            continue
        tensors.append(preprocess.tensor(crops))
    if not tensors:
        raise ConversionError(f"{folder} holds no readable clip to check with (--clips)")
    return np.stack(tensors)
