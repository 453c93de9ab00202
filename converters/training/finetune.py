"""Fine-tuning: from a checkpoint that `convert` understands to a trainer on labeled clips."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from converters.architectures import Network
from converters.architectures.classifier import COUNTER, VideoClassifier, check_tensors
from converters.architectures.shift import Shift
from converters.architectures.topologies import initialize
from converters.checkpoints import read_checkpoint
from converters.checkpoints.upstream import CONVENTION
from converters.checkpoints.writer import refuse_strangers
from converters.facts import Fact, Hints
from converters.picture import settle_picture
from converters.recipe import Options, preprocess_of, resolve
from converters.training.checks import check_classes, check_readable, refuse_from_one
from converters.training.dataset import Augmentation, VideoClips
from converters.training.trainer import Distillation, Trainer, TrainingSettings
from edge_tsm.bundle.card import Preprocess, Sampling
from edge_tsm.data.checks import check_files
from edge_tsm.data.clips import Dataset
from edge_tsm.data.overlap import overlap
from edge_tsm.data.sets import SetDataset
from edge_tsm.errors import InputError

log = logging.getLogger(__name__)
_MIRRORED_WORDS = {
    "left": "right",
    "right": "left",
    "clockwise": "counterclockwise",
    "counterclockwise": "clockwise",
}


@dataclass(frozen=True)
class StartingPoint:
    """Where a fine-tuning begins: a network with weights, and what is known about them.

    `head` is "kept", or "new" where its shape did not fit the classes; `shifts` are "new" where the
    weights were trained without any.
    """

    model: VideoClassifier
    network: Network
    shift: Shift
    preprocess: Preprocess
    labels: tuple[str, ...]
    head: str
    shifts: str


def start_from(
    checkpoint: Path,
    labels: Sequence[str],
    *,
    segments: int | None = None,
    size_px: int | None = None,
    online: bool = False,
    seed: int = 1,
) -> StartingPoint:
    """Read a checkpoint, or an image classifier's file, and give it a head for `labels`.

    Args:
        checkpoint: TSM or TSN of any code base, or an image ResNet or MobileNetV2 under upstream's
            or torchvision's names; where nothing is shifted, shifts go
            where upstream puts them.
        labels: class names in the order of the class indices.
        segments: frames per clip; by default the checkpoint's.
        size_px: side of the pictures; by default the checkpoint's.
        online: shift from the past only, whatever the checkpoint was trained with.
        seed: of a new head.

    Raises:
        CheckpointError: not readable, or a network that upstream's format cannot hold.
    """
    read = read_checkpoint(checkpoint, online=True)
    flat = read.topology.shift_source is None
    direction = "past" if online else CONVENTION.shift_direction if flat else None
    options = Options(
        segments=segments,
        shift_direction=direction,
        shift_place="blockres" if flat else None,
        color="rgb",
        size=size_px,
        activation="sigmoid",  # of no weight: what it will be is for the training to say
    )
    recipe = resolve(read.topology, options)
    network, shift = recipe.shifted
    refuse_strangers(network)
    if not recipe.order_sensitive:
        network = network.with_default_shifts()
    model = VideoClassifier(network, len(labels), shift)
    initialize(model, seed=seed)
    replaced = _load(model, read.tensors)
    head = "new" if replaced else "kept"
    shifts = "new" if flat or not recipe.order_sensitive else "kept"
    resize = Fact(CONVENTION.resize, CONVENTION.name)
    picture = settle_picture(resize, [Hints(size=recipe.facts.size)])
    preprocess = preprocess_of(CONVENTION, "rgb", picture)
    return StartingPoint(model, network, shift, preprocess, tuple(labels), head, shifts)


def _load(model: VideoClassifier, tensors: dict[str, Tensor]) -> bool:
    """Load the weights; the head stays as it is where its shape is another, which is returned."""
    fresh = model.state_dict()
    head = {name: fresh[name] for name in fresh if name.startswith("head.")}
    replaced = any(tensors[name].shape != value.shape for name, value in head.items())
    weights = tensors | (head if replaced else {})
    check_tensors(model, weights)
    counters = {name: value for name, value in fresh.items() if name.endswith(COUNTER)}
    model.load_state_dict(weights | counters)
    return replaced


def trainer(
    start: StartingPoint,
    train: Dataset,
    val: Dataset,
    settings: TrainingSettings,
    *,
    teacher: StartingPoint | None = None,
) -> Trainer:
    """Return a trainer of `start` on labeled clips; `teacher` distills (see `Distillation`).

    Both lists are checked whole first; what looks odd is warned about.

    Raises:
        InputError: a list has classes that the labels do not name, or counts them from 1, or the
            teacher's head is new.
        SourceError: clips are missing.
    """
    refuse_from_one(train, val)
    notes = (*check_files(train), *check_files(val))
    for note in (*notes, *overlap(train, val), *check_readable(train, val)):
        log.warning("%s", note)
    if teacher is not None and teacher.head == "new":
        raise InputError("the teacher's checkpoint has other classes; fine-tune it to these first")
    if settings.activation == "softmax":
        _refuse_sets(train, val, classes=len(start.labels))
    train, val = (dataset.of_classes(start.labels) for dataset in (train, val))
    for note in check_classes(train, val, start.labels, is_new=start.head == "new"):
        log.warning("%s", note)
    preprocess = start.preprocess
    classes = len(start.labels) if settings.activation == "sigmoid" else None
    size_px = preprocess.crop_px
    sampling = Sampling(CONVENTION.sampling, start.shift.segments, 1, 1, interval=None, fps=None)
    random = Augmentation(size_px, mirrored=mirror_map(start.labels))
    plain = Augmentation(size_px, multiscale=False)
    return Trainer(
        start.model,
        preprocess,
        VideoClips(train.samples, sampling, preprocess, random, random=True, classes=classes),
        VideoClips(val.samples, sampling, preprocess, plain, random=False, classes=classes),
        settings,
        distillation=Distillation(teacher.model) if teacher is not None else None,
    )


def _refuse_sets(*datasets: Dataset, classes: int) -> None:
    """Refuse clips that softmax cannot describe."""
    if classes == 1 or any(isinstance(dataset, SetDataset) for dataset in datasets):
        found = "there is one class" if classes == 1 else "a list gives clips several classes"
        raise InputError(f'{found}; train with activation="sigmoid", by binary cross-entropy')


def mirror_map(labels: Sequence[str]) -> tuple[int, ...] | None:
    """Return the class of each class's mirror image: left and right, and turns, change places.

    None, so that nothing is mirrored, where a label names a side and its counterpart is no label.
    """
    places = {label.lower(): index for index, label in enumerate(labels)}
    mirrored = [places.get(_mirrored(label.lower())) for label in labels]
    found = tuple(index for index in mirrored if index is not None)
    return found if len(found) == len(labels) else None


def _mirrored(label: str) -> str:
    words = re.split(r"([^a-z]+)", label)
    return "".join(_MIRRORED_WORDS.get(word, word) for word in words)
