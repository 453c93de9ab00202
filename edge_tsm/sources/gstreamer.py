"""GStreamer pipelines: in OpenCV where it was built with GStreamer, else in a child process."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from edge_tsm.datatypes import Frame
from edge_tsm.errors import SourceError
from edge_tsm.sources.base import Source, SourceOptions
from edge_tsm.sources.opencv import OpenCvStream
from edge_tsm.sources.stdin import read_ppm
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock
from edge_tsm.system.opencv import VideoCapture, opencv
from edge_tsm.system.redact import redact

JETSON = Path("/etc/nv_tegra_release")
KILL_AFTER_S = 0.5
END = ("!", "videoconvert", "!", "video/x-raw,format=RGB", "!", "pnmenc", "!", "fdsink", "fd=1")


def open_pipeline(pipeline: str, options: SourceOptions, clock: Clock) -> Source:
    """Open a pipeline that ends in raw video, without its sink: `v4l2src ! videoconvert`.

    Raises:
        SourceError: it does not start, or GStreamer is not installed.
    """
    if _in_opencv():
        return OpenCvStream(redact(pipeline), lambda: _capture(pipeline), clock)
    return GStreamerChild(pipeline, fps=options.fps, clock=clock)


def csi_pipeline(camera: int, options: SourceOptions, *, jetson: bool) -> str:
    """Return the pipeline of CSI camera number `camera`: Jetson's nvarguscamerasrc, or libcamera.

    By default 1280x720 at 30 frames a second, close to a mode of every CSI camera.
    """
    width, height = options.size or (1280, 720)
    rate = f"framerate={round(options.fps or 30)}/1"
    size = f"width={width},height={height}"
    if jetson:
        return (
            f"nvarguscamerasrc sensor-id={camera} ! video/x-raw(memory:NVMM),{size},{rate} ! "
            "nvvidconv ! video/x-raw,format=BGRx"
        )
    # libcamerasrc takes a name and no number; the first camera is its default.
    return f"libcamerasrc ! video/x-raw,{size},{rate}"


def open_csi(uri: str, options: SourceOptions, clock: Clock) -> Source:
    """Open `csi://N`.

    Raises:
        SourceError: N is not a number, or more than 0 where libcamera has no numbers.
    """
    number = uri.removeprefix("csi://") or "0"
    if not number.isdecimal():
        raise SourceError(f"{uri} is not a CSI camera; write csi://0")
    jetson = JETSON.exists()
    if int(number) > 0 and not jetson:
        raise SourceError(
            f"{uri}: libcamera names its cameras; pass a pipeline instead: "
            "'libcamerasrc camera-name=NAME ! videoconvert'"
        )
    return open_pipeline(csi_pipeline(int(number), options, jetson=jetson), options, clock)


class GStreamerChild:
    """`gst-launch-1.0` in a child process that writes PPM pictures to a pipe.

    Every picture says its own size, so that a stream may change it.
    """

    live = True
    reopens = True

    def __init__(
        self, pipeline: str, *, fps: float | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        if shutil.which("gst-launch-1.0") is None:
            raise SourceError(
                "a GStreamer pipeline needs gst-launch-1.0 (apt install gstreamer1.0-tools "
                "gstreamer1.0-plugins-good) or an OpenCV that was built with GStreamer"
            )
        self.uri, self.fps = redact(pipeline), fps or 30.0
        self._clock, self._closed = clock, False
        self._arguments = _arguments(pipeline)
        self._children: list[_Child] = []

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames as the child writes them.

        Raises:
            SourceError: the child ends; the message is its first complaint.
        """
        child = _Child(self._arguments)
        self._children.append(child)
        try:
            for index, image in enumerate(read_ppm(child.pictures, self.uri)):
                yield Frame(image, index, self._clock.now())
                if self._closed:
                    return
            if not self._closed:
                raise SourceError(f"{self.uri} ended: {child.reason()}")
        finally:
            self._children.remove(child)
            child.stop()

    def close(self) -> None:
        """Kill the child, which ends a running iteration."""
        self._closed = True
        for child in tuple(self._children):
            child.process.kill()


class _Child:
    """A running gst-launch-1.0: its pictures, and what it wrote to stderr."""

    def __init__(self, arguments: list[str]) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115, a pipe that nobody reads would block
        # A group of its own: Ctrl-C in the terminal is for edge-tsm, which then ends the child.
        self.process = subprocess.Popen(
            ["gst-launch-1.0", "-q", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.pictures: IO[bytes] = self.process.stdout

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.pictures.close()
        self._stderr.close()

    def reason(self) -> str:
        """Return the first complaint, or the exit code."""
        self.process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").splitlines()
        complaints = [line for line in lines if re.match(r"(ERROR|WARNING|.*no element)", line)]
        if complaints:
            return redact(complaints[0])
        return f"gst-launch-1.0 exited with code {self.process.returncode}"


def _arguments(pipeline: str) -> list[str]:
    """Return the pipeline as arguments of gst-launch-1.0, with the end that writes PPM pictures."""
    try:
        own = shlex.split(pipeline)
    except ValueError as error:
        raise SourceError(f"{redact(pipeline)}: {error}") from error
    return [*own, *END]


def _in_opencv() -> bool:
    return bool(re.search(r"GStreamer:\s+YES", opencv().getBuildInformation()))


def _capture(pipeline: str) -> VideoCapture:
    cv2 = opencv()
    end = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
    capture: VideoCapture = cv2.VideoCapture(f"{pipeline} ! {end}", cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        capture.release()
        raise SourceError(f"{redact(pipeline)} does not start; try it with gst-launch-1.0")
    return capture
