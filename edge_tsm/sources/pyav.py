"""Videos and streams through PyAV (extra `[av]`), with the exact times of the container."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from math import inf
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edge_tsm.datatypes import Frame, Image
from edge_tsm.errors import SourceError
from edge_tsm.sources.base import FrameChooser, OnProgress, Source, SourceOptions, TimeFilter
from edge_tsm.sources.timing import COUNTED_S, REAL_S, SenderClock, most_queued, without_backlog
from edge_tsm.system.clock import Alarm, Clock
from edge_tsm.system.opencv import check_name
from edge_tsm.system.redact import redact

FASTEST_FPS = 1000
PAUSE_S = 0.01
MOST_PX_A_THREAD = 1920 * 1088
_NO_TIMES = 0x80  # AVFMT_NOTIMESTAMPS

_log = logging.getLogger(__name__)


def open_av(uri: str, options: SourceOptions, clock: Clock) -> Source:
    """Open `av:` before the path of a video or the address of a stream.

    Raises:
        SourceError: PyAV is not installed, or cannot read it.
    """
    address = uri.removeprefix("av:")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", address):
        return AvStream(address, options=options, clock=clock)
    return AvFile(Path(address))


class AvFile:
    """A video file; `time_s` is the presentation time that the container gives each frame."""

    live = False

    def __init__(self, path: Path) -> None:
        self.uri = str(path)
        check_name(self.uri)
        if not path.exists():
            raise SourceError(f"{path} does not exist")
        with _container(self.uri) as (_, stream):
            self.fps = float(stream.average_rate or 25)
            self._claimed = int(stream.frames)

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame that can be decoded."""
        return self.pick(lambda _: True)

    def pick(self, wanted: TimeFilter, *, until_s: float = inf) -> Iterator[Frame]:
        """Yield the wanted frames; only those are converted to pictures."""
        with _container(self.uri) as (container, stream):
            for index, picture in enumerate(_decoded(container, stream)):
                time_s = _time_s(picture, index / self.fps)
                if time_s >= until_s:
                    return
                if wanted(time_s):
                    yield Frame(_image(picture), index, time_s)

    def sample(self, choose: FrameChooser, *, progress: OnProgress | None = None) -> list[Frame]:
        """Return the frames `choose` picks; see `VideoFile.sample`.

        Raises:
            SourceError: no frame can be decoded.
        """
        wanted = choose(self._claimed) if self._claimed else []
        count, frames = self._pass(frozenset(wanted), progress)
        if count == 0:
            raise SourceError(f"{self.uri}: no frame can be decoded; is it a video?")
        if count != self._claimed:
            wanted = choose(count)
            _, frames = self._pass(frozenset(wanted), progress)
        return [frames[i] for i in wanted]

    def close(self) -> None:
        """Nothing is held open between passes."""

    def _pass(
        self, wanted: frozenset[int], progress: OnProgress | None
    ) -> tuple[int, dict[int, Frame]]:
        frames, count = dict[int, Frame](), 0
        with _container(self.uri) as (container, stream):
            for picture in _decoded(container, stream):
                if count in wanted:
                    time_s = _time_s(picture, count / self.fps)
                    frames[count] = Frame(_image(picture), count, time_s)
                count += 1
                if progress:
                    progress(count, max(self._claimed, count))
        return count, frames


