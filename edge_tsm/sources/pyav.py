"""Streams through PyAV (extra `[av]`), with the exact times of the sender."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_tsm.datatypes import Frame
from edge_tsm.errors import SourceError
from edge_tsm.sources.base import Source, SourceOptions
from edge_tsm.sources.decoding import AvDecoder
from edge_tsm.sources.files import VideoFile
from edge_tsm.sources.timing import COUNTED_S, REAL_S, SenderClock, most_queued, without_backlog
from edge_tsm.system.clock import Alarm, Clock
from edge_tsm.system.pyav import bgr_of, pyav, translated
from edge_tsm.system.redact import redact

FASTEST_FPS = 1000
PAUSE_S = 0.01
MOST_PX_A_THREAD = 1920 * 1088
_NO_TIMES = 0x80  # AVFMT_NOTIMESTAMPS


def open_av(uri: str, options: SourceOptions, clock: Clock) -> Source:
    """Open `av:` before the path of a video or the address of a stream.

    Raises:
        SourceError: PyAV is not installed, or cannot read it.
    """
    address = uri.removeprefix("av:")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", address):
        return AvStream(address, options=options, clock=clock)
    return VideoFile(Path(address), decoder=AvDecoder)


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
        with container, translated(f"{self.uri} cannot be read"):
            for index, picture in enumerate(pictures):
                now_s = self._clock.now()
                time_s, gap = sender.place(_time_s(picture, now_s), now_s=now_s)
                yield Frame(bgr_of(picture), index, time_s, gap)
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
            except pyav().error.InvalidDataError:
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
        with translated(f"{self.uri} cannot be opened", "; is it reachable, and a video stream?"):
            container = pyav().open(self._uri, timeout=limits, options=options)
            if not container.streams.video:
                container.close()
                raise SourceError(f"{self.uri} cannot be opened: it holds no video")
        stream = _video(container)
        # Threads that each decode a frame of their own hold back as many frames as there are.
        big = stream.width * stream.height > MOST_PX_A_THREAD
        stream.thread_type = "AUTO" if big else "SLICE"
        return container


def _video(container: Any) -> Any:
    return container.streams.video[0]


def _counts_frames(container: Any) -> bool:
    """Return whether the format has no times, so that FFmpeg makes them of a nominal rate."""
    return bool(container.format.flags & _NO_TIMES)


def _time_s(picture: Any, default_s: float) -> float:
    return default_s if picture.time is None else float(picture.time)
