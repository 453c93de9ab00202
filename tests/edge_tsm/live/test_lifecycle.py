"""The life of a pipeline: what it can be asked when, who is told of what, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from edge_tsm.actions.rules import Rules
from edge_tsm.datatypes import Frame, Prediction, StateChange
from edge_tsm.errors import InputError, SourceError
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.capture import CaptureOptions, Retry
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.live.worker import SourceInput
from edge_tsm.sources import DeferredSource, Fault, FaultySource, Source, TestPattern, VideoFile
from edge_tsm.system.clock import SystemClock, VirtualClock
from tests.helpers.fakes import FakeBackend, FakeCamera, frames_at, make_card
from tests.helpers.videos import write_video

pytestmark = pytest.mark.timeout(60)

QUICK = {"window_s": 0.1, "every_s": 0.02}
ALWAYS_ON = Rules(on=0.0, off=0.0, gap_s=1.0)


def recognizer() -> Recognizer:
    return Recognizer(make_card(), FakeBackend())


def pattern() -> TestPattern:
    return TestPattern(size=(64, 48), fps=200)


def running(**settings: float) -> tuple[Pipeline, list[Prediction]]:
    """A started pipeline that has answered."""
    pipeline, given, answered = (
        Pipeline(pattern(), recognizer(), **{**QUICK, **settings}),
        list[Prediction](),
        threading.Event(),
    )

    def keep(prediction: Prediction) -> None:
        given.append(prediction)
        answered.set()

    pipeline.start(keep)
    assert answered.wait(20)
    return pipeline, given


def test_a_pipeline_that_runs_cannot_be_begun_again() -> None:
    pipeline, _ = running()
    for begin in (lambda: pipeline.start(print), lambda: iter(pipeline), pipeline.aiter):
        with pytest.raises(InputError, match="already runs; make another one"):
            begin()
    assert pipeline.close()


def test_a_pipeline_that_is_closed_cannot_be_begun() -> None:
    pipeline = Pipeline(pattern(), recognizer(), **QUICK)
    assert pipeline.close()
    for begin in (lambda: pipeline.start(print), lambda: iter(pipeline), pipeline.aiter):
        with pytest.raises(InputError, match="is closed; make another one"):
            begin()
    with pytest.raises(InputError, match="is closed; no source can be added"):
        pipeline.add(pattern())


def test_a_loop_cannot_be_run_twice() -> None:
    camera = FakeCamera(frames_at(i / 10 for i in range(30)))
    pipeline = Pipeline(camera, recognizer(), capture=camera.options)
    assert list(pipeline)
    with pytest.raises(InputError, match="is closed; make another one"):
        list(pipeline)


def test_closing_inside_the_callback_does_not_wait_for_itself() -> None:
    clock, took_s, closed = SystemClock(), list[float](), list[bool]()

    def close(_: object) -> None:
        started_s = clock.now()
        closed.append(pipeline.close())
        took_s.append(clock.now() - started_s)
        with pytest.raises(InputError, match="cannot wait for its end"):
            pipeline.wait()

    pipeline = Pipeline(SourceInput(pattern(), on_frame=close), recognizer(), **QUICK)
    pipeline.start(lambda _: None)
    assert pipeline.wait(20)
    assert (closed[0], took_s[0] < 0.3) == (False, True)
    other = Pipeline(pattern(), recognizer(), **QUICK)
    pipeline, took_s = other, []
    other.start(close)
    assert other.wait(20)
    assert (closed[-1], took_s[0] < 0.3) == (False, True)
    assert other.close()


def test_close_says_whether_all_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hang(_: object) -> None:
        entered.set()
        leave.wait(20)

    pipeline = Pipeline(pattern(), recognizer(), **QUICK)
    pipeline.start(hang)
    assert entered.wait(20)
    assert pipeline.close() is False
    assert [r.levelname for r in caplog.records if "has not ended yet" in r.message] == ["ERROR"]
    leave.set()
    assert pipeline.wait(20)
    assert pipeline.close()


def test_an_exception_of_the_callback_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    told, heard = list[BaseException](), threading.Event()

    def fail(_: object) -> None:
        raise ZeroDivisionError("in the app")

    def note(error: BaseException) -> None:
        told.append(error)
        assert pipeline.close() is False  # this is a callback too
        heard.set()

    pipeline = Pipeline(pattern(), recognizer(), **QUICK)
    pipeline.start(fail, on_error=note)
    assert heard.wait(20)
    [record] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.getMessage() == "the pipeline ended: in the app"
    assert record.exc_info
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="in the app"):
            pipeline.wait(20)
    assert pipeline.close()  # it was told already
    assert len(told) == 1


def test_an_error_that_nobody_heard_is_raised_by_close() -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("in the app")

    with (
        pytest.raises(ZeroDivisionError),
        Pipeline(pattern(), recognizer(), **QUICK) as pipeline,
    ):
        pipeline.start(fail)
        assert pipeline._life.wait_quietly(20)


def test_sources_come_and_go_while_it_runs() -> None:
    pipeline, given = running()
    assert pipeline.add(SourceInput(pattern(), name="porch")) == "porch"
    assert pipeline.add(pattern()) == "1"
    with pytest.raises(InputError, match="two sources are called 'porch'"):
        pipeline.add(SourceInput(pattern(), name="porch"))
    while {p.source for p in given} != {"0", "porch", "1"}:
        assert not pipeline.wait(0.01)
    pipeline.remove("porch")
    assert [c.source for c in pipeline.counts()] == ["0", "1"]
    with pytest.raises(InputError, match="no source is called 'porch'; there are: 0, 1"):
        pipeline.remove("porch")
    for name in ("0", "1"):
        pipeline.remove(name)
    assert not pipeline.wait(0.05)  # it waits for another one
    pipeline.add(SourceInput(pattern(), name="back"))
    while given[-1].source != "back":
        assert not pipeline.wait(0.01)
    assert pipeline.close()


def test_a_source_that_is_added_may_come_later() -> None:
    pipeline, given = running()
    pipeline.add(SourceInput(absent(), name="porch"))
    pipeline.remove("0")
    while [c.state for c in pipeline.counts()] != ["lost"]:
        assert not pipeline.wait(0.01)
    assert not pipeline.wait(0.05)
    assert {p.source for p in given} == {"0"}
    assert pipeline.close()


def test_an_asynchronous_iterator_that_nobody_awaits_can_be_closed() -> None:
    pipeline = Pipeline(pattern(), recognizer(), **QUICK)
    pipeline.aiter()
    assert pipeline.close()


def test_a_recording_cannot_be_added_to_a_run(tmp_path: Path) -> None:
    pipeline, _ = running()
    with pytest.raises(InputError, match="is a recording; add it before a run"):
        pipeline.add(VideoFile(write_video(tmp_path / "x.avi", 3)))
    assert pipeline.close()


def test_the_action_of_a_source_that_is_removed_ends() -> None:
    made = [SourceInput(pattern(), name=name) for name in ("door", "hall")]
    pipeline = Pipeline(made, recognizer(), **QUICK, rules=ALWAYS_ON)
    ends = list[str]()
    for answer in pipeline:
        ends += [answer.source or "" for e in answer.events if e.kind == "end"]
        if all(c.answers for c in pipeline.counts()) and len(pipeline.counts()) == 2:
            pipeline.remove("door")
        if ends:
            break
    assert ends == ["door"]
    pipeline.close()


def lost_camera(clock: VirtualClock, name: str, *, at: int, seconds: float) -> SourceInput:
    steady = TestPattern(size=(64, 48), fps=10, frames=200, clock=clock)
    camera = FaultySource(steady, [Fault("unplug", at=at, seconds=seconds)], clock=clock)
    return SourceInput(camera, name=name)


def test_the_action_of_a_lost_camera_ends_without_waiting_for_its_return() -> None:
    """On from 2 s, lost at 4 s, back after 30 s; `gap_s` is 1."""
    clock = VirtualClock()
    inputs = [lost_camera(clock, "porch", at=40, seconds=30.0)]
    options = CaptureOptions(clock=clock, retry=Retry(jitter=0))
    ended_s = list[float]()
    pipeline = Pipeline(inputs, recognizer(), every_s=0.5, capture=options, rules=ALWAYS_ON)
    for answer in pipeline:
        if any(event.kind == "end" for event in answer.events):
            ended_s.append(clock.now())
    last_s = 3.5
    assert ended_s[0] == pytest.approx(last_s + ALWAYS_ON.gap_s + 0.5)
    assert len(ended_s) == 2


def test_states_are_told_of_with_their_reasons() -> None:
    clock, seen = VirtualClock(), list[StateChange]()
    camera = lost_camera(clock, "porch", at=40, seconds=3.0).source
    given = SourceInput(camera, name="porch", on_state=seen.append)
    list(Pipeline(given, recognizer(), capture=CaptureOptions(clock=clock)))
    assert [(c.before, c.state) for c in seen] == [
        ("opening", "live"),
        ("live", "lost"),
        ("lost", "live"),
        ("live", "ended"),
    ]
    assert {c.source for c in seen} == {"porch"}
    assert "was unplugged" in seen[1].reason


def absent(uri: str = "rtsp://bob:hunter2@porch/1") -> DeferredSource:
    def connect() -> Source:
        raise SourceError("no route to host")

    return DeferredSource(uri, connect)


def test_of_two_cameras_one_that_is_not_there_does_not_stop_the_other() -> None:
    inputs = [SourceInput(absent(), name="porch"), SourceInput(pattern(), name="hall")]
    pipeline = Pipeline(inputs, recognizer(), **QUICK)
    for answer in pipeline:
        assert answer.source == "hall"
        break
    porch, _ = pipeline.counts()
    assert (porch.state, porch.frames) in (("lost", 0), ("ended", 0))


@pytest.mark.parametrize("number", [1, 2])
def test_when_no_camera_is_there_the_run_ends_with_the_reason(number: int) -> None:
    pipeline = Pipeline([absent() for _ in range(number)], recognizer(), **QUICK)
    with pytest.raises(SourceError, match=r"\d: no route to host"):
        list(pipeline)


def test_all_cameras_can_be_required() -> None:
    options = CaptureOptions(required="all")
    pipeline = Pipeline([pattern(), absent()], recognizer(), **QUICK, capture=options)
    with pytest.raises(SourceError, match="1: no route to host"):
        list(pipeline)
    with pytest.raises(InputError, match="required is 'some'; it must be one of all, any, none"):
        CaptureOptions(required="some")  # type: ignore[arg-type]


def test_a_camera_that_comes_later_is_waited_for_where_none_is_required() -> None:
    clock = VirtualClock()

    def connect() -> Source:
        if clock.now() < 3600:
            raise SourceError("no route to host")
        return TestPattern(size=(64, 48), fps=10, frames=30, clock=clock)

    options = CaptureOptions(clock=clock, required="none")
    given = list(Pipeline(DeferredSource("porch", connect), recognizer(), capture=options))
    assert given
    assert clock.now() > 3600


def test_answers_in_an_event_loop() -> None:
    async def main() -> tuple[int, bool]:
        pipeline = Pipeline(pattern(), recognizer(), **QUICK)
        count = 0
        async with aclosing(pipeline.aiter()) as answers:
            async for answer in answers:
                assert answer.source == "0"
                count += 1
                if count == 5:
                    break
        return count, pipeline.close()

    assert asyncio.run(main()) == (5, True)


def test_every_answer_reaches_the_event_loop_and_then_it_ends() -> None:
    source = TestPattern(size=(64, 48), fps=100, frames=40)

    async def main() -> list[Prediction]:
        pipeline = Pipeline(source, recognizer(), **QUICK, rules=ALWAYS_ON)
        return [answer async for answer in pipeline.aiter()]

    given = asyncio.run(main())
    assert [e.kind for p in given for e in p.events] == ["start", "end"]


def test_cancelling_the_task_closes_the_pipeline() -> None:
    pipeline = Pipeline(pattern(), recognizer(), **QUICK)

    async def consume(seen: asyncio.Event) -> None:
        async for _ in pipeline.aiter():
            seen.set()

    async def main() -> None:
        seen = asyncio.Event()
        task = asyncio.create_task(consume(seen))
        await seen.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert pipeline.close()


def test_what_goes_wrong_is_raised_in_the_event_loop() -> None:
    async def main() -> None:
        async for _ in Pipeline(absent(), recognizer()).aiter():
            pass

    with pytest.raises(SourceError, match="no route to host"):
        asyncio.run(main())


def test_a_program_that_ends_without_close_stops_its_threads_first() -> None:
    """What is registered before the library is imported runs after its own end."""
    code = textwrap.dedent(
        """
        import atexit, sys, threading
        names = lambda: sorted(t.name for t in threading.enumerate() if "edge-tsm" in t.name)
        atexit.register(lambda: print(names()))
        from edge_tsm.inference.recognizer import Recognizer
        from edge_tsm.live.pipeline import Pipeline
        from edge_tsm.sources import TestPattern
        from tests.helpers.fakes import FakeBackend, make_card
        recognizer, seen = Recognizer(make_card(), FakeBackend()), threading.Event()
        source = TestPattern(size=(64, 48), fps=100)
        pipeline = Pipeline(source, recognizer, window_s=0.1, every_s=0.02)
        pipeline.start(lambda _: seen.set())
        seen.wait(20)
        print(names())
        sys.exit(3)
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    alive = "['edge-tsm capture', 'edge-tsm pipeline', 'edge-tsm read']"
    assert (done.returncode, done.stdout, done.stderr) == (3, f"{alive}\n[]\n", "")


