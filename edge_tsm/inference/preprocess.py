"""The one preprocessing: live, in verification and in calibration alike.

Equal to upstream's PIL path (mit-han-lab/temporal-shift-module, ops/transforms.py): shorter side
to 256 by antialiased bilinear, center crop 224, RGB, /255, mean, std. Pillow resizes only the
region that the crop keeps, which gives the same pixels (within one gray level) in less than half
the time. Without antialiasing it is equal to OpenCV's resize of whole numbers, and, rounded to gray
levels, to torch's of floats: normalizing before or after a linear resize is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from edge_tsm.bundle.card import Preprocess, Resize
from edge_tsm.datatypes import Color, Image
from edge_tsm.errors import InputError

Box = tuple[float, float, float, float]


class Preprocessor:
    """Turns pictures into crops (uint8, once per frame) and crops into the input tensor."""

    def __init__(self, spec: Preprocess) -> None:
        self._spec = spec
        self._scale = np.float32(spec.scale)
        self._mean, self._std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)

    def crop(self, image: Image, *, color: Color = "bgr") -> Image:
        """Return the resized center crop, (crop_px, crop_px, 3) uint8 in the card's color order.

        Args:
            image: (H, W, 3) uint8.
            color: channel order of `image`; OpenCV delivers "bgr".

        Raises:
            InputError: not a picture of that form.
        """
        _check(image, color)
        height, width = image.shape[:2]
        size = self._spec.crop_px
        return self._resized(image, source_box(width, height, self._spec), (size, size), color)

    def crops(self, image: Image, count: int, *, color: Color = "bgr") -> list[Image]:
        """Return upstream's 1, 3, 5 or 10 crops of one picture, each as `crop` returns one.

        3 are both ends of the longer side and its center, where the card's code base has them; 5
        are the corners and the center; 10 are these, each followed by its mirror image. Source:
        ops/transforms.py, `GroupFullResSample`, `GroupOverSample`; see `_THREE` for the others.

        Raises:
            InputError: another count, or not a picture.
        """
        if count == 1:
            return [self.crop(image, color=color)]
        _check(image, color)
        height, width = image.shape[:2]
        scaled = scaled_size(width, height, self._spec.resize)
        whole = self._resized(image, (0, 0, width, height), scaled, color)
        size = self._spec.crop_px
        crops = [
            whole[top : top + size, left : left + size]
            for left, top in _crop_places(*scaled, self._spec, count)
        ]
        return [view for crop in crops for view in (crop, crop[:, ::-1])] if count == 10 else crops

    def _resized(self, image: Image, box: Box, size: tuple[int, int], color: Color) -> Image:
        """Return `box` of the picture at `size` (width, height), in the card's color order."""
        if self._spec.resize.antialias:
            picture = PilImage.fromarray(image)
            resized = np.asarray(picture.resize(size, PilImage.Resampling.BILINEAR, box=box))
        else:
            resized = _interpolate(image, box, size)
        # Channels are independent in a resize: swapping after it moves 224 x 224 pixels, not 1080p.
        return resized if color == self._spec.color else np.ascontiguousarray(resized[..., ::-1])

    def tensor(self, crops: Sequence[Image]) -> NDArray[np.float32]:
        """Return T crops as (T*3, crop_px, crop_px) float32, channel index `t*3 + c`.

        Exactly what upstream computes per pixel, in its order, one plane after the other: a plane
        stays in the processor's cache, so that this takes less time than a table of the 256 levels.
        """
        size = self._spec.crop_px
        out = np.empty((len(crops) * 3, size, size), np.float32)
        for t, crop in enumerate(crops):
            for c, (mean, std) in enumerate(zip(self._mean, self._std, strict=True)):
                plane = out[t * 3 + c]
                plane[...] = crop[..., c]
                plane *= self._scale
                plane -= mean
                plane /= std
        return out


def check_crops(crops: Sequence[Image], count: int, size_px: int) -> None:
    """Refuse anything but `count` crops as `Preprocessor.crop` makes them (InputError)."""
    shapes = {(getattr(c, "shape", None), str(getattr(c, "dtype", type(c)))) for c in crops}
    if len(crops) != count or shapes != {((size_px, size_px, 3), "uint8")}:
        raise InputError(
            f"a clip is {count} crops ({size_px}, {size_px}, 3) of uint8, as `prepare` makes "
            f"them; got {len(crops)}: {sorted(map(str, shapes))}"
        )


def _interpolate(image: Image, box: Box, size: tuple[int, int]) -> Image:
    """Resize `box` by plain bilinear interpolation, rounded to whole gray levels.

    In half the time of Pillow's affine transform, which truncates.
    """
    left, top, right, bottom = box
    near_x, far_x, share_x = _taps(left, right, size[0], image.shape[1])
    near_y, far_y, share_y = _taps(top, bottom, size[1], image.shape[0])
    channels, rows = np.arange(3), image.reshape(image.shape[0], -1)
    near_x, far_x = ((x[:, None] * 3 + channels).ravel() for x in (near_x, far_x))

    def across(y: NDArray[np.intp]) -> NDArray[np.float32]:
        part = rows.take(y, axis=0)
        near = part.take(near_x, axis=1).astype(np.float32)
        return _between(near, part.take(far_x, axis=1), np.repeat(share_x, 3))

    mixed = _between(across(near_y), across(far_y), share_y[:, None])
    mixed += np.float32(0.5)
    return mixed.astype(np.uint8).reshape(size[1], size[0], 3)


