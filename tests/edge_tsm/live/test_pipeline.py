"""Recordings give one answer, live sources a stream of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest

from edge_tsm.actions.rules import Rules
from edge_tsm.datatypes import Frame, Image, Prediction, Tensor
from edge_tsm.errors import BackendError, InputError, SourceError
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.capture import CaptureOptions
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.live.worker import SourceInput
from edge_tsm.sinks.recorder import Recorder
from edge_tsm.sources import PushSource, Replay, TestPattern, VideoFile
from edge_tsm.system.clock import Clock, SystemClock, VirtualClock
from tests.helpers.fakes import FakeBackend, FakeCamera, frames_at, make_card
from tests.helpers.videos import write_video

pytestmark = pytest.mark.timeout(30)


def recognizer(**kind: int) -> Recognizer:
    return Recognizer(make_card(**kind), FakeBackend())


def answers(camera: FakeCamera, **settings: float) -> list[Prediction]:
    return list(Pipeline(camera, recognizer(), capture=camera.options, **settings))


def ends(predictions: Sequence[Prediction]) -> list[float]:
    return [p.window.end_s for p in predictions if p.window]


def our_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("edge-tsm")]


def test_a_recording_gives_one_answer(tmp_path: Path) -> None:
    source = VideoFile(write_video(tmp_path / "x.avi", 40))
    [answer] = Pipeline(source, recognizer())
    assert answer.window is not None
    assert answer.window.frames == (2, 7, 12, 17, 22, 27, 32, 37)
    assert answer.window.start_s == pytest.approx(2 / 25)
    assert answer.window.end_s == pytest.approx(37 / 25)
    assert (answer.source, answer.address) == ("0", source.uri)
    assert (answer.delay, answer.stale) == (None, False)


def test_a_live_source_answers_at_the_asked_rate() -> None:
    camera = FakeCamera(frames_at(i / 10 for i in range(61)))
    given = answers(camera, every_s=1.0)
    assert ends(given) == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert camera.closed
    window = given[0].window
    assert window is not None
    assert window.frames == (1, 4, 6, 9, 11, 14, 16, 19)
    assert window.ages_s == pytest.approx([1.9, 1.6, 1.4, 1.1, 0.9, 0.6, 0.4, 0.1])
    assert window.dropped == 0


def test_answers_keep_their_rate_whatever_the_camera_s() -> None:
    camera = FakeCamera(frames_at(i / 14.985 for i in range(180)))
    times = ends(answers(camera, every_s=0.5))
    assert len(times) == 20
    assert times[-1] - times[0] == pytest.approx(9.5, abs=1 / 14)


def test_no_answer_before_the_window_is_full() -> None:
    camera = FakeCamera(frames_at(i / 10 for i in range(15)))
    assert answers(camera, window_s=2.0) == []
    assert camera.closed


def test_after_a_gap_the_window_fills_again() -> None:
    frames = frames_at([*(i / 10 for i in range(31)), *(4.0 + i / 10 for i in range(31))])
    marked = [Frame(f.image, f.index, f.time_s, gap=f.time_s == 4.0) for f in frames]
    assert ends(answers(FakeCamera(marked), every_s=0.5)) == [2.0, 2.5, 3.0, 6.0, 6.5, 7.0]


def test_lost_frames_are_counted_in_the_window_they_are_missing_from() -> None:
    frames = [f for f in frames_at(i / 10 for i in range(61)) if f.index not in (12, 13, 15)]
    windows = [p.window for p in answers(FakeCamera(frames), every_s=1.0)]
    assert [w.dropped for w in windows if w] == [3, 3, 0, 0, 0]


def test_the_thread_hands_its_error_over() -> None:
    camera = FakeCamera(frames_at([0.0, 0.1]), SourceError("unplugged"))
    with pytest.raises(SourceError, match="unplugged"):
        answers(camera)
    assert camera.closed


def test_an_error_in_the_callback_is_handed_over_too() -> None:
    def fail(frame: Frame) -> None:
        raise ZeroDivisionError("in the app")

    camera = FakeCamera(frames_at([0.0, 0.1]))
    with pytest.raises(ZeroDivisionError, match="in the app"):
        list(Pipeline(SourceInput(camera, fail), recognizer(), capture=camera.options))


def test_a_failing_engine_ends_everything() -> None:
    class Failing(FakeBackend):
        def run(self, inputs: object) -> dict[str, np.ndarray]:
            raise BackendError("the engine is gone")

    camera = FakeCamera(frames_at(i / 10 for i in range(61)))
    with pytest.raises(BackendError, match="is gone"):
        list(Pipeline(camera, Recognizer(make_card(), Failing()), capture=camera.options))
    assert camera.closed


def endless() -> Iterator[Frame]:
    image: Image = np.zeros((48, 64, 3), np.uint8)
    return (Frame(image, i, i / 20) for i in count())


def test_leaving_early_closes_the_source() -> None:
    camera = FakeCamera(endless())
    for _ in Pipeline(camera, recognizer(), capture=camera.options):
        break
    assert camera.closed
    assert "edge-tsm capture" not in our_threads()


def test_every_frame_is_shown_to_the_callback() -> None:
    seen: list[int] = []
    camera = FakeCamera(frames_at(i / 10 for i in range(20)))
    pipeline = Pipeline(
        SourceInput(camera, lambda f: seen.append(f.index)), recognizer(), capture=camera.options
    )
    assert list(pipeline) == []
    assert seen == list(range(20))
    [counts] = pipeline.counts()
    assert (counts.state, counts.frames, counts.dropped, counts.answers) == ("ended", 20, 0, 0)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["window_s", "every_s"])
def test_seconds_that_make_no_sense(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        Pipeline(FakeCamera([]), recognizer(), **{name: value})


def test_a_callback_instead_of_a_loop() -> None:
    camera, given = FakeCamera(frames_at(i / 10 for i in range(61))), list[Prediction]()
    with Pipeline(camera, recognizer(), every_s=1.0, capture=camera.options) as pipeline:
        pipeline.start(given.append)
        assert pipeline.wait()
    assert ends(given) == [2.0, 3.0, 4.0, 5.0, 6.0]


def test_what_a_callback_raises_reaches_whoever_waits() -> None:
    def fail(prediction: Prediction) -> None:
        raise ZeroDivisionError("in the app")

    camera = FakeCamera(frames_at(i / 10 for i in range(61)))
    pipeline = Pipeline(camera, recognizer(), capture=camera.options)
    pipeline.start(fail)
    with pytest.raises(ZeroDivisionError, match="in the app"):
        pipeline.wait()
    assert camera.closed


def test_close_ends_a_running_pipeline_from_outside() -> None:
    clock = SystemClock()
    pattern = TestPattern(size=(64, 48), fps=100, clock=clock)
    pipeline = Pipeline(pattern, recognizer(), window_s=0.2, every_s=0.05)
    answered = threading.Event()
    pipeline.start(lambda _: answered.set())
    assert answered.wait(20)
    started_s = clock.now()
    pipeline.close()
    assert clock.now() - started_s < 10
    assert pipeline.wait(0)


def sample_of(predictions: Sequence[Prediction]) -> list[tuple[object, ...]]:
    return [(p.window, p.logits.tolist()) for p in predictions]


@pytest.mark.parametrize("fps", [12.5, 29.97, 60.0])
def test_a_replay_gives_the_answers_of_the_live_run(fps: float, tmp_path: Path) -> None:
    """A live run in real time, with whatever was dropped and late in it, and its replay."""
    recorder = Recorder(tmp_path / "recording")
    live = TestPattern(size=(80, 60), fps=fps, frames=round(fps * 1.2))
    settings = {"window_s": 0.4, "every_s": 0.1}
    pipeline = Pipeline(SourceInput(live, recorder.frame), recognizer(), **settings)
    before = list(pipeline)
    recorder.close()
    [counts] = pipeline.counts()
    replay = Replay(tmp_path / "recording")
    clock = VirtualClock(replay.start_s)
    replay = Replay(tmp_path / "recording", clock=clock)
    after = list(Pipeline(replay, recognizer(), capture=CaptureOptions(clock=clock), **settings))
    assert counts.answers + counts.skipped == len(after) > 0
    if not counts.skipped:  # a machine too busy for the engine answers fewer, and the same
        assert sample_of(before) == sample_of(after)
    assert {str(s) for s in sample_of(before)} <= {str(s) for s in sample_of(after)}


def cameras(number: int, *, seconds: float = 6.15, fps: float = 10) -> list[FakeCamera]:
    """Cameras that share the first one's clock."""
    made = [
        FakeCamera(frames_at(i / fps for i in range(int(seconds * fps)))) for _ in range(number)
    ]
    for index, camera in enumerate(made):
        camera.uri = f"camera {index}"
        camera.clock, camera.options = made[0].clock, made[0].options
        camera._changed = made[0].clock.condition()
    return made


