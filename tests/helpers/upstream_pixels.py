"""Upstream's own preprocessing, in Pillow."""

from __future__ import annotations

import numpy as np
from PIL import Image


def upstream_crop(image: np.ndarray) -> np.ndarray:
    """Resize the whole picture, then crop, as torchvision does on PIL pictures."""
    height, width = image.shape[:2]
    short = min(width, height)
    size = (int(256 * width / short), int(256 * height / short))
    picture = Image.fromarray(image)
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - 224) / 2.0), round((size[1] - 224) / 2.0)
    return np.asarray(picture.crop((left, top, left + 224, top + 224)))


def upstream_crops(image: np.ndarray, count: int) -> list[np.ndarray]:
    """ops/transforms.py, GroupFullResSample and GroupOverSample, on one RGB picture."""
    height, width = image.shape[:2]
    short = min(width, height)
    size = (int(256 * width / short), int(256 * height / short))
    picture = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    w_step, h_step = (size[0] - 224) // 4, (size[1] - 224) // 4
    full_resolution = [(0, 2), (4, 2), (2, 2)]
    over_sample = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2)]
    crops = []
    for w, h in full_resolution if count == 3 else over_sample:
        left, top = w * w_step, h * h_step
        crop = picture.crop((left, top, left + 224, top + 224))
        crops.append(np.asarray(crop))
        if count == 10:
            crops.append(np.asarray(crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    return crops
