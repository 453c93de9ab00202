"""Addresses of live sources, and what each of them delivers."""

from __future__ import annotations

import importlib.util
import io
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_tsm.datatypes import Frame
from edge_tsm.errors import InputError, SourceError
from edge_tsm.sinks.recorder import Recorder
from edge_tsm.sources import (
    ImageFolder,
    Pipe,
    Replay,
    SourceOptions,
    TestPattern,
    VideoFile,
    open_source,
)
from edge_tsm.sources.gstreamer import GStreamerChild, csi_pipeline
from edge_tsm.system.clock import VirtualClock
from tests.helpers.fakes import frames_at
from tests.helpers.videos import levels, write_video

pytestmark = pytest.mark.timeout(60)


def test_a_pattern_of_images(tmp_path: Path) -> None:
    for i in (1, 2, 10):
        cv2.imwrite(str(tmp_path / f"img_{i:05d}.png"), np.full((48, 64, 3), 4 * i, np.uint8))
    for pattern in ("img_%05d.png", "*.png", "img_0000?.png"):
        source = open_source(f"{tmp_path}/{pattern}")
        assert isinstance(source, ImageFolder)
        assert levels(list(source)) == ([1, 2] if "?" in pattern else [1, 2, 10])


def test_images_get_the_rate_that_is_asked(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((4, 4, 3), np.uint8))
    assert open_source(tmp_path, options=SourceOptions(fps=12)).fps == 12