def test_several_cameras_have_their_turns() -> None:
    made = cameras(3)
    backend = FakeBackend()
    pipeline = Pipeline(
        made, Recognizer(make_card(), backend), every_s=1.0, capture=made[0].options
    )
    given = list(pipeline)
    assert backend.batches == [1] * 15
    for camera in made:
        own = [p for p in given if p.address == camera.uri]
        assert ends(own) == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert sorted(p.source or "" for p in given[:3]) == ["0", "1", "2"]
    assert [c.answers for c in pipeline.counts()] == [5, 5, 5]


@pytest.mark.parametrize(("number", "batch"), [(4, 4), (3, 4), (5, 2)])
def test_a_batch_takes_several_cameras_at_once(number: int, batch: int) -> None:
    made, backend = cameras(number), FakeBackend()
    model = Recognizer(make_card(batch=batch), backend)
    given = list(Pipeline(made, model, every_s=1.0, capture=made[0].options))
    assert len(given) == 5 * number
    assert len(backend.batches) == 5 * -(-number // batch)
    for camera in made:
        assert ends([p for p in given if p.address == camera.uri]) == [2.0, 3.0, 4.0, 5.0, 6.0]


def test_a_graph_of_any_batch_takes_what_is_ready() -> None:
    made, backend = cameras(3), SlowBackend()
    backend.clock = made[0].options.clock
    model = Recognizer(make_card(dynamic=True), backend)
    given = list(Pipeline(made, model, every_s=1.0, capture=made[0].options))
    assert len(given) == sum(backend.batches) == 15
    # One camera may be first, and is not kept waiting; the others are there when it is answered.
    assert len(backend.batches) <= 10


class SlowBackend(FakeBackend):
    """A run takes 0.4 s of the clock, for however many clips."""

    clock: Clock

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        until_s, condition = self.clock.now() + 0.4, self.clock.condition()
        with condition:
            while (left_s := until_s - self.clock.now()) > 0:
                condition.wait(left_s)
        return super().run(inputs)


def test_a_camera_alone_does_not_wait_for_a_batch() -> None:
    [camera], backend = cameras(1), FakeBackend()
    model = Recognizer(make_card(batch=4), backend)
    given = list(Pipeline(camera, model, every_s=1.0, capture=camera.options))
    assert ends(given) == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert all(p.delay and p.delay.queue_ms == 0 for p in given)


def test_one_source_that_ends_leaves_the_others_going() -> None:
    made = cameras(2)
    made[0]._frames = list(made[0]._frames)[:25]  # type: ignore[call-overload]
    given = list(Pipeline(made, recognizer(), every_s=1.0, capture=made[0].options))
    assert ends([p for p in given if p.source == "0"]) == [2.0]
    assert ends([p for p in given if p.source == "1"]) == [2.0, 3.0, 4.0, 5.0, 6.0]


def test_own_callbacks_for_each_source() -> None:
    made, seen = cameras(2, seconds=1.05), [list[int](), list[int]()]
    inputs = [
        SourceInput(camera, on_frame=lambda f, own=own: own.append(f.index))  # type: ignore[misc]
        for camera, own in zip(made, seen, strict=True)
    ]
    assert list(Pipeline(inputs, recognizer(), capture=made[0].options)) == []
    assert seen == [list(range(10))] * 2


def test_recordings_come_before_cameras(tmp_path: Path) -> None:
    camera = FakeCamera(frames_at(i / 10 for i in range(21)))
    video = VideoFile(write_video(tmp_path / "x.avi", 40))
    given = list(Pipeline([camera, video], recognizer(), capture=camera.options))
    assert [(p.source, p.address) for p in given] == [("1", video.uri), ("0", "fake camera")]


def test_frames_that_an_app_pushes() -> None:
    """The app's frames come in its own time; every one that was looked at is in its place."""
    source, given = PushSource(), list[Prediction]()
    image = np.zeros((48, 64, 3), np.uint8)
    pipeline = Pipeline(source, recognizer(), window_s=0.05, every_s=0.01)
    pipeline.start(given.append)
    for _ in range(100_000):
        source.push(image)
        if given:
            break
    pipeline.close()
    assert given[0].address == "pushed frames"
    with pytest.raises(InputError, match="is closed"):
        source.push(image)


def test_a_slow_engine_skips_windows_and_stays_up_to_date() -> None:
    """The app holds every answer for 1.7 s of the camera's time; it gets the newest then."""
    camera, given = FakeCamera(frames_at(i / 10 for i in range(81))), list[Prediction]()
    pause = camera.clock.condition()
    pipeline = Pipeline(camera, recognizer(), every_s=0.5, capture=camera.options)
    for answer in pipeline:
        given.append(answer)
        with pause:
            pause.wait(1.7)
    assert ends(given) == [2.0, 3.5, 5.0, 7.0, 8.0]
    [counts] = pipeline.counts()
    assert (counts.answers, counts.skipped) == (5, 8)
    assert [p.delay and round(p.delay.latency_ms) for p in given] == [0, 200, 400, 100, 800]


ALWAYS_ON = Rules(on=0.0, off=0.0)


def kinds(predictions: Sequence[Prediction]) -> list[list[str]]:
    return [[event.kind for event in p.events] for p in predictions]


def test_with_rules_answers_come_with_decisions_and_the_end() -> None:
    made = cameras(2)
    pipeline = Pipeline(made, recognizer(), every_s=2.0, capture=made[0].options, rules=ALWAYS_ON)
    given = list(pipeline)
    for camera in made:
        own = [p for p in given if p.address == camera.uri]
        assert (ends(own), kinds(own)) == ([2, 4, 6, 6], [["start"], [], [], ["end"]])
    assert list(pipeline.finish()) == []


def test_cameras_that_look_alike_without_their_secrets_are_decided_apart() -> None:
    """Both channels of a recorder are shown as one address, and each has its own actions."""
    made = cameras(2)
    for channel, camera in enumerate(made):
        camera.uri = f"rtsp://dvr/?user=me&password=secret_channel={channel}"
    options = made[0].options
    given = list(Pipeline(made, recognizer(), every_s=2.0, capture=options, rules=ALWAYS_ON))
    assert len({p.address for p in given}) == 1
    for name in ("0", "1"):
        assert kinds([p for p in given if p.source == name]) == [["start"], [], [], ["end"]]


def test_names_are_unique_ids() -> None:
    made = cameras(2)
    twice = [SourceInput(camera, name="porch") for camera in made]
    with pytest.raises(InputError, match="two sources are called 'porch'"):
        Pipeline(twice, recognizer())
    with pytest.raises(InputError, match=r"source name 'a/b': use 1 to 64"):
        Pipeline(SourceInput(made[0], name="a/b"), recognizer())


def test_a_started_run_that_is_closed_ends_its_actions() -> None:
    given, answered = list[Prediction](), threading.Event()

    def keep(prediction: Prediction) -> None:
        given.append(prediction)
        answered.set()

    pattern = TestPattern(size=(64, 48), fps=100)
    pipeline = Pipeline(pattern, recognizer(), window_s=0.2, every_s=0.05, rules=ALWAYS_ON)
    pipeline.start(keep)
    assert answered.wait(20)
    pipeline.close()
    assert pipeline.wait(20)
    assert kinds(given)[0] == ["start"]
    assert kinds(given)[-1] == ["end"]


def test_a_run_that_is_cut_short_can_be_finished() -> None:
    camera = FakeCamera(endless())
    pipeline = Pipeline(camera, recognizer(), capture=camera.options, rules=ALWAYS_ON)
    for prediction in pipeline:
        assert kinds([prediction]) == [["start"]]
        break
    assert kinds(list(pipeline.finish())) == [["end"]]


def test_iteration_can_be_cut_short() -> None:
    camera = FakeCamera(endless())
    pipeline = iter(Pipeline(camera, recognizer(), capture=camera.options, every_s=0.5))
    assert ends(list(islice(pipeline, 3))) == [2.0, 2.5, 3.0]
    pipeline.close()  # type: ignore[attr-defined]
    assert camera.closed
