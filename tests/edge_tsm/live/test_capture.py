"""Every fault of a camera's life, in virtual time: no sleeps, no hangs, the same every time."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator, Sequence
from itertools import islice

import pytest

from edge_tsm.datatypes import Frame
from edge_tsm.errors import InputError, SourceError
from edge_tsm.live.capture import MOST_HUNG, CaptureOptions, LiveCapture, Retry
from edge_tsm.sources import Fault, FaultySource, TestPattern
from edge_tsm.system.clock import VirtualClock
from tests.helpers.fakes import FakeCamera, frames_at

pytestmark = pytest.mark.timeout(60)

EXACT = Retry(jitter=0.0)


def faulty(*faults: Fault, frames: int = 40) -> tuple[FaultySource, VirtualClock]:
    """A camera of 10 frames a second with faults; every opening of it ends after `frames`."""
    clock = VirtualClock()
    pattern = TestPattern(size=(64, 48), fps=10, frames=frames, clock=clock)
    return FaultySource(pattern, faults, clock=clock), clock


def capture(*faults: Fault, frames: int = 40, **options: float) -> tuple[LiveCapture, list[Frame]]:
    source, clock = faulty(*faults, frames=frames)
    made = LiveCapture(source, CaptureOptions(retry=EXACT, clock=clock, **options))  # type: ignore[arg-type]
    frames = list(made)
    made.stop()  # lets go of reads that hang
    return made, frames


def gaps(frames: Sequence[Frame]) -> list[int]:
    return [position for position, frame in enumerate(frames) if frame.gap]


def test_without_a_fault_every_frame_comes_once() -> None:
    made, frames = capture()
    assert [f.index for f in frames] == list(range(40))
    assert [f.time_s for f in frames] == pytest.approx([i / 10 for i in range(40)])
    assert gaps(frames) == []
    assert (made.state, made.tally.frames, made.tally.dropped) == ("ended", 40, 0)


def test_dropped_frames_leave_a_hole_in_the_numbers() -> None:
    _, frames = capture(Fault("drop", at=10, frames=3))
    assert [f.index for f in frames] == [*range(10), *range(13, 40)]


def test_unplugged_and_plugged_in_again(caplog: pytest.LogCaptureFixture) -> None:
    """Opening is tried after 0.5, 1 and 2 s; the camera is there again after 3 s."""
    with caplog.at_level(logging.INFO, "edge_tsm"):
        made, frames = capture(Fault("unplug", at=10, seconds=3.0), frames=20)
    assert [f.index for f in frames] == list(range(30))
    assert gaps(frames) == [10]
    assert frames[10].time_s - frames[9].time_s == pytest.approx(0.1 + 0.5 + 1 + 2)
    assert made.tally.breaks == 1
    first, second = caplog.messages
    assert first.endswith("was unplugged; opening it again")
    assert second.endswith("is back after 3.5 s")


def test_a_read_that_never_returns_is_left_behind() -> None:
    made, frames = capture(Fault("hang", at=10), frames=20, deadline_s=5.0)
    assert gaps(frames) == [10]
    assert len(frames) == 30
    assert frames[10].time_s - frames[9].time_s == pytest.approx(5.5)
    assert made.tally.breaks == 1


def test_a_camera_that_always_hangs_is_given_up() -> None:
    source, clock = faulty(Fault("hang", at=3, frames=10_000))
    made = LiveCapture(source, CaptureOptions(retry=EXACT, clock=clock, deadline_s=2.0))
    with pytest.raises(SourceError, match=f"{MOST_HUNG} reads hang; restart"):
        list(made)
    made.stop()


def test_a_slow_camera_is_no_hung_one() -> None:
    _, frames = capture(Fault("slow", at=10, frames=2, seconds=4.0), deadline_s=5.0)
    assert gaps(frames) == []
    assert frames[10].index == 10


def test_a_frozen_picture_counts_as_a_loss_where_asked() -> None:
    _, frames = capture(Fault("freeze", at=10, frames=25))
    assert gaps(frames) == []
    made, frames = capture(Fault("freeze", at=10, frames=25), frozen_s=0.95)
    assert gaps(frames) == [19, 29]
    assert made.tally.breaks == 2


def test_a_black_picture_counts_as_a_loss_where_asked() -> None:
    made, frames = capture(Fault("black", at=10, frames=12), black_s=0.95)
    assert gaps(frames) == [19]
    assert made.tally.breaks == 1


@pytest.mark.parametrize("seconds", [100.0, math.nan])
def test_times_that_make_no_sense(seconds: float) -> None:
    made, frames = capture(Fault("bad_time", at=10, seconds=seconds))
    assert all(math.isfinite(f.time_s) for f in frames)
    assert gaps(frames) == ([10] if seconds == 100.0 else [])
    assert len(frames) == 40
    assert made.state == "ended"


def test_a_change_of_size_is_a_break() -> None:
    made, frames = capture(Fault("resize", at=10, frames=5))
    assert gaps(frames) == [10, 15]
    assert made.tally.breaks == 2


def test_arrays_that_are_no_pictures_are_left_out() -> None:
    _, frames = capture(Fault("corrupt", at=10, frames=3))
    assert [f.index for f in frames] == [*range(10), *range(13, 40)]


def test_a_camera_that_delivers_no_pictures_any_more_is_opened_again() -> None:
    made, frames = capture(Fault("corrupt", at=10, frames=21), deadline_s=2.0)
    assert gaps(frames) == [10]
    assert made.tally.breaks == 1


def test_a_bug_in_a_source_is_no_loss() -> None:
    source, clock = faulty(Fault("raise", at=10))
    with pytest.raises(ValueError, match="has a bug"):
        list(LiveCapture(source, CaptureOptions(clock=clock)))


def test_a_source_that_never_delivered_is_refused() -> None:
    source, clock = faulty(Fault("unplug", at=0, seconds=1.0))
    with pytest.raises(SourceError, match="was unplugged"):
        list(LiveCapture(source, CaptureOptions(clock=clock)))


@pytest.mark.parametrize("retry", [None, Retry(give_up_s=60.0)])
def test_a_loss_can_be_final(retry: Retry | None) -> None:
    source, clock = faulty(Fault("unplug", at=10))
    with pytest.raises(SourceError, match=r"unplugged|is not there"):
        list(LiveCapture(source, CaptureOptions(retry=retry, clock=clock)))
    assert clock.now() < 100


def test_a_source_that_cannot_be_opened_again_is_not() -> None:
    camera = FakeCamera(frames_at([0.0, 0.1]), SourceError("unplugged"))
    with pytest.raises(SourceError, match="unplugged"):
        list(LiveCapture(camera, camera.options))


def test_an_application_may_push_nothing_for_an_hour() -> None:
    made = FakeCamera(frames_at([0.0, 3600.0]))
    assert [f.index for f in LiveCapture(made, made.options)] == [0, 1]


def test_stopping_ends_a_long_wait_at_once() -> None:
    source, clock = faulty(Fault("unplug", at=10))
    made = LiveCapture(source, CaptureOptions(clock=clock))
    done, ended = clock.condition(), list[float]()

    def read() -> None:
        frames = list(made)
        with done:
            ended.append(len(frames))
            done.notify_all()

    clock.start(read, name="edge-tsm test")
    with done:
        done.wait(3000.3)
    made.stop()
    with done:
        while not ended:
            assert done.wait(1.0)
    assert ended == [10]


def test_back_off_grows_to_its_bound_and_varies() -> None:
    assert list(islice(EXACT.delays(), 8)) == [0.5, 1, 2, 4, 8, 16, 30, 30]
    varied = list(islice(Retry(seed=1).delays(), 8))
    assert varied == list(islice(Retry(seed=1).delays(), 8))
    for delay_s, exact_s in zip(varied, EXACT.delays(), strict=False):
        assert 0.8 * exact_s <= delay_s <= 1.2 * exact_s


def test_five_hundred_reconnects_leave_no_thread() -> None:
    class Flapping:
        """Delivers two frames per opening."""

        uri, live, reopens, fps = "flapping camera", True, True, 10.0
        opened = 0

        def __iter__(self) -> Iterator[Frame]:
            self.opened += 1
            for frame in frames_at([0.0, 0.1], (12, 16)):
                yield Frame(frame.image, frame.index, clock.now())
            if self.opened <= 500:
                raise SourceError("the cable is loose")

        def close(self) -> None: ...

    clock, before = VirtualClock(), threading.active_count()
    made = LiveCapture(Flapping(), CaptureOptions(clock=clock))
    frames = list(made)
    assert made.tally.breaks == 500
    assert sum(f.gap for f in frames) == 500
    assert threading.active_count() <= before + 1


def test_secrets_of_an_address_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Camera(FakeCamera):
        uri, reopens = "rtsp://admin:hunter2@cam/1", True

        def __iter__(self) -> Iterator[Frame]:
            yield from frames_at([0.0])
            raise SourceError(f"cannot read {self.uri}")

    made = LiveCapture(Camera([]), CaptureOptions(clock=VirtualClock()))
    assert len(list(islice(made, 5))) == 5
    assert made.address == "rtsp://***@cam/1"
    assert "hunter2" not in caplog.text
    assert "rtsp://***@cam/1" in caplog.text


@pytest.mark.parametrize("name", ["deadline_s", "black_s", "frozen_s"])
def test_patience_that_makes_no_sense(name: str) -> None:
    with pytest.raises(InputError, match=name):
        CaptureOptions(**{name: 0.0})
