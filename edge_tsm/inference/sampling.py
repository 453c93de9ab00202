"""Which frames of a whole clip a model sees: index rules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_tsm.errors import CardError, InputError

IndexRule = Callable[[int, int], list[int]]
DENSE_CLIPS, DENSE_SPAN = 10, 64


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


# What a card may name: one clip of a video.
RULES: dict[str, IndexRule] = {
    "uniform": uniform_indices,
    "paddle_left": paddle_left_indices,
    "paddle_center": paddle_center_indices,
}
# Upstream's test-time rules: one or more clips of a video, one after the other.
TEST_RULES: dict[str, IndexRule] = {
    "uniform": uniform_indices,
    "dense": dense_indices,
    "twice": twice_indices,
}


def index_rule(name: str) -> IndexRule:
    """Return the rule a card names in `sampling.rule`.

    Raises:
        CardError: this version knows no such rule.
    """
    if name not in RULES:
        raise CardError(f"card.sampling.rule is {name!r}, this edge-tsm knows {', '.join(RULES)}")
    return RULES[name]
