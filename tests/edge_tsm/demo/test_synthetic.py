"""Generated video: what moves is what the label says, and single frames do not give it away."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2")

from edge_tsm.demo import synthetic
from edge_tsm.demo.synthetic import LABELS, MIRRORED, REVERSED, generate, label_of
from edge_tsm.errors import InputError

MIDDLE = np.array([80.0, 80.0, 1.0])
ABOVE = np.array([80.0, 10.0, 1.0])
COMPONENTS = ("x", "y", "log size", "angle")


def track(seed: int, label: int, times: np.ndarray) -> np.ndarray:
    """(T, 4): where the object's middle is, its log2 size, its angle clockwise from upright."""
    motion = synthetic._Motion.draw(np.random.default_rng(seed), label)
    rows = []
    for t in times:
        pose = motion.pose(float(t), 128, 170)
        (x, y), (ux, uy) = pose @ MIDDLE, pose @ ABOVE - pose @ MIDDLE
        rows.append((x, y, np.log2(np.hypot(ux, uy)), np.arctan2(ux, -uy)))
    return np.array(rows)


@pytest.mark.parametrize(
    ("label", "component", "sign"),
    [
        ("swipe left", "x", -1),
        ("swipe right", "x", 1),
        ("swipe up", "y", -1),
        ("swipe down", "y", 1),
        ("zoom in", "log size", 1),
        ("zoom out", "log size", -1),
        ("turn clockwise", "angle", 1),
        ("turn counterclockwise", "angle", -1),
    ],
)
def test_the_object_moves_as_its_label_says(label: str, component: str, sign: int) -> None:
    index = COMPONENTS.index(component)
    for seed in range(20):
        path = track(seed, LABELS.index(label), np.linspace(0, 1, 33))
        if component == "angle":
            path[:, 3] = np.unwrap(path[:, 3])
        moved = (path[-1] - path[0]) / (128, 128, 1, 1)
        assert np.sign(moved[index]) == sign
        others = np.delete(np.abs(moved), index)
        assert abs(moved[index]) > 3 * others.max()


def test_single_frames_are_distributed_alike_in_every_class() -> None:
    """Place, size and angle of a frame taken at any time, over many clips of each class."""
    times = (np.arange(8) + 0.5) / 8
    found = {
        label: np.concatenate([track(seed, label, times) for seed in range(400)])
        for label in range(len(LABELS))
    }
    everything = np.concatenate(list(found.values()))
    spread = everything.std(0)
    for rows in found.values():
        for share in (0.1, 0.25, 0.5, 0.75, 0.9):
            gap = np.quantile(rows, share, axis=0) - np.quantile(everything, share, axis=0)
            assert np.all(np.abs(gap) < 0.25 * spread)


def test_the_same_seed_gives_the_same_clip() -> None:
    first, second = generate(7, short_side_px=64), generate(7, short_side_px=64)
    assert first.shape == (8, 64, 84, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert not np.array_equal(first, generate(8, short_side_px=64))


def test_times_choose_the_frames() -> None:
    fine = generate(3, times=[0.0, 0.5, 1.0], short_side_px=64)
    assert len(fine) == 3
    still = np.abs(fine[0].astype(int) - fine[2].astype(int)).mean()
    assert still > 1


def test_plain_clips_show_a_bright_object_over_a_dark_ground() -> None:
    clip, plain = generate(5, short_side_px=64), generate(5, short_side_px=64, plain=True)
    bright = plain.mean(3) > 110
    assert 0.02 < bright.mean() < 0.5
    assert plain.mean(3)[~bright].std() < clip.mean(3)[~bright].std()
    assert plain[bright].mean() > 3 * plain[~bright].mean()


def test_labels_are_balanced_and_cannot_be_read_from_the_seed() -> None:
    labels = [label_of(seed) for seed in range(180)]
    assert [labels.count(i) for i in range(9)] == [20] * 9
    assert labels[:9] != labels[9:18]


@pytest.mark.parametrize("changed", [REVERSED, MIRRORED])
def test_reversed_and_mirrored_classes_come_in_pairs(changed: tuple[int, ...]) -> None:
    assert [changed[changed[i]] for i in range(9)] == list(range(9))


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(InputError, match="label is 9"):
        generate(0, label=9)
