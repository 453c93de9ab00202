"""Frame indices equal upstream's."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_tsm.bundle.card import Sampling
from edge_tsm.errors import CardError, InputError
from edge_tsm.inference.sampling import (
    RULES,
    TEST_RULES,
    Sampler,
    Take,
    TestRule,
    uniform_indices,
)


@pytest.fixture(scope="module")
def video_indices(shared: Path) -> dict[str, dict[str, Any]]:
    """Indices that SlowFast's and TimeSformer's code bases gave."""
    text = (shared / "golden/preprocess/video_indices.json").read_text()
    tables: dict[str, dict[str, Any]] = json.loads(text)
    return tables


@pytest.mark.parametrize("segments", [8, 16])
@pytest.mark.parametrize("rule", ["uniform", "dense", "twice"])
def test_test_indices_are_upstreams(rule: str, segments: int, shared: Path) -> None:
    golden = json.loads((shared / "golden/preprocess/indices.json").read_text())
    table = golden[f"{rule}_{segments}"]
    assert {"1", "7", "8", "400"} <= table.keys()
    for count, expected in table.items():
        assert [i + 1 for i in TEST_RULES[rule](int(count), segments)] == expected


@given(st.integers(1, 100_000), st.integers(1, 64))
def test_indices_are_in_order_and_in_range(count: int, segments: int) -> None:
    indices = uniform_indices(count, segments)
    assert len(indices) == segments
    assert indices == sorted(indices)
    assert indices[0] >= 0
    assert indices[-1] < count


@pytest.mark.parametrize("rule", TEST_RULES.values())
def test_nothing_cannot_be_sampled(rule: TestRule) -> None:
    with pytest.raises(InputError, match="from 0 frames"):
        rule(0, 8)


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(CardError, match="'golden-ratio'"):
        Sampler(interval_card("golden-ratio", 8, 8))


# --- clips of fixed length: SlowFast and TimeSformer ----------------------------------------------


def interval_card(rule: str, segments: int, interval: int, fps: float | None = 30.0) -> Sampling:
    return Sampling(rule, segments, segments * interval / 30, 0.5, interval, fps)


# Golden, code base, rule, segments, interval, clips.
CLIPS = [
    ("slowfast_32x2_1clip", "facebookresearch/SlowFast", "start", 32, 2, 1),
    ("slowfast_64x2_1clip", "facebookresearch/SlowFast", "start", 64, 2, 1),
    ("slow_8x8_1clip", "facebookresearch/SlowFast", "start", 8, 8, 1),
    ("slow_8x8_10clips", "facebookresearch/SlowFast", "start", 8, 8, 10),
    ("slow_4x16_1clip", "facebookresearch/SlowFast", "start", 4, 16, 1),
    ("slow_4x16_10clips", "facebookresearch/SlowFast", "start", 4, 16, 10),
    ("slowfast_32x2_1clip_offset", "facebookresearch/SlowFast", "center", 32, 2, 1),
    ("slowfast_64x2_1clip_offset", "facebookresearch/SlowFast", "center", 64, 2, 1),
    ("slow_8x8_1clip_offset", "facebookresearch/SlowFast", "center", 8, 8, 1),
    ("slow_4x16_1clip_offset", "facebookresearch/SlowFast", "center", 4, 16, 1),
    ("8x32_1clip", "facebookresearch/TimeSformer", "start", 8, 32, 1),
    ("16x16_1clip", "facebookresearch/TimeSformer", "start", 16, 16, 1),
    ("96x4_1clip", "facebookresearch/TimeSformer", "start", 96, 4, 1),
    ("ssv2_8", "facebookresearch/TimeSformer", "parts", 8, 1, 1),
    ("ssv2_16", "facebookresearch/TimeSformer", "parts", 16, 1, 1),
    ("ssv2_64", "facebookresearch/TimeSformer", "parts", 64, 1, 1),
    ("slowfast_32x2_1clips", "open-mmlab/mmaction2", "loop", 32, 2, 1),
    ("slowonly_8x8_1clips", "open-mmlab/mmaction2", "loop", 8, 8, 1),
    ("slowonly_8x8_10clips", "open-mmlab/mmaction2", "loop", 8, 8, 10),
    ("slowonly_4x16_1clips", "open-mmlab/mmaction2", "loop", 4, 16, 1),
    ("slowonly_4x16_10clips", "open-mmlab/mmaction2", "loop", 4, 16, 10),
    ("timesformer_8x32_1clips", "open-mmlab/mmaction2", "loop", 8, 32, 1),
    ("timesformer_8x32_10clips", "open-mmlab/mmaction2", "loop", 8, 32, 10),
    ("timesformer_8_1clip", "PaddlePaddle/PaddleVideo", "start", 8, 32, 1),
    ("timesformer_16_1clip", "PaddlePaddle/PaddleVideo", "start", 16, 32, 1),
]


@pytest.mark.parametrize("case", CLIPS, ids=lambda case: case[0])
def test_clips_of_fixed_length_are_each_code_bases(
    case: tuple[str, str, str, int, int, int], video_indices: dict[str, dict[str, Any]]
) -> None:
    name, code_base, rule, segments, interval, clips = case
    table = video_indices[code_base][name]
    assert {"1", "7", "30", "300"} <= table.keys()
    sampler = Sampler(interval_card(rule, segments, interval), clips=clips)
    for count, expected in table.items():
        assert sampler(int(count), 30.0) == list(np.ravel(expected)), count


@pytest.mark.parametrize(
    ("name", "code_base", "rule", "segments"),
    [
        ("slowfast_32x2_10clips_starts", "facebookresearch/SlowFast", "start", 32),
        ("slowfast_64x2_10clips_starts", "facebookresearch/SlowFast", "start", 64),
        ("slowfast_32x2_10clips_starts", "PaddlePaddle/PaddleVideo", "start", 32),
        ("slowfast_32x2_10clips", "open-mmlab/mmaction2", "loop", 32),
    ],
)
def test_ten_clips_start_where_upstreams_do(
    name: str, code_base: str, rule: str, segments: int, video_indices: dict[str, dict[str, Any]]
) -> None:
    sampler = Sampler(interval_card(rule, segments, 2), clips=10)
    for count, expected in video_indices[code_base][name].items():
        assert sampler(int(count))[::segments] == expected


@pytest.mark.parametrize("code_base", ["facebookresearch/SlowFast", "PaddlePaddle/PaddleVideo"])
def test_every_frame_of_ten_clips_is_upstreams(
    code_base: str, video_indices: dict[str, dict[str, Any]]
) -> None:
    expected = video_indices[code_base]["slowfast_32x2_10clips_of_300"]
    assert Sampler(interval_card("start", 32, 2), clips=10)(300) == list(np.ravel(expected))


def test_paddlevideos_indices_beyond_the_end_are_the_last_frame(
    video_indices: dict[str, dict[str, Any]],
) -> None:
    for count, expected in video_indices["PaddlePaddle/PaddleVideo"]["slowfast_32x2_1clip"].items():
        inside = [min(i, int(count) - 1) for i in expected]
        assert Sampler(interval_card("start", 32, 2))(int(count)) == inside


def test_a_video_of_another_rate_is_shown_for_the_same_seconds(
    video_indices: dict[str, dict[str, Any]],
) -> None:
    table = video_indices["facebookresearch/SlowFast"]["slowfast_32x2_1clip_fps25"]
    for count, expected in table.items():
        assert Sampler(interval_card("start", 32, 2))(int(count), 25.0) == expected
    any_rate = Sampler(interval_card("loop", 8, 8, fps=None))
    assert any_rate(300, 25.0) == any_rate(300, 30.0) == any_rate(300)


@pytest.mark.parametrize(
    ("kind", "segments", "interval"), [("slowfast_32x2", 32, 2), ("slow_8x8", 8, 8)]
)
def test_pytorchvideo_spreads_frames_over_what_it_decoded(
    kind: str, segments: int, interval: int, video_indices: dict[str, dict[str, Any]]
) -> None:
    tables = video_indices["facebookresearch/pytorchvideo"]
    card = interval_card("subsample", segments, interval)
    for count, expected in tables[f"{kind}_subsample_of_decoded_clip"].items():
        assert Sampler(card)(int(count)) == expected
    for clips in (1, 10):
        for count, starts_s in tables[f"{kind}_constant_{clips}clips_start_seconds"].items():
            found = Sampler(card, clips=clips)(int(count), 30.0)[::segments]
            assert found == [math.ceil(start_s * 30 - 1e-4) for start_s in starts_s]


@given(
    rule=st.sampled_from(sorted(RULES)),
    count=st.integers(1, 5000),
    segments=st.integers(1, 96),
    step=st.floats(0.1, 64),
)
def test_no_rule_takes_a_frame_that_is_not_there(
    rule: str, count: int, segments: int, step: float
) -> None:
    for clips in (1, 3) if RULES[rule].interval else (1,):
        indices = RULES[rule](count, Take(segments, step, clips))
        assert len(indices) == clips * segments
        assert 0 <= min(indices) <= max(indices) < count


def test_a_rule_over_the_whole_video_has_one_clip() -> None:
    with pytest.raises(InputError, match="dense or twice"):
        Sampler(Sampling("uniform", 8, 2, 0.5, None, None), clips=10)


def test_a_rule_with_an_interval_needs_one() -> None:
    with pytest.raises(CardError, match="interval is missing"):
        Sampler(Sampling("start", 8, 2, 0.5, None, None))


@pytest.mark.parametrize(
    ("rule", "segments", "interval", "first_s", "last_s"),
    [
        ("start", 8, 32, 255 / 30, 0.0),
        ("start", 32, 2, 63 / 30, 0.0),
        ("loop", 8, 32, 7 * 32 / 30, 0.0),
        ("uniform", 8, 32, 7.5 * 32 / 30, 0.5 * 32 / 30),
    ],
)
def test_live_frames_are_as_far_apart_as_a_videos(
    rule: str, segments: int, interval: int, first_s: float, last_s: float
) -> None:
    card = interval_card(rule, segments, interval)
    ages = Sampler(card).ages(card.window_s)
    assert len(ages) == segments
    assert (ages[0], ages[-1]) == pytest.approx((first_s, last_s))
    assert np.ptp(np.diff(ages)) == pytest.approx(0, abs=1e-9)
    assert Sampler(card).ages(2 * card.window_s)[0] == pytest.approx(2 * first_s)
