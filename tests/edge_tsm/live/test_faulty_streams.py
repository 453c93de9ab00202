"""A camera on loopback with the faults of real ones: what is answered, lost and told."""

from __future__ import annotations

import importlib.util
import json
import logging
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from itertools import islice, pairwise

import pytest

from edge_tsm.datatypes import Frame
from edge_tsm.errors import SourceError
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.capture import CaptureOptions, LiveCapture, Retry
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.sources import SourceOptions, open_source
from edge_tsm.sources.opencv import OpenCvStream
from edge_tsm.sources.pyav import AvStream
from tests.helpers.fakes import FakeBackend, make_card
from tests.helpers.mjpeg import FaultyCamera

pytestmark = pytest.mark.timeout(60)

HAS_PYAV = importlib.util.find_spec("av") is not None
needs_pyav = pytest.mark.skipif(not HAS_PYAV, reason="PyAV is not installed")
both = pytest.mark.parametrize("library", ["opencv:", pytest.param("av:", marks=needs_pyav)])
QUICK = SourceOptions(timeout_s=1.0)
PATIENCE = CaptureOptions(deadline_s=2.0, retry=Retry(first_s=0.05, jitter=0))


@pytest.fixture(scope="module")
def camera() -> Iterator[FaultyCamera]:
    with FaultyCamera() as made:
        yield made


def captured(
    address: str, count: int = 1000, *, until_gap: bool = False, timeout_s: float = 1.0
) -> tuple[LiveCapture, list[Frame]]:
    """So many frames, or those up to the first one after a gap; a busy machine drops some."""
    source = open_source(address, options=SourceOptions(timeout_s=timeout_s))
    capture, frames = LiveCapture(source, PATIENCE), list[Frame]()
    for frame in islice(capture, count):
        frames.append(frame)
        if until_gap and frame.gap:
            break
    capture.stop()
    return capture, frames


@both
@pytest.mark.parametrize("path", ["bad80", "trunc"])
def test_damaged_pictures_are_left_out_and_nothing_else(
    library: str, path: str, camera: FaultyCamera
) -> None:
    opened = camera.opened
    capture, frames = captured(library + camera.url(path, fps=200), 100)
    assert capture.tally.breaks == 0
    assert not any(frame.gap for frame in frames)
    assert camera.opened == opened + 1
    assert frames[-1].time_s - frames[0].time_s < 10


@both
def test_damaged_pictures_do_not_keep_a_window_from_filling(
    library: str, camera: FaultyCamera
) -> None:
    source = open_source(library + camera.url("trunc"), options=QUICK)
    pipeline = Pipeline(
        source, Recognizer(make_card(), FakeBackend()), window_s=0.3, every_s=0.05, capture=PATIENCE
    )
    assert len(list(islice(pipeline, 10))) == 10
    assert [c.breaks for c in pipeline.counts()] == [0]


@both
def test_nothing_but_damaged_pictures_is_a_loss_after_the_deadline(
    library: str, camera: FaultyCamera, caplog: pytest.LogCaptureFixture
) -> None:
    capture, frames = captured(library + camera.url("garbage"), until_gap=True)
    assert 0.9 < frames[-1].time_s - frames[-2].time_s < 10
    assert capture.tally.breaks == 1
    assert "delivered no picture that can be decoded for 1 s; opening it again" in caplog.text


@both
def test_an_end_is_a_loss_at_once(library: str, camera: FaultyCamera) -> None:
    capture, frames = captured(library + camera.url("dies"), until_gap=True, timeout_s=30.0)
    assert frames[-1].time_s - frames[-2].time_s < 2.0  # PATIENCE would take two seconds
    assert capture.tally.breaks == 1


@both
def test_silence_is_a_loss_after_the_deadline(
    library: str, camera: FaultyCamera, caplog: pytest.LogCaptureFixture
) -> None:
    capture, frames = captured(library + camera.url("stall"), until_gap=True)
    assert 0.9 < frames[-1].time_s - frames[-2].time_s < 20
    assert capture.tally.breaks == 1
    reasons = {"opencv:": "no picture that can be decoded for 1 s", "av:": "did not answer in time"}
    assert reasons[library] in caplog.text


@needs_pyav
@pytest.mark.parametrize(("path", "shape"), [("res", (72, 96, 3)), ("turn", (64, 48, 3))])
def test_a_change_of_size_is_a_break_and_the_picture_is_not_squeezed(
    path: str, shape: tuple[int, int, int], camera: FaultyCamera
) -> None:
    capture, frames = captured(camera.url(path), until_gap=True)
    assert {frame.image.shape for frame in frames[:-1]} == {(48, 64, 3)}
    assert frames[-1].image.shape == shape
    assert capture.tally.breaks == 1


