"""Several clips at a time: the same answers in the same order, chosen by measurement."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from edge_tsm import demo, load
from edge_tsm.backends import RuntimeOptions
from edge_tsm.bundle.golden import Golden
from edge_tsm.datatypes import Tensor
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.throughput import Rate, _best, _candidates
from edge_tsm.live.pipeline import Pipeline
from tests.helpers.fakes import FakeBackend, FakeCamera, frames_at, make_card


class WideBackend(FakeBackend):
    """Works on two runs at once, and on fewer only when no second one comes."""

    streams = 2

    def __init__(self) -> None:
        super().__init__()
        self.meeting = threading.Barrier(2)
        self.met = 0

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        try:
            self.meeting.wait(timeout=0.5)
            self.met += 1
        except threading.BrokenBarrierError:
            self.meeting.reset()
        return super().run(inputs)


def clips(count: int) -> list[list[np.ndarray]]:
    return [[np.full((224, 224, 3), 7 * i, np.uint8)] * 8 for i in range(count)]


@pytest.mark.parametrize("batch", [1, 3])
def test_answers_come_in_order_from_runs_side_by_side(batch: int) -> None:
    wide = WideBackend()
    recognizer = Recognizer(make_card(batch=batch), wide)
    plain = Recognizer(make_card(batch=batch), FakeBackend())
    answers = list(recognizer.predict_many(clips(12)))
    assert wide.met >= 4
    for ours, theirs in zip(answers, plain.predict_many(clips(12)), strict=True):
        np.testing.assert_array_equal(ours.logits, theirs.logits)
    recognizer.close()
    assert wide.closed


def test_cameras_that_are_due_together_are_answered_side_by_side() -> None:
    cameras = [FakeCamera(frames_at((i / 10 for i in range(40)), (24, 32))) for _ in range(2)]
    cameras[1].clock = cameras[0].clock
    cameras[1]._changed = cameras[0]._changed
    wide = WideBackend()
    recognizer = Recognizer(make_card(), wide)
    pipeline = Pipeline(cameras, recognizer, capture=cameras[0].options)
    assert {prediction.source for prediction in pipeline} == {"0", "1"}
    assert wide.met >= 2


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