def test_a_file_address_is_the_file(tmp_path: Path) -> None:
    assert isinstance(open_source(f"file://{write_video(tmp_path / 'x.avi', 3)}"), VideoFile)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("gopher://x/y", "scheme 'gopher' is unknown"),
        ("ftp://bob:hunter2@x/y", r"ftp://\*\*\*@x/y: scheme"),
        ("test://huge", "is not a test pattern"),
        ("csi://left", "is not a CSI camera"),
        ("csi://1", "libcamera names its cameras"),
        ("replay:nothing-here", "does not exist"),
        ("/dev/v4l/by-id/usb-nothing", "cannot be opened; cameras here: none"),
        ("rtsp://bob:hunter2@127.0.0.1:9/x", r"rtsp://\*\*\*@127.0.0.1:9/x cannot be opened"),
        ("clips/*.png", "holds no images"),
    ],
)
def test_addresses_that_lead_nowhere(uri: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(uri, options=SourceOptions(timeout_s=2))


@pytest.mark.parametrize(
    "options",
    [
        {"size": (0, 5)},
        {"fps": 0.0},
        {"fps": math.nan},
        {"rotate": 45},
        {"crop": (0, 0, 0, 5)},
        {"timeout_s": 0.0},
    ],
)
def test_options_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        SourceOptions(**options)  # type: ignore[arg-type]


def test_options_that_a_source_does_not_have(tmp_path: Path) -> None:
    video = write_video(tmp_path / "x.avi", 3)
    with pytest.raises(InputError, match="a size cannot be asked"):
        open_source(video, options=SourceOptions(size=(64, 48)))
    with pytest.raises(InputError, match="a rate cannot be asked"):
        open_source(video, options=SourceOptions(fps=5))


def test_pictures_turned_and_cropped(tmp_path: Path) -> None:
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    cv2.imwrite(str(tmp_path / "1.png"), image)
    for rotate, turned in ((0, image), (90, np.rot90(image, -1)), (270, np.rot90(image))):
        options = SourceOptions(rotate=rotate, crop=(1, 2, 3, 4))  # type: ignore[arg-type]
        source = open_source(tmp_path, options=options)
        [frame] = source
        assert np.array_equal(frame.image, turned[2:6, 1:4])
        [same] = source.sample(lambda count: [0])  # type: ignore[attr-defined]
        assert np.array_equal(same.image, frame.image)


def test_a_crop_outside_the_picture(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((6, 8, 3), np.uint8))
    source = open_source(tmp_path, options=SourceOptions(crop=(4, 0, 5, 5)))
    with pytest.raises(SourceError, match="lies outside its pictures of 8x6"):
        list(source)


def test_a_test_pattern_comes_at_its_rate() -> None:
    clock = VirtualClock(100.0)
    source = open_source("test://64x48/25", clock=clock)
    frames = list(islice(source, 30))
    assert [f.time_s for f in frames] == pytest.approx([100 + i / 25 for i in range(30)])
    assert frames[0].image.shape == (48, 64, 3)
    assert not np.array_equal(frames[0].image, frames[1].image)


def test_a_reader_that_is_too_slow_misses_pictures() -> None:
    clock = VirtualClock()
    pause, seen = clock.condition(), list[int]()
    for frame in islice(TestPattern(size=(8, 8), fps=10, clock=clock), 4):
        seen.append(frame.index)
        with pause:
            pause.wait(0.25)
    assert seen == [0, 2, 5, 7]


def ppm(image: np.ndarray, comment: bytes = b"") -> bytes:
    height, width = image.shape[:2]
    return b"P6\n%s%d %d\n255\n" % (comment, width, height) + image[..., ::-1].tobytes()


def test_ppm_pictures_from_a_pipe() -> None:
    images = [np.random.default_rng(i).integers(0, 255, (4 + i, 6, 3), np.uint8) for i in range(3)]
    data = b"".join(ppm(image, b"# made by hand 7\n") for image in images)
    source = Pipe(io.BytesIO(data + b"P6\n6 6\n255\ncut off"))
    frames = list(source)
    assert [f.index for f in frames] == [0, 1, 2]
    for frame, image in zip(frames, images, strict=True):
        assert np.array_equal(frame.image, image)


@pytest.mark.parametrize("data", [b"RIFF....", b"P6\nx", b"P6 9 9 65535\n", b"P6 99999 9 255\n"])
def test_a_pipe_of_something_else(data: bytes) -> None:
    with pytest.raises(SourceError, match="standard input"):
        list(Pipe(io.BytesIO(data)))


@pytest.mark.parametrize("pixel_format", ["bgr24", "rgb24", "gray", "nv12", "yuyv"])
def test_raw_frames_from_a_pipe(pixel_format: str) -> None:
    gray = np.full((4, 6, 3), 126, np.uint8)
    data = {
        "bgr24": gray.tobytes(),
        "rgb24": gray.tobytes(),
        "gray": gray[..., 0].tobytes(),
        "nv12": bytes([124] * 24 + [128] * 12),
        "yuyv": bytes([124, 128] * 24),
    }[pixel_format]
    options = SourceOptions(size=(6, 4), pixel_format=pixel_format)  # type: ignore[arg-type]
    frames = list(Pipe(io.BytesIO(data * 2 + data[:5]), options=options))
    assert len(frames) == 2
    assert np.abs(frames[1].image.astype(int) - gray).max() <= 1


def test_a_size_that_a_format_cannot_have() -> None:
    options = SourceOptions(size=(5, 4), pixel_format="nv12")
    with pytest.raises(InputError, match="both must be even"):
        list(Pipe(io.BytesIO(), options=options))


@pytest.mark.parametrize("size", [None, (5, 4)])
def test_a_pipe_that_ends_before_its_first_picture(size: tuple[int, int] | None) -> None:
    pipe = Pipe(io.BytesIO(b"P6 5 4 255\n" + bytes(10)), options=SourceOptions(size=size))
    with pytest.raises(SourceError, match="before a whole picture came"):
        list(pipe)


def test_standard_input_ends_quietly_while_it_waits() -> None:
    """The interpreter ends although a thread reads: Python's own stdin would abort it."""
    code = (
        "import threading, sys; from edge_tsm.sources import open_source\n"
        "s = open_source('-'); t = threading.Thread(target=lambda: list(s), daemon=True)\n"
        "t.start(); s.close(); t.join(20); sys.exit(int(t.is_alive()))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        assert process.wait(50) == 0


def test_a_recording_is_played_as_it_was(tmp_path: Path) -> None:
    times_s = [1234.5, 1234.533, 1234.62, 1236.0]
    frames = [
        Frame(f.image, 2 * f.index, f.time_s, gap=f.index == 3)
        for f in frames_at(times_s, (12, 16))
    ]
    recorder = Recorder(tmp_path / "recording")
    for frame in frames:
        recorder.frame(frame)
    recorder.close()
    clock = VirtualClock(1234.5)
    replay = open_source(f"replay:{tmp_path}/recording", clock=clock)
    assert replay.live
    for before, after in zip(frames, replay, strict=True):
        assert np.array_equal(before.image, after.image)
        assert (before.index, before.time_s, before.gap) == (after.index, after.time_s, after.gap)
    assert clock.now() == 1236.0


def test_a_recording_at_another_time_keeps_its_pace(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "recording")
    for frame in frames_at([7.0, 7.5, 9.0], (12, 16)):
        recorder.frame(frame)
    recorder.close()
    replay = Replay(tmp_path / "recording", clock=VirtualClock(100.0))
    assert [f.time_s for f in replay] == [100.0, 100.5, 102.0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "is a recording without a frame"),
        ('{"file": "1.png", "index": 0', "is a recording without a frame"),
        ('{"index": 0}', "is not a recording of edge-tsm"),
        ("{no json}", "is not a recording of edge-tsm"),
    ],
)
def test_a_list_that_is_no_recording(lines: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "frames.jsonl").write_text(lines)
    with pytest.raises(SourceError, match=message):
        open_source(f"replay:{tmp_path}")


