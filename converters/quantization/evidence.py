"""Which clips tell something about an int8 file: those that show something, each once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from converters.quantization.calibration import ClipSet, Warn
from converters.quantization.judgment import Evidence
from edge_tsm.datatypes import Image

# A picture of one color has no detail but the codec's. Measured: a black video has 0, the plainest
# of 251 surveillance clips 19.
_LEAST_DETAIL = 3.0  # standard deviation of a frame, in levels of 255
_CELLS = 8  # a clip is compared by the means of so many parts of a frame's height and width
# Levels by which no such mean differs between copies of one clip, encoded again or not. Measured:
# the two most similar of 251 surveillance clips differ by 40.
_SAME = 4.0
_NAMED = 4


def weigh(kept: ClipSet, calibration: ClipSet, *, warn: Warn) -> Evidence:
    """Return what the clips kept back are worth; what does not count is named by `warn`.

    Clips of one color show nothing; a copy of another clip, or of one that was calibrated on,
    shows nothing new.
    """
    crops = [*calibration.crops, *kept.crops]
    plain, copies = constant(crops), copied(crops)
    names = [*map(calibration.name, range(len(calibration))), *map(kept.name, range(len(kept)))]
    for found, what in ((plain, "are constant (one color, or black)"), (copies, "are duplicates")):
        if found.any():
            warn(f"{found.sum()} of {len(names)} int8 clips {what}: {_listed(names, found)}")
    if plain[: len(calibration)].all():
        warn("all clips to calibrate on are constant, so the int8 ranges fit nothing else")
    counts = ~(plain | copies)[len(calibration) :]
    if not counts.all():
        warn(f"{counts.sum()} of {len(kept)} clips kept back count as evidence for int8")
    return Evidence(tuple(map(kept.name, range(len(kept)))), counts, kept.labels)


def constant(crops: Sequence[Image]) -> NDArray[np.bool_]:
    """Return which of K clips (T, H, W, 3) have frames of one color only, (K,)."""
    detail = [max(frame[::2, ::2].std((0, 1)).max() for frame in clip) for clip in crops]
    return np.array(detail) < _LEAST_DETAIL


def copied(crops: Sequence[Image]) -> NDArray[np.bool_]:
    """Return which of K clips (T, H, W, 3) show the same as an earlier one, (K,)."""
    prints = np.stack([_print(clip) for clip in crops])
    return np.array(
        [bool((np.abs(prints[:i] - prints[i]).max(1) < _SAME).any()) for i in range(len(prints))]
    )


def _print(clip: Image) -> NDArray[np.float32]:
    """Return the means of a coarse grid over each frame, flat."""
    bands = np.array_split(clip.astype(np.float32), _CELLS, axis=1)
    cells = (cell.mean((1, 2)) for band in bands for cell in np.array_split(band, _CELLS, axis=2))
    return np.concatenate([cell.ravel() for cell in cells])


def _listed(names: Sequence[str], chosen: NDArray[np.bool_]) -> str:
    """Return the first of the chosen names."""
    found = [name for name, wanted in zip(names, chosen, strict=True) if wanted]
    return ", ".join(found[:_NAMED]) + (" …" if len(found) > _NAMED else "")
