"""Frames in, prediction out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_tsm.bundle.card import MOST_AT_ONCE
from edge_tsm.errors import CardError, InputError
from edge_tsm.inference.recognizer import Recognizer
from tests.helpers.fakes import FakeBackend, make_card, random_pictures


@pytest.mark.parametrize("count", [1, 5, 8, 37])
def test_a_clip_of_any_length_is_sampled(count: int) -> None:
    recognizer, frames = Recognizer(make_card(), FakeBackend()), random_pictures(count)
    whole = recognizer(frames)
    chosen = [recognizer.prepare(frames[i]) for i in recognizer.sample(count)]
    assert np.array_equal(whole.logits, recognizer.predict(chosen).logits)


def test_each_frame_is_prepared_once() -> None:
    class Counting(Recognizer):
        prepared = 0

        def prepare(self, image, *, color="bgr"):  # type: ignore[no-untyped-def]
            Counting.prepared += 1
            return super().prepare(image, color=color)

    Counting(make_card(), FakeBackend())(random_pictures(3))
    assert Counting.prepared == 3


def test_an_answer_names_its_labels() -> None:
    answer = Recognizer(make_card(), FakeBackend())(random_pictures(8))
    assert answer.probabilities.sum() == pytest.approx(1)
    assert [score.label for score in answer.top(2)] == ["label 2", "label 0"]
    assert answer.label == "label 2"
    assert answer.to_json()["top"][0]["index"] == 2


def test_color_order_matters_and_is_an_argument() -> None:
    recognizer, frames = Recognizer(make_card(), FakeBackend()), random_pictures(8)
    swapped = [np.ascontiguousarray(frame[..., ::-1]) for frame in frames]
    assert np.allclose(recognizer(frames).logits, recognizer(swapped, color="rgb").logits)
    assert not np.allclose(recognizer(frames).logits, recognizer(swapped).logits)


@pytest.mark.parametrize(
    ("batch", "clips", "runs"), [(1, 3, [1, 1, 1]), (2, 3, [2, 2]), (4, 2, [4])]
)
def test_a_batch_is_filled(batch: int, clips: int, runs: list[int]) -> None:
    backend = FakeBackend()
    recognizer = Recognizer(make_card(batch=batch), backend)
    crops = [[recognizer.prepare(frame) for frame in random_pictures(8)] for _ in range(clips)]
    crops[0] = [255 - crop for crop in crops[0]]
    answers = list(recognizer.predict_many(crops))
    assert backend.batches == runs
    assert len(answers) == clips
    assert not np.array_equal(answers[0].logits, answers[1].logits)
    alone = Recognizer(make_card(), FakeBackend())
    assert np.allclose(alone.predict(crops[0]).logits, answers[0].logits)


def test_a_graph_of_any_batch_gets_as_many_clips_as_there_are() -> None:
    backend = FakeBackend()
    recognizer = Recognizer(make_card(dynamic=True), backend)
    clip = [recognizer.prepare(frame) for frame in random_pictures(8)]
    assert len(list(recognizer.predict_many([clip] * 5))) == 5
    assert len(list(recognizer.predict_many(iter([clip] * (MOST_AT_ONCE + 2))))) == MOST_AT_ONCE + 2
    assert backend.batches == [5, MOST_AT_ONCE, 2]


def test_bad_clips_are_refused() -> None:
    recognizer = Recognizer(make_card(), FakeBackend())
    with pytest.raises(InputError, match="no frames"):
        recognizer([])
    with pytest.raises(InputError, match="a clip is 8 crops"):
        recognizer.predict([np.zeros((224, 224, 3), np.uint8)] * 7)


def test_closing_closes_the_engine() -> None:
    backend = FakeBackend()
    with Recognizer(make_card(), backend):
        pass
    assert backend.closed


def test_an_unknown_color_order_is_refused() -> None:
    with pytest.raises(InputError, match="color is 'RGB'"):
        Recognizer(make_card(), FakeBackend())(random_pictures(8), color="RGB")  # type: ignore[arg-type]


@pytest.mark.parametrize(("classes", "message"), [(2, "its 2 labels"), (4, "its 4 labels")])
def test_labels_that_do_not_fit_the_model(classes: int, message: str) -> None:
    with pytest.raises(CardError, match=message):
        Recognizer(make_card(classes=classes), FakeBackend())(random_pictures(8))


def test_an_output_that_is_not_there() -> None:
    card = make_card()
    card = dataclasses.replace(card, output=dataclasses.replace(card.output, name="nope"))
    with pytest.raises(CardError, match=r"card\.output nope"):
        Recognizer(card, FakeBackend())(random_pictures(8))
