"""Training and fine-tuning of TSM networks: on the CPU or a GPU, resumable, distillable."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from converters.architectures.network import Classifier
from converters.training.balance import (
    BalancedOrder,
    class_counts,
    describe_counts,
    is_uneven,
)
from converters.training.dataset import Item
from converters.training.lessons import LESSONS, Tally
from converters.training.qat import simulates_int8
from edge_tsm.bundle.card import Preprocess
from edge_tsm.datatypes import Activation
from edge_tsm.errors import InputError
from edge_tsm.system.machine import processor

Module = TypeVar("Module", bound=nn.Module)
Tell = Callable[[str], None]
WARMUP_STEPS = 200
_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


class TrainingClips(Protocol):
    """A dataset whose random choices depend on its `epoch`."""

    epoch: int

    def __len__(self) -> int:
        """Return the number of clips."""
        ...

    def __getitem__(self, index: int) -> Item:
        """Return one clip, (T*3, size, size) uint8, and its class."""
        ...


@dataclass(frozen=True)
class TrainingSettings:
    """How to train. The defaults fine-tune; from scratch wants adamw, a higher rate, no dropout.

    `learning_rate` is the peak of one warm-up and a cosine; the head's is `head_rate` times that,
    as upstream's fc_lr5. `activation` "sigmoid" is for one class, or several at once: the loss is
    binary cross-entropy then. `balance`, where classes differ by more than 2:1, shows each class as
    often as the others (with "sigmoid", weighs its clips; see `balance.py`). `partial_bn` keeps all
    batch norms but the first as they are (upstream's default). `frozen_backbone` trains the head
    alone. `patience` epochs without a better validation end the run.
    """

    epochs: int = 20
    batch: int = 8
    learning_rate: float = 0.002
    optimizer: Literal["sgd", "adamw"] = "sgd"
    weight_decay: float = 5e-4
    head_rate: float = 5.0
    dropout: float = 0.5
    label_smoothing: float = 0.0
    activation: Activation = "softmax"
    balance: bool = True
    partial_bn: bool = True
    frozen_backbone: bool = False
    clip_gradient: float = 20.0
    patience: int | None = 6
    workers: int = 2
    device: str = "auto"
    half: bool = True  # bf16 where the hardware computes it
    seed: int = 1

    def __post_init__(self) -> None:
        counts = {"epochs": self.epochs, "batch": self.batch}
        wrong = [f"{name} is {value}" for name, value in counts.items() if value < 1]
        if not 0 <= self.dropout < 1:
            wrong.append(f"dropout is {self.dropout}")
        if self.learning_rate <= 0:
            wrong.append(f"learning_rate is {self.learning_rate}")
        if wrong:
            raise InputError(f"{', '.join(wrong)}; it must be positive (dropout below 1)")


@dataclass(frozen=True)
class Epoch:
    """The result of one epoch; top-1 as a share, losses in nats, rate at the epoch's end.

    `val_mean_class` is the mean over classes of the share that is right of their clips. Where each
    class has a probability of its own, this and the top-1 figures are mean average precision.
    """

    number: int
    train_loss: float
    train_top1: float
    val_loss: float
    val_top1: float
    learning_rate: float
    val_mean_class: float = 0.0


@dataclass
class History:
    """All epochs so far."""

    epochs: list[Epoch] = field(default_factory=list)

    @property
    def best(self) -> Epoch:
        """The epoch with the best validation: mean over classes, top-1, then loss."""
        return max(self.epochs, key=lambda e: (e.val_mean_class, e.val_top1, -e.val_loss))

    @property
    def stale(self) -> int:
        """How many epochs passed since the best one."""
        return len(self.epochs) - self.best.number if self.epochs else 0


@dataclass(frozen=True)
class Distillation:
    """A teacher whose softened answers replace part of the labels (Hinton et al. 2015)."""

    teacher: nn.Module
    share: float = 0.7
    temperature: float = 2.0


class Trainer:
    """Trains a network on clips; device and precision are chosen once, when it is made.

    Args:
        model: the network, on any device; it is moved.
        preprocess: the card's; scale, mean and std are applied on the device.
        train, val: clips of the same T and picture size.
        settings: hyperparameters.
        distillation: teacher and weights, where there is one.
    """

    def __init__(
        self,
        model: Classifier,
        preprocess: Preprocess,
        train: TrainingClips,
        val: TrainingClips,
        settings: TrainingSettings,
        *,
        distillation: Distillation | None = None,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.history = settings, History()
        self._begun_with = _fingerprint(model)
        self.device = choose_device(settings.device)
        self.model = _placed(model, self.device)
        self._half = settings.half and has_bf16(self.device)
        self.preprocess = preprocess
        self._normalize = _Normalize(preprocess).to(self.device)
        self._train, self._val, self._distillation = train, val, distillation
        if distillation is not None:
            _placed(distillation.teacher, self.device).eval().requires_grad_(False)
        self._optimizer = _optimizer(model, settings)
        steps = max(1, math.ceil(len(train) / settings.batch))
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: _rate(step, steps, settings.epochs)
        )
        self._drop = nn.Dropout(settings.dropout)
        classes = model.head.out_features
        counts = class_counts(train, classes) if settings.balance else None
        self._counts = counts if counts is not None and is_uneven(counts) else None
        self._lesson = LESSONS[settings.activation](classes, settings.label_smoothing)
        if self._counts is not None:
            self._lesson.weigh(self._counts, len(train), self.device)

    def fit(self, done: Callable[[Trainer], None], *, tell: Tell) -> History:
        """Train to the end; `done` is called after each epoch, to save what it wants."""
        done_before = f", {len(self.history.epochs)} epochs done" if self.history.epochs else ""
        if self._counts is not None:
            tell(describe_counts(self._counts, self.settings.activation))
        tell(f"training on {self.device}, {'bf16' if self._half else 'f32'}{done_before}")
        patience = self.settings.patience
        while len(self.history.epochs) < self.settings.epochs:
            # Checked first: a run that stopped early must not continue when it is started again.
            if patience is not None and self.history.stale >= patience:
                tell(f"no better validation for {patience} epochs: stopped")
                break
            self._epoch(tell)
            done(self)
        return self.history

    @property
    def facts(self) -> dict[str, Any]:
        """What must be the same for a run to be resumed, by name."""
        free = ("epochs", "patience", "workers", "device", "half")
        return {
            **{name: value for name, value in vars(self.settings).items() if name not in free},
            "starting weights": self._begun_with,
            "training clips": len(self._train),
            "validation clips": len(self._val),
            "teacher": self._distillation is not None,
            "simulated int8": simulates_int8(self.model),
        }

    def state(self) -> dict[str, Any]:
        """Return what `resume` needs to continue as if nothing had happened."""
        return {
            "model": self.model.state_dict(),
            "buffers": dict(self.model.named_buffers()),  # the ranges of simulated int8 too
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "random": torch.get_rng_state(),
            "epochs": [vars(epoch) for epoch in self.history.epochs],
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Continue from a `state`."""
        self.model.load_state_dict(state["model"])
        for name, buffer in self.model.named_buffers():
            buffer.copy_(state["buffers"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        self.history.epochs = [Epoch(**epoch) for epoch in state["epochs"]]

    def evaluate(self, clips: TrainingClips) -> Tally:
        """Return loss and scores on `clips`."""
        self.model.eval()
        total = self._lesson.tally()
        with torch.no_grad():
            for batch, labels in self._batches(clips, shuffle=False):
                with self._autocast():
                    logits = self.model(batch).float()
                total.add(self._lesson.plain_loss(logits, labels), logits, labels)
        return total

    def _epoch(self, tell: Tell) -> None:
        number, total = len(self.history.epochs) + 1, self._lesson.tally()
        self._train.epoch = number
        _train_mode(self.model, self.settings)
        for batch, labels in self._batches(self._train, shuffle=True):
            loss, logits = self._loss(batch, labels)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_gradient)
            self._optimizer.step()
            self._schedule.step()
            total.add(loss.detach(), logits.detach(), labels)
        val = self.evaluate(self._val)
        rate = float(self._schedule.get_last_lr()[0])
        scores = (total.loss, total.top1, val.loss, val.top1, rate, val.mean_class)
        epoch = Epoch(number, *scores)
        self.history.epochs.append(epoch)
        name = self._lesson.score
        by_class = f" mean class {val.mean_class:6.1%}" if self._counts is not None else ""
        tell(
            f"epoch {number:3d}/{self.settings.epochs}  train loss {epoch.train_loss:.3f} "
            f"{name} {epoch.train_top1:6.1%}  val loss {val.loss:.3f} {name} {val.top1:6.1%}"
            + (by_class if self.settings.activation == "softmax" else "")
        )

    def _loss(self, batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with self._autocast():
            features = self._drop(self.model.features(batch))
            logits = self.model.average(self.model.head(features), clips=len(labels)).float()
            loss = self._lesson.loss(logits, labels)
        if self._distillation is None:
            return loss, logits
        with torch.no_grad(), self._autocast():
            wanted = self._distillation.teacher(batch).float()
        soft = self._lesson.distance(logits, wanted, self._distillation.temperature)
        share = self._distillation.share
        return (1 - share) * loss + share * soft, logits

    def _batches(self, clips: TrainingClips, *, shuffle: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalized clips and labels on the device."""
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed * 1000 + clips.epoch)
        labels_of = getattr(clips, "labels", None)
        sampler = None
        if shuffle and self._counts is not None and settings.activation == "softmax" and labels_of:
            sampler = BalancedOrder(labels_of, generator)
        loader: DataLoader[Item] = DataLoader(
            clips,  # type: ignore[arg-type]
            settings.batch,
            shuffle=shuffle and sampler is None,
            sampler=sampler,
            num_workers=settings.workers,
            generator=generator,
            drop_last=shuffle and len(clips) > settings.batch,  # a batch norm over one clip is none
        )
        for batch, labels in loader:
            yield self._normalize(batch.to(self.device)), labels.to(self.device)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._half)


class _Normalize(nn.Module):
    """(N, T*3, H, W) uint8 to the network's domain: `(x * scale - mean) / std` per color."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: Preprocess) -> None:
        super().__init__()
        self.scale = spec.scale
        self.register_buffer("mean", torch.tensor(spec.mean).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(spec.std).reshape(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        clips, channels, height, width = x.shape
        frames = x.float().reshape(clips, channels // 3, 3, height, width) * self.scale
        normalized: Tensor = (frames - self.mean) / self.std
        return normalized.reshape(x.shape)


def _fingerprint(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _placed(model: Module, device: torch.device) -> Module:
    """Move a network to its device, in the layout in which convolutions are fastest."""
    for parameter in model.to(device).parameters():
        layout = _LAYOUTS.get(parameter.ndim, torch.contiguous_format)
        parameter.data = parameter.data.contiguous(memory_format=layout)
    return model


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; auto is a GPU where there is one.

    Raises:
        InputError: the device is not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device {name!r} is not available here: {str(error).splitlines()[0]}"
        ) from error
    return device


def has_bf16(device: torch.device) -> bool:
    """Return whether bf16 is computed by the hardware, and so faster."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return "bf16" in processor().features


def _train_mode(model: nn.Module, settings: TrainingSettings) -> None:
    model.train()
    if settings.frozen_backbone or settings.partial_bn:
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        # All else stays in training mode, in which simulated int8 observes its ranges.
        for norm in norms if settings.frozen_backbone else norms[1:]:
            norm.eval().requires_grad_(False)


def _optimizer(model: Classifier, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Return the optimizer; norms and biases are not decayed, the head learns faster."""
    head = {id(p) for p in model.head.parameters()}
    for parameter in model.parameters():
        if id(parameter) not in head:
            parameter.requires_grad_(not settings.frozen_backbone)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            rate = settings.learning_rate * (settings.head_rate if id(parameter) in head else 1)
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    policies = [{"params": p, "lr": r, "weight_decay": d} for (r, d), p in groups.items()]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(policies)
    return torch.optim.SGD(policies, momentum=0.9, nesterov=True)


def _rate(step: int, steps: int, epochs: int) -> float:
    """Return the share of the peak rate: a linear warm-up, then a cosine to zero."""
    warmup = min(WARMUP_STEPS, steps * epochs / 4)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps * epochs - warmup)))
