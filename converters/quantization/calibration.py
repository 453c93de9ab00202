"""Clips to calibrate on: the user's own, through the one preprocessing, some kept back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.quantization.observer import Feed
from converters.verification.clips import Clips
from edge_tsm.backends import RuntimeOptions, engine_of, open_backend
from edge_tsm.bundle.card import Card
from edge_tsm.data.checks import check_files
from edge_tsm.data.clips import read_dataset
from edge_tsm.datatypes import Image
from edge_tsm.errors import ConversionError, InputError, SourceError
from edge_tsm.inference.preprocess import Preprocessor
from edge_tsm.inference.runner import runner_of
from edge_tsm.inference.sampling import index_rule
from edge_tsm.sources import ImageFolder, VideoFile, list_videos

log = logging.getLogger(__name__)
MOST_CLIPS = 256
FEW_CLIPS = 20
_HELD_OUT = 4  # every fourth clip is kept back

Warn = Callable[[str], None]


@dataclass(frozen=True)
class ClipSet:
    """Prepared clips (K, T, crop_px, crop_px, 3) uint8, and their classes (K,) where known."""

    crops: Image
    labels: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, chosen: Sequence[int] | slice) -> ClipSet:
        return ClipSet(self.crops[chosen], None if self.labels is None else self.labels[chosen])


@dataclass(frozen=True)
class Feeds:
    """Clips as runs of a model: iterate as often as needed; a short batch repeats its last clip.

    An online model is fed step by step, with the states that `source`, the f32 model, leaves.
    """

    card: Card
    crops: Image
    source: Path

    def __iter__(self) -> Iterator[Feed]:
        backend = open_backend(engine_of(self.source), self.source, RuntimeOptions())
        try:
            runner = runner_of(self.card, backend)
            for clips in self._batches():
                yield from runner.inputs(clips)
        finally:
            backend.close()

    def _batches(self) -> Iterator[Clips]:
        """Yield (N, T*3, H, W) clips, N the model's batch size."""
        preprocess, batch = (
            Preprocessor(self.card.preprocess),
            self.card.input.shape[0],
        )  # 1 where any
        for start in range(0, len(self.crops), batch):
            chosen = np.minimum(np.arange(start, start + batch), len(self.crops) - 1)
            yield np.stack([preprocess.tensor(list(self.crops[i])) for i in chosen])


def split(clips: ClipSet, *, warn: Warn) -> tuple[ClipSet, ClipSet]:
    """Return the clips to calibrate on, and every fourth one, to judge by.

    Raises:
        ConversionError: fewer than two clips.
    """
    if len(clips) < 2:
        raise ConversionError(
            "int8 needs at least 2 clips, one to calibrate on and one to judge by; pass more with "
            "--calibrate"
        )
    if len(clips) < FEW_CLIPS:
        warn(f"only {len(clips)} clips to quantize by; {FEW_CLIPS} or more make int8 dependable")
    held = np.arange(len(clips)) % _HELD_OUT == min(len(clips), _HELD_OUT) - 1
    return clips[np.flatnonzero(~held).tolist()], clips[np.flatnonzero(held).tolist()]


def read_clips(path: Path, card: Card, *, warn: Warn) -> ClipSet:
    """Read a list of clips, class folders, or a plain folder of videos or of frame folders.

    A clip that cannot be read is reported and left out; more than 256 are thinned evenly.

    Raises:
        ConversionError: a path that does not exist, or no readable clip.
    """
    found = _find(path, card.labels)
    step = max(1, -(-len(found) // MOST_CLIPS))
    rule, preprocess = index_rule(card.sampling.rule), Preprocessor(card.preprocess)
    crops, labels = [], []
    for clip, label in found[::step]:
        try:
            recording = ImageFolder(clip) if clip.is_dir() else VideoFile(clip)
            frames = recording.sample(lambda count: rule(count, card.sampling.segments))
        except SourceError as error:
            warn(f"left out of int8: {error}")
            continue
        crops.append(np.stack([preprocess.crop(frame.image) for frame in frames]))
        labels.append(label)
    if not crops:
        raise ConversionError(f"{path} holds no readable clip to quantize by")
    known = all(0 <= label < len(card.labels) for label in labels)
    return ClipSet(np.stack(crops), np.array(labels, np.int64) if known else None)


def _find(path: Path, labels: tuple[str, ...]) -> list[tuple[Path, int]]:
    """Return clips with their classes; class -1 where a plain folder names none, or others."""
    if not path.exists():
        raise ConversionError(f"{path} does not exist; pass a folder or a list of clips")
    if path.is_dir() and not _has_classes(path):
        clips = list_videos(path) or sorted(p for p in path.iterdir() if p.is_dir())
        return [(clip, -1) for clip in clips]
    try:
        dataset = read_dataset(path)
        notes = check_files(dataset, skip_missing=True)  # each is left out with a warning
    except (InputError, SourceError) as error:
        raise ConversionError(str(error)) from error
    for line in (*filter(None, [dataset.reading]), *notes):
        log.warning("%s", line)
    try:
        return [(sample.path, sample.label) for sample in dataset.of_classes(labels)]
    except InputError as error:  # to quantize by, clips of any classes will do
        log.warning("%s; the clips count without their classes", error)
        return [(sample.path, -1) for sample in dataset]


def _has_classes(folder: Path) -> bool:
    """Return whether a folder holds folders of clips, not clips."""
    children = [p for p in folder.iterdir() if p.is_dir()]
    return any(list_videos(child) or any(p.is_dir() for p in child.iterdir()) for child in children)
