"""Labeled clips for training: videos and frame folders as upstream samples them, generated clips.

An item is a clip as the network's picture size wants it, (T*3, size, size) uint8 in the card's
color order, and its class. Normalization is the trainer's, on its device.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from converters.picture import short_side_of
from edge_tsm.bundle.card import Preprocess, Sampling
from edge_tsm.data.clips import Sample
from edge_tsm.data.sets import classes_of
from edge_tsm.datatypes import Image
from edge_tsm.demo.synthetic import generate, label_of
from edge_tsm.errors import SourceError
from edge_tsm.inference.preprocess import Preprocessor
from edge_tsm.inference.sampling import Sampler
from edge_tsm.sources import open_recording, rate_of
from edge_tsm.system.files import whole_file

Item = tuple[Tensor, int | Tensor]  # a class index, or (classes,) of 0 and 1

# Sides of training crops as shares of the shorter side; upstream's GroupMultiScaleCrop.
_SCALES = (1.0, 0.875, 0.75, 0.66)


@dataclass(frozen=True)
class Augmentation:
    """How a clip is cut for training: the picture size, and which random changes are allowed.

    `mirrored` and `reversed` give each class the class of its mirrored or backwards clip; None
    means that such clips are not made.
    """

    size_px: int = 224
    multiscale: bool = True
    mirrored: Sequence[int] | None = None
    reversed: Sequence[int] | None = None


def augment(
    clip: Image, label: int | Tensor, how: Augmentation, random: np.random.Generator
) -> Item:
    """Return a random variation of (T, S, S, 3) uint8, and its class."""
    frames = torch.from_numpy(clip).permute(0, 3, 1, 2)
    if how.mirrored is not None and random.random() < 0.5:
        frames, label = frames.flip(3), _moved(label, how.mirrored)
    if how.reversed is not None and random.random() < 0.5:
        frames, label = frames.flip(0), _moved(label, how.reversed)
    frames = _crop(frames, how, random) if how.multiscale else _center(frames, how.size_px)
    return frames.reshape(-1, how.size_px, how.size_px), label


def _moved(label: int | Tensor, places: Sequence[int]) -> int | Tensor:
    """Return the class, or the set of classes, of a clip that was turned round."""
    if isinstance(label, int):
        return int(places[label])
    moved = torch.zeros_like(label)
    moved[list(places)] = label
    return moved


def _crop(frames: Tensor, how: Augmentation, random: np.random.Generator) -> Tensor:
    """Cut a box of random place, size and aspect, the same in all frames, and resize it."""
    side = frames.shape[3]
    first = int(random.integers(len(_SCALES)))
    second = int(np.clip(first + random.integers(-1, 2), 0, len(_SCALES) - 1))
    width, height = round(side * _SCALES[first]), round(side * _SCALES[second])
    left, top = (int(random.integers(side - n + 1)) for n in (width, height))
    return _resize(frames[..., top : top + height, left : left + width], how.size_px)


def _center(frames: Tensor, size: int) -> Tensor:
    """Cut the center as the device does: of 256 for 224, say."""
    side = frames.shape[3]
    kept = round(side * size / short_side_of(size))
    start = (side - kept) // 2
    return _resize(frames[..., start : start + kept, start : start + kept], size)


def _resize(frames: Tensor, size: int) -> Tensor:
    if frames.shape[2:] == (size, size):
        return frames.contiguous()
    resized = F.interpolate(
        frames.float(), (size, size), mode="bilinear", align_corners=False, antialias=True
    )
    return resized.round_().clamp_(0, 255).to(torch.uint8)


class VideoClips(Dataset[Item]):
    """Videos and frame folders: a random frame of each segment, as upstream's training takes them.

    Source: mit-han-lab/temporal-shift-module, ops/dataset.py, `_sample_indices`. Not `random`, it
    takes the card's rule and the center, as on the device. A clip that cannot be read is replaced
    by the next one that can. With `classes` an item's label is (classes,) of 0 and 1, for clips
    that may have several or none.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        sampling: Sampling,
        preprocess: Preprocess,
        augmentation: Augmentation,
        *,
        random: bool,
        classes: int | None = None,
    ) -> None:
        self._classes = classes
        self._samples, self._sampling, self._augmentation = list(samples), sampling, augmentation
        side = preprocess.resize.short_side_px
        self._preprocess = Preprocessor(replace(preprocess, crop_px=side))
        self._random, self.epoch = random, 0

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def labels(self) -> list[tuple[int, ...]]:
        """The classes of each clip."""
        return [classes_of(sample) for sample in self._samples]

    def _label(self, sample: Sample) -> int | Tensor:
        if self._classes is None:
            return sample.label
        marks = torch.zeros(self._classes)
        marks[list(classes_of(sample))] = 1
        return marks

    def __getitem__(self, index: int) -> Item:
        """Return one variation of a clip and its class.

        Raises:
            SourceError: not one of the clips can be read.
        """
        random = np.random.default_rng((self.epoch, index))
        for step in range(len(self._samples)):
            sample = self._samples[(index + step) % len(self._samples)]
            try:
                recording = open_recording(sample.path)
                rule = sample.within(self._rule(random, rate_of(recording)))
                frames = recording.sample(rule)
            except SourceError:
                continue
            clip = np.stack([self._preprocess.crop(frame.image) for frame in frames])
            return augment(clip, self._label(sample), self._augmentation, random)
        raise SourceError(f"none of the {len(self._samples)} clips can be read")

    def _rule(self, random: np.random.Generator, fps: float | None) -> Callable[[int], list[int]]:
        segments = self._sampling.segments
        if not self._random:
            return Sampler(self._sampling).at(fps)
        if self._sampling.interval is not None:
            return self._clip_somewhere(random.random(), fps)
        moments = random.random(segments)

        def choose(count: int) -> list[int]:
            return [int((i + u) * count / segments) for i, u in enumerate(moments)]

        return choose

    def _clip_somewhere(self, share: float, fps: float | None) -> Callable[[int], list[int]]:
        """Return a rule that takes a clip of the card's length, anywhere in the video."""
        sampler = Sampler(replace(self._sampling, rule="start"))

        def choose(count: int) -> list[int]:
            indices = sampler(count, fps)
            later = int(share * (count - indices[-1]))
            return [index + later for index in indices]

        return choose


