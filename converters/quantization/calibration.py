"""Clips to calibrate on: the user's own, through the one preprocessing, some kept back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.quantization.observer import Feed
from converters.verification.clips import Clips, clip_reader
from edge_tsm.backends import RuntimeOptions, engine_of, open_backend
from edge_tsm.bundle.card import Card
from edge_tsm.data.checks import check_files
from edge_tsm.data.clips import clips_below, is_clip, read_dataset
from edge_tsm.datatypes import Image
from edge_tsm.errors import ConversionError, InputError, SourceError
from edge_tsm.inference.preprocess import Preprocessor
from edge_tsm.inference.runner import runner_of
from edge_tsm.system.printable import printable

log = logging.getLogger(__name__)
# Ranges converge and refinement levels off before that many (docs/int8.md has the figures); 299
# clips without a loss prove 1 %, 628 with two.
MOST_CALIBRATED, MOST_CLIPS = 32, 640

Warn = Callable[[str], None]
Count = Callable[[str, int, int], None]  # what is being done, how many are done, of how many


def unseen(what: str, done: int, total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class ClipSet:
    """Prepared clips (K, T, crop_px, crop_px, 3) uint8; classes (K,) and names where known."""

    crops: Image
    labels: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, chosen: Sequence[int]) -> ClipSet:
        labels = None if self.labels is None else self.labels[chosen]
        return ClipSet(self.crops[chosen], labels, tuple(self.name(i) for i in chosen))

    def name(self, index: int) -> str:
        """Return what a clip is called, by its number from 0 if it has no name."""
        return self.names[index] if self.names else f"clip {index}"


@dataclass(frozen=True)
class Feeds:
    """Clips as runs of a model: iterate as often as needed; a short batch repeats its last clip.

    An online model is fed step by step, with the states that `source`, the f32 model, leaves.
    """

    card: Card
    crops: Image
    source: Path
    count: Count = unseen

    def __iter__(self) -> Iterator[Feed]:
        backend = open_backend(engine_of(self.source), self.source, RuntimeOptions())
        try:
            runner = runner_of(self.card, backend)
            for done, clips in enumerate(self._batches()):
                self.count("int8 ranges", done * len(clips), len(self.crops))
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


def split(clips: ClipSet) -> tuple[ClipSet, ClipSet]:
    """Return clips to calibrate on, half of them but at most 32, and the others, to judge by.

    Raises:
        ConversionError: fewer than two clips.
    """
    if len(clips) < 2:
        raise ConversionError(
            "int8 needs at least 2 clips, one to calibrate on and one to judge by; pass more with "
            "--calibrate"
        )
    kept = np.ones(len(clips), bool)
    kept[spread(len(clips), min(len(clips) // 2, MOST_CALIBRATED))] = False
    return clips[np.flatnonzero(~kept).tolist()], clips[np.flatnonzero(kept).tolist()]


def thin(clips: ClipSet, most: int) -> ClipSet:
    """Return at most so many clips, evenly spread."""
    return clips if len(clips) <= most else clips[spread(len(clips), most)]


def spread(total: int, wanted: int) -> list[int]:
    """Return so many of the indices below `total`, evenly spread."""
    return (np.arange(wanted) * total // max(wanted, 1)).tolist()


def read_clips(
    path: Path, card: Card, *, most: int = MOST_CLIPS, warn: Warn, count: Count = unseen
) -> ClipSet:
    """Read a list of clips, class folders, or a plain folder of videos or of frame folders.

    A clip that cannot be read is reported and left out; more than `most` are thinned evenly.

    Raises:
        ConversionError: a path that does not exist, or no readable clip.
    """
    found = _find(path, card.labels, warn)
    chosen = [found[i] for i in spread(len(found), min(len(found), most))]
    if len(chosen) < len(found):
        warn(f"{path}: {len(chosen)} of {len(found)} clips are used for int8, evenly spread")
    read = clip_reader(Preprocessor(card.preprocess), card.sampling)
    crops, labels, names = list[Image](), list[int](), list[str]()
    for done, (clip, label) in enumerate(chosen):
        count("int8 clips", done, len(chosen))
        try:
            crops.append(np.stack(read(clip)))
        except SourceError as error:
            warn(f"left out of int8: {error}")
            continue
        labels.append(label)
        names.append(printable(f"{clip.parent.name}/{clip.name}"))
    if not crops:
        raise ConversionError(f"{path} holds no readable clip to quantize by")
    known = all(0 <= label < len(card.labels) for label in labels)
    return ClipSet(np.stack(crops), np.array(labels, np.int64) if known else None, tuple(names))


def _find(path: Path, labels: tuple[str, ...], warn: Warn) -> list[tuple[Path, int]]:
    """Return clips with their classes; class -1 where a plain folder names none, or others."""
    if not path.exists():
        raise ConversionError(f"{path} does not exist; pass a folder or a list of clips")
    if path.is_dir() and not _has_classes(path):
        clips, left = clips_below(path)
        if left:
            warn(f"{path}: {left}")
        return [(clip, -1) for clip in clips]
    try:
        dataset = read_dataset(path)
        notes = check_files(dataset, skip_missing=True)  # each is left out with a warning
    except (InputError, SourceError) as error:
        raise ConversionError(str(error)) from error
    if dataset.reading:
        log.warning("%s", dataset.reading)
    for note in notes:
        warn(f"{path}: {note}")
    try:
        return [(sample.path, sample.label) for sample in dataset.of_classes(labels)]
    except InputError as error:  # to quantize by, clips of any classes will do
        warn(f"{error}; the clips count without their classes")
        return [(sample.path, -1) for sample in dataset]


def _has_classes(folder: Path) -> bool:
    """Return whether a folder holds folders of clips, not clips."""
    children = [p for p in folder.iterdir() if p.is_dir() and not is_clip(p)]
    return any(clips_below(child)[0] for child in children)
