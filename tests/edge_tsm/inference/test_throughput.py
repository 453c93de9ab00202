"""Several clips at a time: the same answers in the same order, chosen by measurement."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edge_tsm import demo, load
from edge_tsm.backends import RuntimeOptions
from edge_tsm.bundle.golden import Golden
from edge_tsm.datatypes import Image, Tensor
from edge_tsm.errors import AnswerError, InputError
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.streaming import Stream
from edge_tsm.inference.throughput import Aim, Rate, _best, _candidates
from edge_tsm.live.pipeline import Pipeline
from tests.helpers.fakes import (
    FakeBackend,
    FakeCamera,
    FakeOnlineBackend,
    frames_at,
    make_card,
    make_online_card,
)

pytestmark = pytest.mark.timeout(300)
FRAMES_SEEN = 1  # the online fake's logit that counts frames since the reset


class Wide:
    """Works on two runs at once, and on fewer only when no second one comes."""

    streams = 2

    def __init__(self, engine: FakeBackend | FakeOnlineBackend) -> None:
        self.inner = engine
        self.engine, self.device, self.card_text = engine.engine, engine.device, engine.card_text
        self.meeting = threading.Barrier(2)
        self.met = 0

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        try:
            self.meeting.wait(timeout=0.5)
            self.met += 1
        except threading.BrokenBarrierError:
            self.meeting.reset()
        return self.inner.run(inputs)

    def close(self) -> None:
        self.inner.close()


def clips(count: int) -> list[list[np.ndarray]]:
    return [[np.full((224, 224, 3), 7 * i, np.uint8)] * 8 for i in range(count)]


@pytest.mark.parametrize("batch", [1, 3])
def test_answers_come_in_order_from_runs_side_by_side(batch: int) -> None:
    engine = FakeBackend()
    wide = Wide(engine)
    recognizer = Recognizer(make_card(batch=batch), wide)
    plain = Recognizer(make_card(batch=batch), FakeBackend())
    answers = list(recognizer.predict_many(clips(12)))
    assert wide.met >= 4
    for ours, theirs in zip(answers, plain.predict_many(clips(12)), strict=True):
        np.testing.assert_array_equal(ours.logits, theirs.logits)
    recognizer.close()
    assert engine.closed


def test_cameras_that_are_due_together_are_answered_side_by_side() -> None:
    cameras = [FakeCamera(frames_at((i / 10 for i in range(40)), (24, 32))) for _ in range(2)]
    cameras[1].clock = cameras[0].clock
    cameras[1]._changed = cameras[0]._changed
    wide = Wide(FakeBackend())
    recognizer = Recognizer(make_card(), wide)
    pipeline = Pipeline(cameras, recognizer, capture=cameras[0].options)
    assert {prediction.source for prediction in pipeline} == {"0", "1"}
    assert wide.met >= 2


# --- online models ------------------------------------------------------------------------------


def pictures(streams: int, steps: int) -> list[list[Image]]:
    """Noise for each step of each stream."""
    shape = (steps, streams, 224, 224, 3)
    return [list(step) for step in np.random.default_rng(0).integers(0, 256, shape, np.uint8)]


def one_by_one(recognizer: Recognizer, shown: list[list[Image]]) -> list[list[np.ndarray]]:
    """What streams answer, each pushed on its own."""
    streams = [recognizer.stream() for _ in shown[0]]
    return [
        [stream.push(crop).logits for stream, crop in zip(streams, step, strict=True)]
        for step in shown
    ]


@pytest.mark.parametrize(("batch", "runs"), [(1, 15), (2, 9)])
def test_streams_step_side_by_side_and_do_not_mix(batch: int, runs: int) -> None:
    shown, engine = pictures(streams=5, steps=3), FakeOnlineBackend()
    wide = Wide(engine)
    with Recognizer(make_online_card(batch=batch), wide) as recognizer:
        streams = [recognizer.stream() for _ in range(5)]
        found = [[a.logits for a in recognizer.push_many(streams, step)] for step in shown]
    assert wide.met >= 6
    assert sum(engine.steps.acquire(blocking=False) for _ in range(100)) == runs
    expected = one_by_one(Recognizer(make_online_card(), FakeOnlineBackend()), shown)
    np.testing.assert_array_equal(found, expected)


def test_a_graph_of_any_batch_gives_every_run_a_share() -> None:
    engine = FakeOnlineBackend()
    recognizer = Recognizer(make_online_card(dynamic=True), Wide(engine))
    streams = [recognizer.stream() for _ in range(5)]
    assert len(recognizer.push_many(streams, pictures(5, 1)[0])) == 5
    assert sum(engine.steps.acquire(blocking=False) for _ in range(100)) == 2
    assert recognizer.push_many([], []) == []


def test_a_stream_steps_once_on_one_crop() -> None:
    recognizer = Recognizer(make_online_card(), FakeOnlineBackend())
    stream, [crops] = recognizer.stream(), pictures(2, 1)
    with pytest.raises(InputError, match="one crop for each of several streams"):
        recognizer.push_many([stream, stream], crops)
    with pytest.raises(InputError, match="one crop for each of several streams"):
        recognizer.push_many([stream], crops)


class Blind(FakeOnlineBackend):
    """Has no answer to black pictures."""

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        outputs = super().run(inputs)
        if inputs["frame"].max() < 0:
            outputs["logits"] = outputs["logits"] * np.nan
        return outputs


def test_a_run_that_fails_keeps_no_other_stream_from_its_step() -> None:
    recognizer = Recognizer(make_online_card(), Wide(Blind()))
    streams, [crops] = [recognizer.stream() for _ in range(4)], pictures(4, 1)
    crops[1] = np.zeros_like(crops[1])
    with pytest.raises(AnswerError):
        recognizer.push_many(streams, crops)
    assert [stream._videos[0].state["count"].item() for stream in streams] == [1, 0, 1, 1]


def test_a_slow_camera_delays_no_other() -> None:
    """In virtual time answers take none, so what is waited for is the delay."""
    slow, *fast = [
        FakeCamera(frames_at(0.03 * k + i / fps for i in range(int(4 * fps))))
        for k, fps in enumerate([1.0, 10.0, 10.0])
    ]
    for camera in fast:
        camera.clock, camera._changed = slow.clock, slow._changed
    recognizer = Recognizer(make_online_card(), FakeOnlineBackend(streams=2))
    pipeline = Pipeline([slow, *fast], recognizer, every_s=0.001, capture=slow.options)
    found = list(pipeline)
    seen = {
        name: [answer.logits[FRAMES_SEEN] for answer in found if answer.source == name]
        for name in "012"
    }
    steady = [1, 1.5, 2, *np.arange(2.5, 39)]  # of the last four steps; a second is a break
    assert seen == {"0": [1] * 4, "1": steady, "2": steady}
    assert max(answer.delay.latency_ms for answer in found if answer.delay) == 0
    assert [counts.skipped for counts in pipeline.counts()] == [0, 0, 0]


def test_cameras_of_an_online_model_step_side_by_side() -> None:
    cameras = [FakeCamera(frames_at((i / 10 for i in range(3)), (24, 32))) for _ in range(4)]
    for camera in cameras:
        camera.clock, camera._changed = cameras[0].clock, cameras[0]._changed
    wide = Wide(FakeOnlineBackend())
    recognizer = Recognizer(make_online_card(), wide)
    found = list(Pipeline(cameras, recognizer, every_s=0.001, capture=cameras[0].options))
    for name in "0123":
        own = [answer.logits[FRAMES_SEEN] for answer in found if answer.source == name]
        assert own == [1, 1.5, 2]
    assert wide.met >= 2


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("at_once", [1, 2])
def test_streams_of_an_engine_from_threads_answer_as_one_by_one_to_the_bit(
    engine: str, at_once: int
) -> None:
    pytest.importorskip(engine)
    options, bundle = RuntimeOptions(threads=2, streams=at_once), demo.bundle("online")
    shown = pictures(streams=4, steps=5)
    with load(bundle, engine=engine, variant="model.int8.onnx", options=options) as recognizer:
        expected = one_by_one(recognizer, shown)
        together = [recognizer.stream() for _ in shown[0]]
        found = [[a.logits for a in recognizer.push_many(together, step)] for step in shown]
        np.testing.assert_array_equal(found, expected)

        def watch(number: int) -> list[np.ndarray]:
            stream: Stream = recognizer.stream()
            return [stream.push(step[number]).logits for step in shown]

        with ThreadPoolExecutor(4) as threads:
            apart = list(threads.map(watch, range(4)))
        np.testing.assert_array_equal(np.swapaxes(apart, 0, 1), expected)


@pytest.mark.parametrize(
    ("form", "sources", "aim", "measured"),
    [
        ("online", 2, None, True),
        ("online", 1, None, False),
        ("online", 2, "latency", False),
        ("clip", 2, None, False),
    ],
)
def test_several_cameras_of_an_online_model_are_opened_for_throughput(
    form: str,
    sources: int,
    aim: Aim | None,
    measured: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("EDGE_TSM_CACHE", str(tmp_path))
    options = RuntimeOptions(threads=2)
    with load(
        demo.bundle(form),  # type: ignore[arg-type]
        engine="onnxruntime",
        options=options,
        variant="model.int8.onnx",
        aim=aim,
        sources=sources,
    ):
        assert (tmp_path / "streams").exists() is measured


# --- the choice ---------------------------------------------------------------------------------


def test_more_at_a_time_has_to_be_clearly_faster() -> None:
    alone, slightly, clearly = Rate(1, 10.0, 90.0), Rate(2, 10.4, 180.0), Rate(4, 11.0, 300.0)
    assert _best([alone, slightly]) is alone
    assert _best([alone, slightly, clearly]) is clearly
    assert str(clearly) == "4 at a time: 11.0 clips/s, p95 300 ms"
    assert _candidates(RuntimeOptions(threads=1)) == [1]
    assert _candidates(RuntimeOptions(threads=8)) == [1, 2, 4, 8]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_streams_of_an_engine_answer_as_one_to_the_bit(engine: str) -> None:
    pytest.importorskip(engine)
    golden = [list(clip) for clip in Golden.read(demo.bundle()).clips][:3]
    found = []
    for streams in (1, 2):
        options = RuntimeOptions(threads=2, streams=streams)
        with load(
            demo.bundle(), engine=engine, variant="model.int8.onnx", options=options
        ) as recognizer:
            assert recognizer.streams == streams
            found.append([answer.logits for answer in recognizer.predict_many(golden)])
    np.testing.assert_array_equal(found[0], found[1])


def test_the_number_is_measured_once_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("EDGE_TSM_CACHE", str(tmp_path))

    def streams() -> int:
        with load(
            demo.bundle(),
            engine="onnxruntime",
            options=RuntimeOptions(threads=2),
            variant="model.int8.onnx",
            aim="throughput",
        ) as recognizer:
            return recognizer.streams

    with caplog.at_level(logging.INFO):
        chosen = streams()
        assert streams() == chosen
    lines = [record.getMessage() for record in caplog.records if "at a time" in record.message]
    assert len(lines) == 1
    assert "1 at a time: " in lines[0]
    assert "; 2 at a time: " in lines[0]
    [kept] = (tmp_path / "streams").iterdir()
    assert kept.read_text() == str(chosen)
    kept.write_text("77")  # of another machine: measured again
    assert streams() in (1, 2)
