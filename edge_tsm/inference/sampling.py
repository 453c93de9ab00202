"""Which frames a model sees: of a whole video (index rules), and of a live window (ages).

A rule that spreads segments over the whole video needs no more than the count of its frames. A
rule with an interval takes a clip of fixed length out of it: `interval` frames lie between two
segments, of a video of `fps` frames a second, or, where a card says no `fps`, of any video.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_tsm.bundle.card import Sampling
from edge_tsm.errors import CardError, InputError

DENSE_CLIPS, DENSE_SPAN = 10, 64
# Of sums of times that are counted in frames, far below one frame.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Take:
    """What is taken of one video: `clips` of `segments` frames; rules with an interval: `step`.

    `step` counts frames of the video at hand, and need not be whole.
    """

    segments: int
    step: float = 1.0
    clips: int = 1


IndexRule = Callable[[int, Take], list[int]]
TestRule = Callable[[int, int], list[int]]
Ages = Callable[[Sampling], list[float]]


# --- the whole video, cut into parts -------------------------------------------------------------


def uniform_indices(frame_count: int, segments: int) -> list[int]:
    """Return the center frame of each of `segments` equal parts, 0-based.

    Upstream's test-time rule (mit-han-lab/temporal-shift-module, ops/dataset.py,
    `_get_test_indices`). Clips shorter than `segments` repeat frames, as they do there.
    """
    if frame_count < 1 or segments < 1:
        raise InputError(f"cannot take {segments} segments from {frame_count} frames")
    tick = frame_count / float(segments)
    return [int(tick / 2.0 + tick * x) for x in range(segments)]


def paddle_left_indices(frame_count: int, segments: int) -> list[int]:
    """Return PaddleVideo's indices for TSM (`select_left`): uniform, but short clips stand still.

    Source: PaddleVideo, loader/pipelines/sample.py.
    """
    if frame_count > segments:
        return uniform_indices(frame_count, segments)
    return [0] * len(uniform_indices(frame_count, segments))


def paddle_center_indices(frame_count: int, segments: int) -> list[int]:
    """Return PaddleVideo's indices for PP-TSM: centers of whole parts, the remainder left out.

    Clips shorter than `segments` start again. Source: loader/pipelines/sample.py.
    """
    uniform_indices(frame_count, segments)  # refuses what cannot be sampled
    part = frame_count // segments
    if part == 0:
        return [i % frame_count for i in range(segments)]
    return [(part - 1) // 2 + i * part for i in range(segments)]


def part_indices(frame_count: int, segments: int) -> list[int]:
    """Return the middle of each of `segments` equal parts of the frames but the last.

    Source: facebookresearch/SlowFast and TimeSformer, datasets/ssv2.py: for Something-Something.
    """
    uniform_indices(frame_count, segments)  # refuses what cannot be sampled
    part = float(frame_count - 1) / segments
    edges = [int(np.round(part * i)) for i in range(segments + 1)]
    return [(left + right) // 2 for left, right in itertools.pairwise(edges)]


def dense_indices(frame_count: int, segments: int) -> list[int]:
    """Return ten clips of `segments` frames in a row, each spanning 64 frames of the video.

    Starts are spread over the video; a clip that runs over its end goes on at its beginning.
    Upstream's `--dense_sample` (ops/dataset.py, `_get_test_indices`). Up to 64 frames all ten
    clips are the same one.
    """
    uniform_indices(frame_count, segments)  # refuses what cannot be sampled
    span, stride = max(1, 1 + frame_count - DENSE_SPAN), DENSE_SPAN // segments
    starts = np.linspace(0, span - 1, num=DENSE_CLIPS, dtype=int).tolist()
    return [(k * stride + start) % frame_count for start in starts for k in range(segments)]


def twice_indices(frame_count: int, segments: int) -> list[int]:
    """Return two clips in a row: the center of each part, then its first frame.

    Upstream's `--twice_sample` (ops/dataset.py, `_get_test_indices`).
    """
    tick = frame_count / float(segments)
    return uniform_indices(frame_count, segments) + [int(tick * x) for x in range(segments)]


# --- clips of fixed length out of it -------------------------------------------------------------


def start_indices(frame_count: int, take: Take) -> list[int]:
    """Return clips that start at 0 and, if there are several, spread to before the video's end.

    Frames beyond the end are the last one. Source: facebookresearch/SlowFast and TimeSformer,
    datasets/decoder.py, `temporal_sampling`; PaddleVideo's decoders do alike.
    """
    free = _free(frame_count, take)
    return _spans(frame_count, take, [free * k / take.clips for k in range(take.clips)])


def center_indices(frame_count: int, take: Take) -> list[int]:
    """Return the clip in the video's middle, or several from its first frame to its last.

    Source: facebookresearch/SlowFast with `DATA.USE_OFFSET_SAMPLING`.
    """
    free = _free(frame_count, take)
    if take.clips == 1:
        return _spans(frame_count, take, [math.floor(free / 2)])
    step = math.floor(free / (take.clips - 1))
    return _spans(frame_count, take, [float(k * step) for k in range(take.clips)])


def subsample_indices(frame_count: int, take: Take) -> list[int]:
    """Return `segments` frames spread over those that lie in the seconds of each clip.

    What is shorter than a clip is spread over, too. Source: facebookresearch/pytorchvideo,
    `get_clip(start, end)`, both ends included, and `UniformTemporalSubsample`.
    """
    free, span = _free(frame_count, take), take.segments * take.step
    found: list[int] = []
    for start in np.linspace(0, free, take.clips):
        first = math.ceil(start - _TOLERANCE)
        last = min(math.floor(start + span + _TOLERANCE), frame_count - 1)
        found += (first + np.linspace(0, last - first, take.segments).astype(int)).tolist()
    return found


def loop_indices(frame_count: int, take: Take) -> list[int]:
    """Return the clip in the video's middle, or several that are spread over it.

    A clip that runs over the end goes on at the beginning. Source: open-mmlab/mmaction2,
    `SampleFrames(test_mode=True)`.
    """
    uniform_indices(frame_count, take.segments)  # refuses what cannot be sampled
    step = max(1, round(take.step))
    free = max(frame_count - (take.segments - 1) * step - 1, 0)
    starts = [free // 2]
    if take.clips > 1:
        starts = [round(free / (take.clips - 1) * k) for k in range(take.clips)]
    return [(start + k * step) % frame_count for start in starts for k in range(take.segments)]


def _free(frame_count: int, take: Take) -> float:
    """Return how many frames later than 0 a clip may start."""
    uniform_indices(frame_count, take.segments)  # refuses what cannot be sampled
    return max(frame_count - max(1.0, take.segments * take.step), 0.0)


def _spans(frame_count: int, take: Take, starts: list[float]) -> list[int]:
    """Return the frames of clips: spread evenly from the first to the last of each, rounded down.

    The step is thus a little more than the interval: 36.4 for 8 frames of 32.
    """
    length = max(1.0, take.segments * take.step) - 1
    clips = [np.linspace(start, start + length, take.segments) for start in starts]
    return [min(int(at + _TOLERANCE), frame_count - 1) for at in np.concatenate(clips)]


# --- a live window -------------------------------------------------------------------------------


def center_ages(sampling: Sampling) -> list[float]:
    """Return the ages of the centers of equal parts of the window."""
    part_s = sampling.window_s / sampling.segments
    return [sampling.window_s - (i + 0.5) * part_s for i in range(sampling.segments)]


def span_ages(sampling: Sampling) -> list[float]:
    """Return the ages from the first frame of the window to its last, evenly."""
    frames = sampling.segments * (sampling.interval or 1)
    length_s = sampling.window_s * (frames - 1) / frames
    return [float(age_s) for age_s in np.linspace(length_s, 0, sampling.segments)]


def step_ages(sampling: Sampling) -> list[float]:
    """Return ages one interval apart, the newest frame last."""
    step_s = sampling.window_s / sampling.segments
    return [(sampling.segments - 1 - i) * step_s for i in range(sampling.segments)]


# --- the tables ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """How a code base takes frames: of a video, and `ages` in seconds of those of a live window.

    `clips`: it says where several clips of one video lie. `interval`: it needs one.
    """

    indices: IndexRule
    ages: Ages
    interval: bool = True

    def __call__(self, frame_count: int, take: Take) -> list[int]:
        """Return the indices of all clips, one clip after the other."""
        return self.indices(frame_count, take)


def _spread(rule: TestRule) -> Rule:
    """Return the rule over a whole video, of which there is one clip."""

    def indices(frame_count: int, take: Take) -> list[int]:
        return rule(frame_count, take.segments)

    return Rule(indices, center_ages, interval=False)


# What a card may name.
RULES: dict[str, Rule] = {
    "uniform": _spread(uniform_indices),
    "paddle_left": _spread(paddle_left_indices),
    "paddle_center": _spread(paddle_center_indices),
    "parts": _spread(part_indices),
    "start": Rule(start_indices, span_ages),
    "center": Rule(center_indices, span_ages),
    "subsample": Rule(subsample_indices, span_ages),
    "loop": Rule(loop_indices, step_ages),
}
# Upstream's test-time rules of TSM: one or more clips of a video, one after the other.
TEST_RULES: dict[str, TestRule] = {
    "uniform": uniform_indices,
    "dense": dense_indices,
    "twice": twice_indices,
}


class Sampler:
    """A card's rule: which frames are taken of a video of so many, at so many a second.

    >>> slowfast = Sampling("start", 8, window_s=64 / 30, every_s=0.5, interval=8, fps=30.0)
    >>> Sampler(slowfast)(300), Sampler(slowfast)(300, 15.0)
    ([0, 9, 18, 27, 36, 45, 54, 63], [0, 4, 8, 13, 17, 22, 26, 31])

    Raises:
        CardError: this version knows no such rule.
        InputError: several clips of a rule that spreads one over the whole video.
    """

    def __init__(self, sampling: Sampling, *, clips: int = 1) -> None:
        if sampling.rule not in RULES:
            raise CardError(
                f"card.sampling.rule is {sampling.rule!r}, this edge-tsm knows {', '.join(RULES)}"
            )
        self._rule, self._sampling, self._clips = RULES[sampling.rule], sampling, clips
        if clips < 1:
            raise InputError(f"{clips} clips of a video: there must be one or more")
        if clips > 1 and not self._rule.interval:
            raise InputError(
                f"{clips} clips of a video: the model's rule, {sampling.rule}, spreads one clip "
                "over the whole of it; choose upstream's sampling dense or twice instead"
            )
        if self._rule.interval and sampling.interval is None:
            raise CardError(f"card.sampling.interval is missing, rule {sampling.rule} needs it")

    def __call__(self, frame_count: int, fps: float | None = None) -> list[int]:
        """Return the indices, 0-based, of all clips of a video, one clip after the other.

        `fps` is the video's rate, if it has one; else it is taken for the card's.
        """
        sampling = self._sampling
        step = float(sampling.interval or 1)
        if sampling.fps is not None and fps:
            step *= fps / sampling.fps
        return self._rule(frame_count, Take(sampling.segments, step, self._clips))

    def at(self, fps: float | None) -> Callable[[int], list[int]]:
        """Return the rule for videos of one rate, as `Recording.sample` takes it."""
        return lambda frame_count: self(frame_count, fps)

    def ages(self, window_s: float) -> list[float]:
        """Return how many seconds before the newest frame of a live window each segment lies."""
        from_card = self._sampling
        scale = window_s / from_card.window_s
        return [age_s * scale for age_s in self._rule.ages(from_card)]