def _between(
    near: NDArray[np.float32], far: NDArray[Any], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return `near` and `far` mixed, with `share` of `far`."""
    step = far.astype(np.float32)
    step -= near
    step *= share
    step += near
    return step


def _taps(
    start: float, end: float, size: int, count: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return the two source pixels of each of `size` pixels, and how much the second one counts."""
    at = np.clip((np.arange(size) + 0.5) * ((end - start) / size) + start - 0.5, 0, count - 1)
    near = at.astype(np.intp)
    return near, np.minimum(near + 1, count - 1), (at - near).astype(np.float32)


def scaled_size(width: int, height: int, resize: Resize) -> tuple[int, int]:
    """Return width and height after the resize.

    PaddleVideo leaves a picture alone whose shorter side is right already, squashed or not.
    """
    short, long = min(width, height), max(width, height)
    if resize.aspect == "4:3" and short != resize.short_side_px:
        exact = resize.short_side_px * 4.0 / 3.0
    else:
        exact = resize.short_side_px * long / short
    scaled = int(exact + 0.5) if resize.long_side == "round" else int(exact)
    return (resize.short_side_px, scaled) if width <= height else (scaled, resize.short_side_px)


def source_box(width: int, height: int, spec: Preprocess) -> Box:
    """Return the region of the source that survives resize and center crop."""
    scaled_w, scaled_h = scaled_size(width, height, spec.resize)
    crop = spec.crop_px
    halve = _HALVES[spec.crop_offset]
    left, top = halve((scaled_w - crop) / 2.0), halve((scaled_h - crop) / 2.0)
    x, y = width / scaled_w, height / scaled_h
    return left * x, top * y, (left + crop) * x, (top + crop) * y


def _crop_places(width: int, height: int, spec: Preprocess, count: int) -> list[tuple[int, int]]:
    """Return left and top of upstream's crops of a resized picture; the flips are not among them.

    Steps are whole quarters, so that "right" may end up to three pixels before the edge.
    """
    free_x, free_y = width - spec.crop_px, height - spec.crop_px
    x, y = free_x // 4, free_y // 4
    if count == 3:
        return _THREE[spec.crop_offset](free_x, free_y)
    if count in (5, 10):
        return [(0, 0), (4 * x, 0), (0, 4 * y), (4 * x, 4 * y), (2 * x, 2 * y)]
    raise InputError(f"{count} crops are none of upstream's 1, 3, 5 or 10")


def _quarters(free_x: int, free_y: int) -> list[tuple[int, int]]:
    """Left, right, center in whole quarters (ops/transforms.py, `GroupFullResSample`)."""
    x, y = free_x // 4, free_y // 4
    return [(0, 2 * y), (4 * x, 2 * y), (2 * x, 2 * y)]


def _halves(free_x: int, free_y: int) -> list[tuple[int, int]]:
    """Both ends and the center, in whole halves: mmaction2 `ThreeCrop`, Paddle `UniformCrop`."""
    x, y = (free_x // 2, 0) if free_x >= free_y else (0, free_y // 2)
    top, left = (free_y // 2, 0) if free_x >= free_y else (0, free_x // 2)
    return [(left, top), (left + 2 * x, top + 2 * y), (left + x, top + y)]


def _edges(free_x: int, free_y: int) -> list[tuple[int, int]]:
    """Both ends and the center (facebookresearch/SlowFast, datasets/transform.py, `uniform_crop`).

    PaddleVideo's `MultiCrop` gives the same.
    """
    x, y = math.ceil(free_x / 2), math.ceil(free_y / 2)
    if free_y > free_x:
        return [(x, 0), (x, free_y), (x, y)]
    return [(0, y), (free_x, y), (x, y)]


_HALVES: dict[str, Callable[[float], int]] = {
    "even": round,
    "floor": math.floor,
    "ceil": math.ceil,
}
# Three crops, by `crop_offset`, which tells the code bases apart.
_THREE: dict[str, Callable[[int, int], list[tuple[int, int]]]] = {
    "even": _quarters,
    "floor": _halves,
    "ceil": _edges,
}


def _check(image: Image, color: str) -> None:
    if color not in ("bgr", "rgb"):
        raise InputError(f"color is {color!r}; it must be 'bgr' or 'rgb'")
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"a frame must be a uint8 array (H, W, 3), this one is {kind}")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(
            f"a frame must have shape (H, W, 3), this one has {image.shape}; "
            "convert gray or BGRA pictures first"
        )