@both
def test_a_camera_that_sends_in_bursts_is_answered(library: str, camera: FaultyCamera) -> None:
    """60 frames every 0.6 s; their arrivals alone leave no window of 0.4 s without a hole."""
    source = open_source(library + camera.url("burst"), options=QUICK)
    pipeline = Pipeline(
        source, Recognizer(make_card(), FakeBackend()), window_s=0.4, every_s=0.1, capture=PATIENCE
    )
    given = list(islice(pipeline, 8))
    ends = [p.window.end_s for p in given if p.window]
    assert all(b > a for a, b in pairwise(ends))
    [counts] = pipeline.counts()
    assert len(given) == 8
    assert counts.breaks <= 1  # of a machine too busy to take a burst; without, there is no answer
    assert counts.frames < 60 * 30


def test_network_streams_are_read_by_pyav_where_it_is_installed(camera: FaultyCamera) -> None:
    kinds = {"": AvStream if HAS_PYAV else OpenCvStream, "opencv:": OpenCvStream}
    for prefix, kind in kinds.items():
        source = open_source(prefix + camera.url("ok"), options=QUICK)
        assert type(source) is kind
        assert source.live
        source.close()


@both
def test_nobody_there_is_one_line_without_secrets(library: str) -> None:
    with pytest.raises(SourceError, match=r"http://\*\*\*@127\.0\.0\.1:9/x cannot be opened"):
        open_source(f"{library}http://bob:hunter2@127.0.0.1:9/x", options=QUICK)


@both
def test_a_camera_that_is_not_read_at_once_does_not_deliver_the_past(
    library: str, camera: FaultyCamera
) -> None:
    source = open_source(library + camera.url("ok", fps=50), options=QUICK)
    threading.Event().wait(1.0)  # the camera goes on, in another thread: nothing to wait on
    behind = next(camera.sent - int(frame.image[30, 40, 0]) for frame in source)
    source.close()
    assert behind < 25


CLIENT = textwrap.dedent(
    """
    import json, sys
    from edge_tsm.live.capture import CaptureOptions, LiveCapture
    from edge_tsm.sources import open_source
    for frame in LiveCapture(open_source(sys.argv[1]), CaptureOptions(deadline_s=20)):
        level = int(frame.image[30, 40, 0])
        print(json.dumps([level, frame.time_s, frame.gap]), flush=True)
    """
)


def test_a_process_that_was_stopped_goes_on_with_what_is_live(camera: FaultyCamera) -> None:
    """Stopped for two seconds: a hundred pictures wait, which would pass for new."""
    command = [sys.executable, "-c", CLIENT, camera.url("ok", fps=50)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        before = [json.loads(process.stdout.readline()) for _ in range(25)]
        process.send_signal(signal.SIGSTOP)
        threading.Event().wait(2.0)  # of another process
        process.send_signal(signal.SIGCONT)
        frames = (json.loads(line) for line in process.stdout)
        level, time_s, _ = next(frame for frame in frames if frame[2])
        newest = camera.sent
        after = list(islice(frames, 20))
        process.kill()
    assert time_s - before[-1][1] > 1.0
    assert newest - level < 50
    assert not any(gap for _, _, gap in after)
    assert after[-1][1] - time_s > 19 / 50 - 0.1  # at their pace


def test_a_program_that_leaves_a_hanging_read_behind_ends_as_it_wants(camera: FaultyCamera) -> None:
    """OpenCV's reader is in C++ when Python ends; it comes back within its own limit."""
    code = textwrap.dedent(
        """
        import sys
        from itertools import islice
        from edge_tsm.live.capture import LiveCapture
        from edge_tsm.sources import SourceOptions, open_source
        source = open_source(sys.argv[1], options=SourceOptions(timeout_s=1.5))
        frames = iter(LiveCapture(source))
        print(len(list(islice(frames, 30))))
        sys.exit(3)
        """
    )
    address = "opencv:" + camera.url("stall")
    done = subprocess.run(
        [sys.executable, "-c", code, address], capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stdout) == (3, "30\n"), done.stderr
    assert "Traceback" not in done.stderr


def test_a_loss_and_a_return_are_logged_once_each(
    camera: FaultyCamera, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        captured(camera.url("dies"), until_gap=True)
    lines = [m for m in caplog.messages if "opening it again" in m or "is back" in m]
    assert len(lines) == 2
