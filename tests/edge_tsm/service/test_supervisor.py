"""A run ends in time, and what goes wrong in it is logged; all in virtual time."""

from __future__ import annotations

import logging

import pytest

from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.service.supervisor import Supervisor, Watch
from edge_tsm.sinks import Dispatcher
from tests.helpers.fakes import FakeBackend, FakeCamera, frames_at, make_card

pytestmark = pytest.mark.timeout(30)


def supervised(watch: Watch, *, frames: int = 200, fps: float = 10) -> int:
    """Run a camera under a supervisor; return the number of answers."""
    camera = FakeCamera(frames_at((i / fps for i in range(frames)), (24, 32)))
    recognizer = Recognizer(make_card(), FakeBackend())
    pipeline = Pipeline(camera, recognizer, capture=camera.options)
    answers = 0
    with (
        Dispatcher([], clock=camera.clock) as dispatcher,
        Supervisor(pipeline, dispatcher, watch, clock=camera.clock) as supervisor,
    ):
        for prediction in pipeline:
            supervisor.answered(prediction)
            answers += 1
    return answers


def test_a_run_ends_after_its_duration() -> None:
    assert supervised(Watch(duration_s=5.0)) in (6, 7)  # from 2 to 5 s, two a second


def test_a_run_ends_when_it_is_stopped() -> None:
    watch = Watch()
    watch.stopped.set()
    assert supervised(watch) == 0


def test_figures_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        supervised(Watch(stats_s=4.0), frames=100)
    lines = [record.getMessage() for record in caplog.records]
    assert sum("0 (fake camera) live: 10.0 frames/s" in line for line in lines) == 2


def test_a_window_that_never_fills_is_a_warning_once(caplog: pytest.LogCaptureFixture) -> None:
    assert supervised(Watch(), frames=20, fps=1) == 0
    assert caplog.text.count("did not fill a window of 2 s without a hole") == 1
