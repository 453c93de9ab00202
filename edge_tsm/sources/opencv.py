"""Live sources that OpenCV captures: local cameras, network streams, GStreamer pipelines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isfinite, nan
from pathlib import Path

from edge_tsm.datatypes import Frame, Image
from edge_tsm.errors import SourceError
from edge_tsm.sources.base import Source, SourceOptions
from edge_tsm.sources.decoding import OpenCvDecoder
from edge_tsm.sources.files import VideoFile
from edge_tsm.sources.timing import COUNTED_S, SenderClock, most_queued, without_backlog
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock
from edge_tsm.system.opencv import VideoCapture, check_name, opencv
from edge_tsm.system.redact import redact

MOST_CAMERAS = 1000
FASTEST_FPS = 1000
PATIENCE_S = 10.0
AT_ONCE_S = 0.002  # a read that says False so fast did not wait for a frame
ENDS = 100  # so many of them one after the other are the end, and no damage


class OpenCvStream:
    """Live frames of whatever `connect` returns; opened at once, and anew by each iteration.

    A picture that cannot be decoded is left out: OpenCV says False to it as to the end of the
    stream, but has waited for it. `patience_s` without a picture count as the end.

    Frames carry the time at which they were read. Those of a `remote` sender carry its times, on
    this machine's clock, where it gives any; and what it has queued since the opening (a model may
    take minutes to load) is skipped. OpenCV keeps the first size of a stream, and squeezes
    pictures of another into it.
    """

    live = True
    reopens = True

    def __init__(
        self,
        uri: str,
        connect: Callable[[], VideoCapture],
        clock: Clock,
        *,
        remote: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.uri, self._connect, self._clock = uri, connect, clock
        self._remote, self._patience_s = remote, patience_s
        self._closed, self._opened_s = False, clock.now()
        self._first: list[VideoCapture] = [connect()]
        rate = self._first[0].get(opencv().CAP_PROP_FPS)
        self.fps = float(rate) if 0 < rate < FASTEST_FPS else 30.0

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames as they come.

        Raises:
            SourceError: it cannot be opened, or stops delivering.
        """
        most = self._most_queued()
        capture = self._first.pop() if self._first else self._connect()
        times = _Times(capture, self._clock, remote=self._remote)
        images = self._images(capture)
        try:
            live = without_backlog(images, self._clock, most=most, interval_s=1 / self.fps)
            for index, image in enumerate(live):
                time_s, gap = times.place()
                yield Frame(image, index, time_s, gap)
        finally:
            capture.release()

    def _most_queued(self) -> int:
        """Return how many frames may wait; later openings are read at once."""
        waiting = self._remote and self._first
        return most_queued(self._clock.now() - self._opened_s, self.fps) if waiting else 0

    def _images(self, capture: VideoCapture) -> Iterator[Image]:
        """Yield the pictures that can be read, until `close` or the end."""
        good_s, at_once, count = self._clock.now(), 0, 0
        while not self._closed:
            before_s = self._clock.now()
            ok, image = capture.read()
            now_s = self._clock.now()
            if ok:
                good_s, at_once, count = now_s, 0, count + 1
                yield image
                continue
            at_once = at_once + 1 if now_s - before_s < AT_ONCE_S else 0
            if at_once >= ENDS:
                raise SourceError(f"{self.uri} stopped delivering frames after {count}")
            if now_s - good_s >= self._patience_s:
                raise SourceError(
                    f"{self.uri} delivered no picture that can be decoded for "
                    f"{self._patience_s:g} s"
                )

    def close(self) -> None:
        """End the iteration after the frame being read."""
        self._closed = True
        while self._first:
            self._first.pop().release()


class _Times:
    """The times of one opening's frames: the sender's as long as they move on, else arrivals."""

    def __init__(self, capture: VideoCapture, clock: Clock, *, remote: bool) -> None:
        self._capture, self._clock = capture, clock
        # OpenCV does not say whether a stream has times or FFmpeg counts frames.
        self._sender = SenderClock(COUNTED_S) if remote else None
        self._sent_s = nan

    def place(self) -> tuple[float, bool]:
        """Return when the frame just read was captured, and whether time broke before it."""
        now_s = self._clock.now()
        if self._sender is None:
            return now_s, False
        sent_s = float(self._capture.get(opencv().CAP_PROP_POS_MSEC)) / 1000
        if not isfinite(sent_s) or sent_s == self._sent_s:
            self._sender = None
            return now_s, False
        self._sent_s = sent_s
        return self._sender.place(sent_s, now_s=now_s)


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
        super().__init__(uri, self._open, clock, patience_s=self._options.timeout_s)

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


def open_with_opencv(uri: str, options: SourceOptions, clock: Clock) -> Source:
    """Open a stream (rtsp, http, tcp, udp and the like), or a video after `opencv:`.

    Raises:
        SourceError: nobody answers within `timeout_s`, or the answer is not a video.
    """
    address = uri.removeprefix("opencv:")
    if "://" in address:
        return _open_stream(address, options, clock)
    return VideoFile(Path(address), decoder=OpenCvDecoder)


def _open_stream(uri: str, options: SourceOptions, clock: Clock) -> OpenCvStream:
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

    return OpenCvStream(shown, connect, clock, remote=True, patience_s=options.timeout_s)