class AvStream:
    """A network stream whose frames carry the sender's times, on this machine's clock.

    `SenderClock` says how. Pictures come in the size that the sender gives them; those that cannot
    be decoded are left out, and `timeout_s` without one is the end. `fps` is the stream's own,
    where it names one. What a sender has queued since the opening is skipped.
    """

    live = True
    reopens = True

    def __init__(self, uri: str, *, options: SourceOptions, clock: Clock) -> None:
        self.uri, self._uri = redact(uri), uri
        self._timeout_s, self._clock = options.timeout_s, clock
        self._closed, self._opened_s, self._alarm = False, clock.now(), Alarm(clock)
        self._first = [self._connect()]
        stream = self._first[0].streams.video[0]
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        self.fps = rate if 0 < rate < FASTEST_FPS else 30.0

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames as they come.

        Raises:
            SourceError: it cannot be opened, ends, or delivers nothing that can be decoded.
        """
        waiting_s = self._clock.now() - self._opened_s if self._first else 0.0
        container = self._first.pop() if self._first else self._connect()
        sender = SenderClock(COUNTED_S if _counts_frames(container) else REAL_S)
        pictures = without_backlog(
            self._pictures(container),
            self._clock,
            most=most_queued(waiting_s, self.fps),
            interval_s=1 / self.fps,
        )
        index = -1
        with container, _translated(f"{self.uri} cannot be read"):
            for index, picture in enumerate(pictures):
                now_s = self._clock.now()
                time_s, gap = sender.place(_time_s(picture, now_s), now_s=now_s)
                yield Frame(_image(picture), index, time_s, gap)
                if self._closed:
                    return
        if not self._closed:
            raise SourceError(f"{self.uri} ended after {index + 1} frames")

    def close(self) -> None:
        """End the iteration after the frame being read."""
        self._closed = True
        self._alarm.close()
        while self._first:
            self._first.pop().close()

    def _pictures(self, container: Any) -> Iterator[Any]:
        """Yield the pictures that can be decoded, until `close` or the end."""
        good_s = self._clock.now()
        packets = container.demux(_video(container))
        while not self._closed:
            try:
                packet = next(packets, None)
                for picture in packet.decode() if packet else ():
                    good_s = self._clock.now()
                    yield picture
            except _pyav().error.InvalidDataError:
                packets = container.demux(_video(container))  # an iterator that raised is over
                self._alarm.wait_until(self._clock.now() + PAUSE_S)
            else:
                if packet is None:
                    return
            if self._clock.now() - good_s >= self._timeout_s:
                raise SourceError(
                    f"{self.uri} delivered no picture that can be decoded for {self._timeout_s:g} s"
                )

    def _connect(self) -> Any:
        limits = (self._timeout_s, self._timeout_s)
        options = {"rtsp_transport": "tcp"} if self._uri.startswith("rtsp") else {}
        with _translated(f"{self.uri} cannot be opened", "; is it reachable, and a video stream?"):
            container = _pyav().open(self._uri, timeout=limits, options=options)
            if not container.streams.video:
                container.close()
                raise SourceError(f"{self.uri} cannot be opened: it holds no video")
        stream = _video(container)
        # Threads that each decode a frame of their own hold back as many frames as there are.
        big = stream.width * stream.height > MOST_PX_A_THREAD
        stream.thread_type = "AUTO" if big else "SLICE"
        return container


@cache
def has_pyav() -> bool:
    """Return whether PyAV can be used; one that is installed and broken is a warning."""
    if find_spec("av") is None:
        return False
    try:
        _pyav()
    except SourceError as error:
        _log.warning("%s; OpenCV reads instead", error)
        return False
    return True


@cache
def _pyav() -> ModuleType:
    """Import PyAV when it is first needed."""
    try:
        import av
    except ImportError as error:
        raise SourceError(f"av: needs PyAV: pip install 'edge-tsm[av]' ({error})") from error
    module: ModuleType = av
    return module


@contextmanager
def _translated(problem: str, hint: str = "") -> Iterator[None]:
    """Turn PyAV's errors into SourceError."""
    try:
        yield
    except _pyav().error.ExitError as error:  # our own limit of time
        raise SourceError(f"{problem}: it did not answer in time{hint}") from error
    except _pyav().error.FFmpegError as error:
        raise SourceError(f"{problem}: {redact(error.strerror)}{hint}") from error


@contextmanager
def _container(path: str) -> Iterator[tuple[Any, Any]]:
    """Open a video file and its first video stream."""
    with _translated(f"{path} cannot be read"), _pyav().open(path) as container:
        if not container.streams.video:
            raise SourceError(f"{path} holds no video")
        stream = _video(container)
        stream.thread_type = "AUTO"
        yield container, stream


def _video(container: Any) -> Any:
    return container.streams.video[0]


def _counts_frames(container: Any) -> bool:
    """Return whether the format has no times, so that FFmpeg makes them of a nominal rate."""
    return bool(container.format.flags & _NO_TIMES)


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Yield decoded pictures, skipping damaged packets as OpenCV does."""
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except _pyav().error.InvalidDataError:
            continue


def _image(picture: Any) -> Image:
    image: Image = picture.to_ndarray(format="bgr24")
    turns = round(picture.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _time_s(picture: Any, default_s: float) -> float:
    return default_s if picture.time is None else float(picture.time)
