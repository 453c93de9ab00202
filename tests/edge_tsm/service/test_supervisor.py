"""A run ends in time, and what goes wrong in it is logged; all in virtual time."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.capture import CaptureOptions, Retry
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.live.worker import SourceInput
from edge_tsm.service.counted import RunCounts
from edge_tsm.service.supervisor import Supervisor, Watch
from edge_tsm.sources import Fault, FaultySource, TestPattern
from edge_tsm.system.clock import VirtualClock
from tests.helpers.fakes import FakeBackend, FakeCamera, frames_at, make_card

pytestmark = pytest.mark.timeout(30)


def supervised(watch: Watch, *, frames: int = 200, fps: float = 10) -> int:
    """Run a camera under a supervisor; return the number of answers."""
    camera = FakeCamera(frames_at((i / fps for i in range(frames)), (24, 32)))
    recognizer = Recognizer(make_card(), FakeBackend())
    pipeline = Pipeline(camera, recognizer, capture=camera.options)
    with Supervisor(pipeline, counted(pipeline), watch, clock=camera.clock):
        return sum(1 for _ in pipeline)


def counted(pipeline: Pipeline) -> Callable[[], RunCounts]:
    def count() -> RunCounts:
        counts = tuple(pipeline.counts())
        answered = any(one.answers for one in counts)
        return RunCounts(counts, first_answer_s=3.25 if answered else None)

    return count


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
    assert lines.count("first answer 3.25 s after the process began") == 1


def test_a_run_that_ends_with_its_first_answer_tells_when_it_came(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        supervised(Watch(stats_s=60.0), frames=21)
    lines = [record.getMessage() for record in caplog.records]
    assert lines.count("first answer 3.25 s after the process began") == 1


def test_a_window_that_never_fills_is_a_warning_once(caplog: pytest.LogCaptureFixture) -> None:
    assert supervised(Watch(), frames=20, fps=1) == 0
    assert caplog.text.count("did not fill a window of 2 s without a hole") == 1


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """What a service manager with a watchdog of 4 s has heard so far."""
    address, heard = str(tmp_path / "notify"), list[str]()
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "4000000")

    def listen() -> None:
        with suppress(OSError):
            while message := end.recv(4096):
                heard.append(message.decode())

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(address)
        listener = threading.Thread(target=listen)
        listener.start()
        yield lambda: list(heard)
        end.sendto(b"", address)
        listener.join()


def cameras(clock: VirtualClock, *, away_s: float) -> list[SourceInput]:
    """A steady one for a minute, and one that is away for a while after 5 s."""
    steady = TestPattern(size=(64, 48), fps=10, frames=600, clock=clock)
    loose = TestPattern(size=(64, 48), fps=10, frames=600, clock=clock)
    faults = [Fault("unplug", at=50, seconds=away_s)]
    return [
        SourceInput(steady, name="hall"),
        SourceInput(FaultySource(loose, faults, clock=clock), name="porch"),
    ]


def run_under(inputs: Sequence[SourceInput], clock: VirtualClock, *, stop_after_s: float) -> None:
    options = CaptureOptions(clock=clock, retry=Retry(jitter=0))
    pipeline = Pipeline(list(inputs), Recognizer(make_card(), FakeBackend()), capture=options)
    answers = iter(pipeline)
    with Supervisor(pipeline, counted(pipeline), Watch(stop_after_s), clock=clock):
        for _ in answers:
            pass


def test_the_watchdog_is_fed_while_no_camera_answers(manager: Callable[[], list[str]]) -> None:
    clock = VirtualClock()
    run_under(cameras(clock, away_s=44.0)[1:], clock, stop_after_s=45.0)
    heard = manager()
    assert heard.count("READY=1") == 1
    assert heard.count("WATCHDOG=1") >= 8  # every 2 s, though there were answers for 5 s
    assert any(line.startswith("STATUS=0 of 1 live: porch lost 2") for line in heard), heard


def test_the_status_names_the_cameras_in_trouble(manager: Callable[[], list[str]]) -> None:
    clock = VirtualClock()
    run_under(cameras(clock, away_s=10.0), clock, stop_after_s=30.0)
    lines = [line for line in manager() if line.startswith("STATUS=")]
    assert "STATUS=1 of 2 live: porch lost 10 s" in lines
    assert lines[-1] == "STATUS=2 of 2 live"


def test_a_loop_that_hangs_starves_the_watchdog(manager: Callable[[], list[str]]) -> None:
    """The application holds an answer for half a minute of the cameras' time."""
    clock = VirtualClock()
    pause, options = clock.condition(), CaptureOptions(clock=clock)
    pattern = TestPattern(size=(64, 48), fps=10, frames=600, clock=clock)
    pipeline = Pipeline(pattern, Recognizer(make_card(), FakeBackend()), capture=options)
    answers = iter(pipeline)
    with Supervisor(pipeline, counted(pipeline), Watch(), clock=clock):
        next(answers)
        before = manager().count("WATCHDOG=1")
        with pause:
            pause.wait(30.0)
        assert manager().count("WATCHDOG=1") <= before + 1
        answers.close()
