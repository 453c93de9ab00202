"""Training where classes have few clips, where clips have several classes, or one class is all."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from converters.architectures.classifier import VideoClassifier
from converters.architectures.mobilenet import InvertedResidual, MobileNet
from converters.architectures.shift import Shift
from converters.architectures.topologies import initialize
from converters.checkpoints.upstream import CONVENTION
from converters.recipe import preprocess_of
from converters.training.balance import BalancedOrder, is_uneven
from converters.training.dataset import Augmentation, Item, augment
from converters.training.lessons import EachByItself, ShareRight
from converters.training.trainer import Trainer, TrainingSettings

SMALL = MobileNet(
    "mobilenetv2", 8,
    (InvertedResidual(8, 32, 16, 2, True, False), InvertedResidual(16, 64, 16, 1, True, True)),
    32,
)  # fmt: skip
QUICK = TrainingSettings(
    epochs=4, batch=8, learning_rate=3e-3, optimizer="adamw", dropout=0.0, partial_bn=False,
    workers=0, device="cpu", patience=None, half=False,
)  # fmt: skip


class Clips:
    """Clips with gray levels by class: each class brightens one color."""

    def __init__(self, sets: list[tuple[int, ...]], *, classes: int, marked: bool) -> None:
        self.labels, self.epoch = sets, 0
        self._classes, self._marked = classes, marked

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Item:
        random = np.random.default_rng(index)
        clip = random.integers(0, 120, (8, 3, 32, 32), dtype=np.uint8)
        for label in self.labels[index]:
            clip[:, label] += 90
        marks = torch.zeros(self._classes)
        marks[list(self.labels[index])] = 1
        item = marks if self._marked else self.labels[index][0]
        return torch.from_numpy(clip).reshape(24, 32, 32), item


def make(train: Clips, val: Clips, settings: TrainingSettings, *, classes: int) -> Trainer:
    network = VideoClassifier(SMALL, classes, Shift(segments=8, div=4))
    initialize(network, seed=1)
    return Trainer(network, preprocess_of(CONVENTION, "rgb"), train, val, settings)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(0, 1000))
def test_every_class_is_drawn_equally_often_and_no_clip_twice_before_all(
    labels: list[int], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    drawn = list(BalancedOrder([(label,) for label in labels], generator))
    assert len(drawn) == len(labels)
    by_class = Counter(labels[i] for i in drawn)
    assert max(by_class.values()) - min(by_class.values()) <= 1
    by_clip = Counter(drawn)
    for label, count in Counter(labels).items():
        times = [by_clip[i] for i, own in enumerate(labels) if own == label]
        assert len(times) == count
        assert max(times) - min(times) <= 1


def test_the_order_is_of_the_generator_alone() -> None:
    labels = [(0,)] * 20 + [(1,)] * 3
    first, again, other = (
        list(BalancedOrder(labels, torch.Generator().manual_seed(seed))) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_list_is_uneven_beyond_two_to_one() -> None:
    assert not is_uneven(np.array([4, 8, 0, 5]))
    assert is_uneven(np.array([4, 9]))
    assert not is_uneven(np.array([0, 0]))


def test_what_is_done_about_uneven_classes_is_told() -> None:
    uneven = Clips([(0,)] * 20 + [(1,)] * 4, classes=3, marked=False)
    lines: list[str] = []
    make(uneven, uneven, replace(QUICK, epochs=1), classes=3).fit(lambda _: None, tell=lines.append)
    assert lines[0].startswith("classes have 4 (class 1) to 20 (class 0) clips: each class is")
    assert "mean class" in lines[-1]
    lines.clear()
    as_they_are = replace(QUICK, epochs=1, balance=False)
    make(uneven, uneven, as_they_are, classes=3).fit(lambda _: None, tell=lines.append)
    assert lines[0].startswith("training on")
    assert "mean class" not in lines[-1]


def test_a_rare_class_is_learned_better_where_it_is_shown_as_often() -> None:
    train = Clips([(0,)] * 76 + [(1,)] * 4, classes=2, marked=False)
    val = Clips([(0,), (1,)] * 12, classes=2, marked=False)
    found = {
        balance: make(train, val, replace(QUICK, balance=balance), classes=2)
        .fit(lambda _: None, tell=lambda _: None)
        .epochs[-1]
        .val_mean_class
        for balance in (True, False)
    }
    assert found[True] > found[False]


def test_several_classes_are_learned_each_by_itself() -> None:
    sets: list[tuple[int, ...]] = [(), (0,), (1,), (0, 1), (2,), (0, 2), (1, 2), (0, 1, 2)]
    settings = replace(QUICK, activation="sigmoid", epochs=8)
    train, val = (Clips(sets * n, classes=3, marked=True) for n in (10, 2))
    history = make(train, val, settings, classes=3).fit(lambda _: None, tell=lambda _: None)
    assert history.best.val_top1 > 0.9  # mean average precision; by chance one half
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss


def test_the_rare_side_of_a_class_counts_more_within_bounds() -> None:
    lesson = EachByItself(3, 0.0)
    logits, marks = torch.zeros(1, 3), torch.tensor([[1.0, 1.0, 1.0]])
    plain = lesson.loss(logits, marks)
    lesson.weigh(np.array([1, 50, 1000]), 1000, torch.device("cpu"))
    weighed = torch.tensor([20.0, 19.0, 0.05]).mean() * plain
    assert lesson.loss(logits, marks) == pytest.approx(float(weighed))
    assert lesson.plain_loss(logits, marks) == pytest.approx(float(plain))


def test_a_clip_turned_round_has_the_classes_of_its_mirror_image() -> None:
    how = Augmentation(8, multiscale=False, mirrored=(1, 0, 2))
    clip, seen = np.zeros((2, 8, 8, 3), np.uint8), set()
    for seed in range(20):
        _, label = augment(clip, torch.tensor([1.0, 0, 1]), how, np.random.default_rng(seed))
        assert isinstance(label, torch.Tensor)
        seen.add(tuple(label.tolist()))
    assert seen == {(1, 0, 1), (0, 1, 1)}


def test_the_mean_over_classes_leaves_out_those_without_clips() -> None:
    tally = ShareRight(3)
    logits = torch.tensor([[1.0, 0, 0]]).repeat(4, 1)
    tally.add(torch.tensor(2.0), logits, torch.tensor([0, 0, 0, 1]))
    assert (tally.top1, tally.mean_class, tally.loss) == (0.75, 0.5, 2)