class GeneratedClips(Dataset[Item]):
    """Generated clips by seed, rendered once into a file that the loader's processes share."""

    def __init__(self, pool: Path, first_seed: int, augmentation: Augmentation) -> None:
        self._clips = np.load(pool, mmap_mode="r")
        self._first, self._augmentation, self.epoch = first_seed, augmentation, 0

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Item:
        """Return one variation of a clip and its class."""
        random = np.random.default_rng((self.epoch, index))
        label = label_of(self._first + index)
        return augment(np.array(self._clips[index]), label, self._augmentation, random)


def render_pool(
    path: Path, seeds: range, *, segments: int, side_px: int, workers: int, plain: bool = False
) -> Path:
    """Render the clips of `seeds`, (K, T, side, side, 3) uint8 RGB, into a .npy file.

    Each frame is of a random moment of its segment, as training on videos takes them. `plain` is
    as `generate` says.
    """
    with whole_file(path) as temporary, multiprocessing.Pool(workers) as processes:
        shape = (len(seeds), segments, side_px, side_px, 3)
        pool = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
        render = partial(_render, segments=segments, side_px=side_px, plain=plain)
        for index, clip in enumerate(processes.imap(render, seeds, chunksize=16)):
            pool[index] = clip
        pool.flush()
    return path


def _render(seed: int, *, segments: int, side_px: int, plain: bool) -> Image:
    moments = np.random.default_rng((seed, 1)).random(segments)
    times = [(i + u) / segments for i, u in enumerate(moments)]
    clip = generate(seed, times=times, short_side_px=side_px, plain=plain)
    left = (clip.shape[2] - side_px) // 2
    return clip[:, :, left : left + side_px, ::-1]
