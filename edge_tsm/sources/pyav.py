"""Videos and streams through PyAV (extra `[av]`), with the exact times of the container."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from math import inf
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edge_tsm.datatypes import Frame, Image
from edge_tsm.errors import SourceError
from edge_tsm.sources.base import FrameChooser, OnProgress, Source, SourceOptions, TimeFilter
from edge_tsm.system.clock import Clock
from edge_tsm.system.opencv import check_name
from edge_tsm.system.redact import redact

JUMP_S = 10.0


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
        with _container(self.uri, self.uri) as (_, stream):
            self.fps = float(stream.average_rate or 25)
            self._claimed = int(stream.frames)

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame that can be decoded."""
        return self.pick(lambda _: True)

    def pick(self, wanted: TimeFilter, *, until_s: float = inf) -> Iterator[Frame]:
        """Yield the wanted frames; only those are converted to pictures."""
        with _container(self.uri, self.uri) as (container, stream):
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
        with _container(self.uri, self.uri) as (container, stream):
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

    The network delays frames unevenly, and never makes one early: the fastest frame so far ties
    the sender's clock to ours. `fps` is the stream's own, where it names one.
    """

    live = True
    reopens = True

    def __init__(self, uri: str, *, options: SourceOptions, clock: Clock) -> None:
        self.uri, self.fps = redact(uri), 30.0
        self._uri, self._timeout_s, self._clock = uri, options.timeout_s, clock
        self._closed = False
        with self._opened() as (_, stream):
            self.fps = float(stream.average_rate or 30)

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames as they come.

        Raises:
            SourceError: it cannot be opened, or ends.
        """
        offset_s, count = float("inf"), 0
        with self._opened() as (container, stream):
            for index, picture in enumerate(_decoded(container, stream)):
                now_s = self._clock.now()
                sent_s = _time_s(picture, now_s)
                if abs(now_s - sent_s - offset_s) > JUMP_S:
                    offset_s = now_s - sent_s  # the first frame, or the sender's clock was set
                offset_s = min(offset_s, now_s - sent_s)
                if self._closed:
                    return
                yield Frame(_image(picture), index, sent_s + offset_s)
                count = index + 1
        if not self._closed:
            raise SourceError(f"{self.uri} ended after {count} frames")

    def close(self) -> None:
        """End the iteration after the frame being read."""
        self._closed = True

    def _opened(self) -> AbstractContextManager[tuple[Any, Any]]:
        limits = (self._timeout_s, self._timeout_s)
        options = {"rtsp_transport": "tcp"} if self._uri.startswith("rtsp") else {}
        return _container(self._uri, self.uri, timeout=limits, options=options)


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
def _container(address: str, shown: str, **how: Any) -> Iterator[tuple[Any, Any]]:
    """Open a container and its first video stream; PyAV's errors become SourceError."""
    av = _pyav()
    try:
        with av.open(address, **how) as container:
            if not container.streams.video:
                raise SourceError(f"{shown} holds no video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream
    except av.error.FFmpegError as error:
        raise SourceError(f"{shown} cannot be read: {redact(error.strerror)}") from error


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
