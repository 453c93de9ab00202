"""Recordings give one answer, live sources a stream of them."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from edge_tsm.datatypes import Frame
from edge_tsm.errors import InputError, SourceError
from edge_tsm.pipeline import Pipeline
from edge_tsm.recognizer import Recognizer
from edge_tsm.sources import VideoFile
from tests.fakes import FakeBackend, FakeCamera, frames_at, make_card
from tests.runtime.test_sources import write_video

pytestmark = pytest.mark.timeout(30)


def recognizer(**kind: int) -> Recognizer:
    return Recognizer(make_card(**kind), FakeBackend())


def test_a_recording_gives_one_answer(tmp_path: Path) -> None:
    source = VideoFile(write_video(tmp_path / "x.avi", 40))
    [answer] = Pipeline(source, recognizer())
    assert answer.window is not None
    assert answer.window.frames == (2, 7, 12, 17, 22, 27, 32, 37)
    assert answer.window.start_s == pytest.approx(2 / 25)
    assert answer.window.end_s == pytest.approx(37 / 25)


class Stepping(FakeCamera):
    """A camera that waits after each frame until the last answer was taken or none is due."""

    def __init__(self, frames: list[Frame], due_s: list[float]) -> None:
        super().__init__(frames)
        self.due_s, self.answered = due_s, threading.Semaphore(0)

    def __iter__(self):  # type: ignore[no-untyped-def]
        for frame in self._frames:
            yield frame
            if frame.time_s in self.due_s:
                assert self.answered.acquire(timeout=10)


def test_a_live_source_answers_at_the_asked_rate() -> None:
    times = [i / 10 for i in range(61)]
    camera = Stepping(frames_at(times), due_s=[2.0, 3.0, 4.0, 5.0, 6.0])
    ends, answers = [], []
    for answer in Pipeline(camera, recognizer(), every_s=1.0):
        assert answer.window is not None
        ends.append(answer.window.end_s)
        answers.append(answer)
        camera.answered.release()
    assert ends == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert camera.closed
    assert answers[0].window.frames == (1, 4, 6, 9, 11, 14, 16, 19)


def test_no_answer_before_the_window_is_full() -> None:
    camera = FakeCamera(frames_at([i / 10 for i in range(15)]))
    assert list(Pipeline(camera, recognizer(), window_s=2.0)) == []
    assert camera.closed


def test_the_thread_hands_its_error_over() -> None:
    camera = FakeCamera(frames_at([0.0, 0.1]), SourceError("unplugged"))
    with pytest.raises(SourceError, match="unplugged"):
        list(Pipeline(camera, recognizer()))
    assert camera.closed


def test_an_error_in_the_callback_is_handed_over_too() -> None:
    def fail(frame: Frame) -> None:
        raise ZeroDivisionError("in the app")

    camera = FakeCamera(frames_at([0.0, 0.1]))
    with pytest.raises(ZeroDivisionError, match="in the app"):
        list(Pipeline(camera, recognizer(), on_frame=fail))


def test_leaving_early_closes_the_source() -> None:
    class Endless(FakeCamera):
        def __iter__(self):  # type: ignore[no-untyped-def]
            index = 0
            while not self.closed:
                yield Frame(np.zeros((48, 64, 3), np.uint8), index, index / 100)
                index += 1

    camera = Endless([])
    for _ in Pipeline(camera, recognizer()):
        break
    assert camera.closed
    assert not [t for t in threading.enumerate() if t.name == "edge-tsm capture" and t.is_alive()]


def test_every_frame_is_shown_to_the_callback() -> None:
    seen: list[int] = []
    camera = FakeCamera(frames_at([i / 10 for i in range(30)]))
    list(Pipeline(camera, recognizer(), on_frame=lambda frame: seen.append(frame.index)))
    assert seen == list(range(30))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["window_s", "every_s"])
def test_seconds_that_make_no_sense(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        Pipeline(FakeCamera([]), recognizer(), **{name: value})
