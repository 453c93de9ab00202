"""What a network is taught: one class of several, or each class by itself; losses and scores."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edge_tsm.datatypes import Activation
from edge_tsm.evaluation.metrics import mean_average_precision

MOST_WEIGHT = 20.0  # of a clip that has a class; more makes single clips decide about a batch


class Tally(Protocol):
    """Loss and scores over clips."""

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count a batch."""
        ...

    @property
    def loss(self) -> float:
        """The mean loss of a clip."""
        ...

    @property
    def top1(self) -> float:
        """The share that is right, or mean average precision."""
        ...

    @property
    def mean_class(self) -> float:
        """The mean over classes of what is right of their clips."""
        ...


class Lesson(Protocol):
    """How answers are compared with labels."""

    score: ClassVar[str]

    def __init__(self, classes: int, label_smoothing: float) -> None: ...

    def weigh(self, counts: NDArray[np.int64], clips: int, device: torch.device) -> None:
        """Take into account how many of the clips have each class."""
        ...

    def tally(self) -> Tally:
        """Return fresh sums."""
        ...

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss to train by."""
        ...

    def plain_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss to judge by, neither smoothed nor weighed."""
        ...

    def distance(self, logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
        """Return how far softened answers are from a teacher's (Hinton et al. 2015)."""
        ...


class OneOfSeveral:
    """Cross-entropy; labels are class indices, (N,)."""

    score: ClassVar[str] = "top-1"

    def __init__(self, classes: int, label_smoothing: float) -> None:
        self._classes, self._smoothing = classes, label_smoothing

    def weigh(self, counts: NDArray[np.int64], clips: int, device: torch.device) -> None:
        """Do nothing: the order of clips makes up for their number."""

    def tally(self) -> ShareRight:
        """Return fresh sums."""
        return ShareRight(self._classes)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See `Lesson`."""
        return F.cross_entropy(logits, labels, label_smoothing=self._smoothing)

    def plain_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See `Lesson`."""
        return F.cross_entropy(logits, labels)

    def distance(self, logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
        """See `Lesson`."""
        t = temperature
        ours, theirs = F.log_softmax(logits / t, 1), F.log_softmax(wanted / t, 1)
        return t * t * F.kl_div(ours, theirs, log_target=True, reduction="batchmean")


class EachByItself:
    """Binary cross-entropy; labels are (N, classes) of 0 and 1, or class indices (N,)."""

    score: ClassVar[str] = "mAP"

    def __init__(self, classes: int, label_smoothing: float) -> None:
        self._classes, self._smoothing = classes, label_smoothing
        self._weight: Tensor | None = None

    def weigh(self, counts: NDArray[np.int64], clips: int, device: torch.device) -> None:
        """Let the clips that have a class count as much as those that have not, within bounds."""
        ratio = (clips - counts) / np.maximum(counts, 1)
        bounded = np.clip(ratio, 1 / MOST_WEIGHT, MOST_WEIGHT)
        self._weight = torch.tensor(bounded, dtype=torch.float32, device=device)

    def tally(self) -> MeanPrecision:
        """Return fresh sums."""
        return MeanPrecision(self._classes)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See `Lesson`."""
        wanted = targets(labels, self._classes)
        smoothed = wanted * (1 - self._smoothing) + self._smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, smoothed, pos_weight=self._weight)

    def plain_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See `Lesson`."""
        return F.binary_cross_entropy_with_logits(logits, targets(labels, self._classes))

    def distance(self, logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
        """See `Lesson`."""
        t, soft = temperature, torch.sigmoid(wanted / temperature)
        least = F.binary_cross_entropy(soft, soft)
        return t * t * (F.binary_cross_entropy_with_logits(logits / t, soft) - least)


def targets(labels: Tensor, classes: int) -> Tensor:
    """Return labels as (N, classes) of 0 and 1."""
    if labels.ndim == 2:
        return labels.float()
    return F.one_hot(labels, classes).float()


class ShareRight:
    """Running loss, top-1, and the mean of top-1 over the classes that have clips."""

    def __init__(self, classes: int) -> None:
        self._loss = 0.0
        self._clips, self._right = (np.zeros(classes, np.int64) for _ in range(2))

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count a batch."""
        self._loss += float(loss) * len(labels)
        truth = labels.cpu().numpy()
        np.add.at(self._clips, truth, 1)
        np.add.at(self._right, truth, (logits.argmax(1) == labels).cpu().numpy())

    @property
    def loss(self) -> float:
        """See `Tally`."""
        return self._loss / max(1, int(self._clips.sum()))

    @property
    def top1(self) -> float:
        """See `Tally`."""
        return int(self._right.sum()) / max(1, int(self._clips.sum()))

    @property
    def mean_class(self) -> float:
        """See `Tally`."""
        has = self._clips > 0
        return float((self._right[has] / self._clips[has]).mean()) if has.any() else 0.0


class MeanPrecision:
    """Running loss, and mean average precision over the classes that have clips."""

    def __init__(self, classes: int) -> None:
        self._classes, self._loss, self._clips = classes, 0.0, 0
        self._logits: list[NDArray[np.float32]] = []
        self._truth: list[NDArray[np.bool_]] = []

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count a batch."""
        self._loss += float(loss) * len(labels)
        self._clips += len(labels)
        self._logits.append(logits.cpu().numpy())
        self._truth.append(targets(labels, self._classes).cpu().numpy() > 0)

    @property
    def loss(self) -> float:
        """See `Tally`."""
        return self._loss / max(1, self._clips)

    @property
    def top1(self) -> float:
        """See `Tally`."""
        if not self._clips:
            return 0.0
        truth = np.concatenate(self._truth)
        return mean_average_precision(np.concatenate(self._logits), truth) if truth.any() else 0.0

    mean_class = top1


LESSONS: dict[Activation, type[Lesson]] = {"softmax": OneOfSeveral, "sigmoid": EachByItself}
