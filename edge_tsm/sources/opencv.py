"""Live sources that OpenCV captures: local cameras, network streams, GStreamer pipelines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from edge_tsm.datatypes import Frame
from edge_tsm.errors import SourceError
from edge_tsm.sources.base import SourceOptions
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock
from edge_tsm.system.opencv import VideoCapture, check_name, opencv
from edge_tsm.system.redact import redact

MOST_CAMERAS = 1000
FASTEST_FPS = 1000
WAITED = 0.3  # of a frame's time in a read: the frame had not been waiting


class OpenCvStream:
    """Live frames of whatever `connect` returns; opened at once, and anew by each iteration.

    Frames carry the time at which they were read. With a `backlog`, what a sender has queued since
    the opening (a model may take minutes to load) is skipped, or it would pass for new.
    """

    live = True
    reopens = True

    def __init__(
        self, uri: str, connect: Callable[[], VideoCapture], clock: Clock, *, backlog: bool = False
    ) -> None:
        self.uri, self._connect, self._clock = uri, connect, clock
        self._backlog, self._closed, self._opened_s = backlog, False, clock.now()
        self._first: list[VideoCapture] = [connect()]
        rate = self._first[0].get(opencv().CAP_PROP_FPS)
        self.fps = float(rate) if 0 < rate < FASTEST_FPS else 30.0

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames as they come.

        Raises:
            SourceError: it cannot be opened, or stops delivering.
        """
        capture = self._first.pop() if self._first else self._connect()
        if self._backlog:
            self._catch_up(capture)
            self._backlog = False  # later openings are read at once
        index = 0
        try:
            while not self._closed:
                ok, image = capture.read()
                time_s = self._clock.now()
                if not ok:
                    raise SourceError(f"{self.uri} stopped delivering frames after {index}")
                yield Frame(image, index, time_s)
                index += 1
        finally:
            capture.release()

    def _catch_up(self, capture: VideoCapture) -> None:
        """Skip frames that come faster than they were taken, at most those of the time passed."""
        for _ in range(int((self._clock.now() - self._opened_s) * self.fps)):
            before_s = self._clock.now()
            if self._closed or not capture.grab():
                return
            if self._clock.now() - before_s > WAITED / self.fps:
                return

    def close(self) -> None:
        """End the iteration after the frame being read."""
        self._closed = True
        while self._first:
            self._first.pop().release()


class Camera(OpenCvStream):
    """A local camera: an index, or a path such as /dev/v4l/by-id/…, which survives replugging."""

    def __init__(
        self,
        device: int | str,
        *,
        options: SourceOptions | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._device, self._options = device, options or SourceOptions()
        uri = f"camera {device}" if isinstance(device, int) else device
        super().__init__(uri, self._open, clock)

    def _open(self) -> VideoCapture:
        cv2, device = opencv(), self._device
        if isinstance(device, str):
            check_name(device)
            # The link of a camera that was plugged in again leads to another /dev/videoN.
            device = str(Path(device).resolve())
        known = isinstance(device, str) or device < MOST_CAMERAS
        capture: VideoCapture = cv2.VideoCapture(device if known else -1)
        if not known or not capture.isOpened():
            capture.release()
            uri = f"camera {device}" if isinstance(device, int) else self._device
            raise SourceError(f"{uri} cannot be opened; cameras here: {_cameras_here()}")
        self._ask(capture)
        return capture

    def _ask(self, capture: VideoCapture) -> None:
        """Ask for size and rate; a driver may choose others, and says so in its frames."""
        cv2 = opencv()
        # Honored by some drivers only; the capture thread is what keeps up.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if self._options.size:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._options.size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._options.size[1])
        if self._options.fps:
            capture.set(cv2.CAP_PROP_FPS, self._options.fps)


def open_camera(uri: str, options: SourceOptions, clock: Clock) -> Camera:
    """Open a camera by its index or its device path."""
    return Camera(int(uri) if uri.isdecimal() else uri, options=options, clock=clock)


def _cameras_here() -> str:
    """Return the device files of cameras on this machine, for a message."""
    stable = sorted(Path("/dev/v4l/by-id").glob("*")) or sorted(Path("/dev").glob("video*"))
    return ", ".join(map(str, stable)) or "none"


def open_network(uri: str, options: SourceOptions, clock: Clock) -> OpenCvStream:
    """Open rtsp://, http(s)://, tcp://, udp:// and the like through OpenCV's FFmpeg.

    Raises:
        SourceError: nobody answers within `timeout_s`, or the answer is not a video.
    """
    shown = redact(uri)

    def connect() -> VideoCapture:
        cv2 = opencv()
        check_name(uri)
        limit_ms = round(options.timeout_s * 1000)
        limits = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit_ms),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit_ms),
        ]
        capture: VideoCapture = cv2.VideoCapture(uri, cv2.CAP_FFMPEG, limits)
        if not capture.isOpened():
            capture.release()
            raise SourceError(f"{shown} cannot be opened; is it reachable, and a video stream?")
        return capture

    return OpenCvStream(shown, connect, clock, backlog=True)
