"""Clip or online: one runner each, and what both answer."""

from __future__ import annotations

import numpy as np
import pytest

from edge_tsm.errors import CardError, InputError
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.runner import runner_of
from tests.helpers.fakes import FakeBackend, FakeOnlineBackend, make_card, make_online_card


def clips(count: int, frames: int) -> np.ndarray:
    generator = np.random.default_rng(frames)
    return generator.standard_normal((count, frames * 3, 224, 224), np.float32)


def test_the_card_decides_the_form() -> None:
    assert runner_of(make_card(), FakeBackend()).form == "clip"
    assert runner_of(make_online_card(), FakeOnlineBackend()).form == "online"
    assert Recognizer(make_online_card(), FakeOnlineBackend()).runner.form == "online"


def test_a_clip_model_takes_one_run() -> None:
    backend, shown = FakeBackend(), clips(2, 8)
    runner = runner_of(make_card(batch=2), backend)
    [inputs] = runner.inputs(shown)
    assert inputs["clip"] is shown
    assert backend.batches == []  # inputs alone need no run
    answer = runner.answer(shown)
    assert answer.shape == (2, 3)
    assert np.array_equal(answer, runner.logits(shown))
    assert backend.batches == [2, 2]


def test_an_online_model_steps_from_a_fresh_state() -> None:
    runner, shown = runner_of(make_online_card(batch=2), FakeOnlineBackend()), clips(2, 4)
    logits = runner.logits(shown)
    assert logits.shape == (2, 4, 3)
    assert logits[:, :, 1].tolist() == [[1, 2, 3, 4]] * 2  # frames since the reset
    assert np.array_equal(logits, runner.logits(shown))
    assert np.allclose(runner.answer(shown), logits.mean(axis=1))
    steps = list(runner.inputs(shown))
    assert [step["count"].max() for step in steps] == [0, 1, 2, 3]
    assert all(np.array_equal(s["frame"], shown[:, 3 * i : 3 * i + 3]) for i, s in enumerate(steps))


def test_only_an_online_model_has_streams() -> None:
    with pytest.raises(InputError, match="fake answers clips, not single frames"):
        runner_of(make_card(), FakeBackend()).stream()
    stream = runner_of(make_online_card(horizon=2), FakeOnlineBackend()).stream()
    crop = np.zeros((224, 224, 3), np.uint8)
    assert [stream.push(crop).logits[1] for _ in range(3)] == [1, 1.5, 2.5]


def test_an_answer_of_another_shape_is_refused() -> None:
    with pytest.raises(CardError, match="its 4 labels do not fit"):
        runner_of(make_card(classes=4), FakeBackend()).logits(clips(1, 8))