def test_silence_is_a_state_soon_and_no_loss(caplog: pytest.LogCaptureFixture) -> None:
    seen, states = list[StateChange](), list[tuple[str, float]]()

    class Pausing(FakeCamera):
        reopens = True

    camera = Pausing(frames_at([*(i / 10 for i in range(30)), *(9 + i / 10 for i in range(30))]))
    pause = camera.clock.condition()

    def watch() -> None:
        with pause:
            pause.wait(6.0)
        [counts] = pipeline.counts()
        states.append((counts.state, counts.state_s))

    pipeline = Pipeline(
        SourceInput(camera, on_state=seen.append), recognizer(), capture=camera.options
    )
    camera.clock.start(watch, name="edge-tsm test")
    list(pipeline)
    assert [c.state for c in seen] == ["live", "silent", "live", "ended"]
    assert seen[1].time_s - 2.9 == pytest.approx(1.75, abs=0.3)
    assert states == [("silent", pytest.approx(3.1))]
    assert "opening it again" not in caplog.text


def gray(level: int, times_s: Iterator[float]) -> list[Frame]:
    return [Frame(np.full((48, 64, 3), level, np.uint8), i, t) for i, t in enumerate(times_s)]


@pytest.mark.parametrize(("level", "state"), [(0, "black"), (90, "frozen")])
def test_a_picture_that_stands_still_is_warned_of_once(
    level: int, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Stuck(FakeCamera):
        reopens = True

    seen = list[StateChange]()
    camera = Stuck(gray(level, (i / 10 for i in range(300))))
    pipeline = Pipeline(
        SourceInput(camera, on_state=seen.append), recognizer(), capture=camera.options
    )
    assert list(pipeline)  # it is answered all the same
    assert [c.state for c in seen] == ["live", state, "ended"]
    assert seen[1].time_s == pytest.approx(10.0, abs=0.2)
    assert sum("for 10 s" in message for message in caplog.messages) == 1


def test_an_application_may_show_a_still(caplog: pytest.LogCaptureFixture) -> None:
    camera = FakeCamera(gray(90, (i / 10 for i in range(300))))
    assert list(Pipeline(camera, recognizer(), capture=camera.options))
    assert caplog.messages == []