def test_a_video_as_a_live_stream(tmp_path: Path) -> None:
    video = write_video(tmp_path / "x.avi", 10)
    frames = list(open_source(f"replay:{video}", clock=VirtualClock()))
    assert [f.time_s for f in frames] == pytest.approx([i / 25 for i in range(10)])
    assert levels(frames) == list(range(10))


def test_csi_cameras_of_a_jetson_and_of_libcamera() -> None:
    options = SourceOptions(size=(640, 480), fps=15)
    jetson = csi_pipeline(1, options, jetson=True)
    assert jetson.startswith("nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=640")
    assert "framerate=15/1" in jetson
    assert csi_pipeline(0, SourceOptions(), jetson=False).startswith("libcamerasrc ! video/x-raw,")


needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None, reason="gst-launch-1.0 is not installed"
)


@needs_gstreamer
def test_a_gstreamer_pipeline_in_a_child() -> None:
    pipeline = "videotestsrc pattern=blue num-buffers=5 ! video/x-raw,width=62,height=46"
    source = GStreamerChild(pipeline)
    frames: list[Frame] = []
    with pytest.raises(SourceError, match=r"ended: gst-launch-1\.0 exited with code 0"):
        frames.extend(iter_into(source, frames))
    assert [f.image.shape for f in frames] == [(46, 62, 3)] * 5
    assert frames[0].image[5, 5].tolist() == pytest.approx([255, 0, 0], abs=3)


def iter_into(source: GStreamerChild, frames: list[Frame]) -> Iterator[Frame]:
    for frame in source:
        frames.append(frame)
    return iter(())


@needs_gstreamer
def test_closing_kills_the_child() -> None:
    source = GStreamerChild("videotestsrc is-live=true")
    for _ in source:
        source.close()
    assert not source._children


@needs_gstreamer
def test_a_pipeline_that_does_not_start_says_why() -> None:
    with pytest.raises(SourceError, match="no element"):
        list(GStreamerChild("nosuchsrc ! videoconvert"))


needs_pyav = pytest.mark.skipif(
    importlib.util.find_spec("av") is None, reason="PyAV is not installed"
)


@needs_pyav
def test_pyav_reads_what_opencv_reads(tmp_path: Path) -> None:
    video = write_video(tmp_path / "x.avi", 20)
    exact, plain = open_source(f"av:{video}"), VideoFile(video)
    assert levels(list(exact)) == levels(list(plain))
    wanted = [2, 7, 7, 19]
    frames = exact.sample(lambda count: wanted)  # type: ignore[attr-defined]
    assert [f.index for f in frames] == wanted
    assert [f.time_s for f in frames] == pytest.approx([i / 25 for i in wanted])
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(f"av:{Path(__file__)}")


@pytest.mark.skipif(importlib.util.find_spec("av") is not None, reason="PyAV is installed")
def test_pyav_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"edge-tsm\[av\]"):
        open_source(f"av:{write_video(tmp_path / 'x.avi', 3)}")
