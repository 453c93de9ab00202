"""How a video file is decoded: by OpenCV, or by PyAV where that gives the same pictures sooner."""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from edge_tsm.datatypes import Frame, Image
from edge_tsm.errors import SourceError
from edge_tsm.sources.base import FrameChooser
from edge_tsm.sources.formats import CODECS
from edge_tsm.system.machine import usable_cores
from edge_tsm.system.opencv import VideoCapture, opencv
from edge_tsm.system.pyav import Converter, has_pyav, pyav, translated

_log = logging.getLogger(__name__)
_MOST_LOST = 30  # frames in a row that cannot be decoded, after which a video is over
_SLOWEST, _FASTEST = 0, 1000
_BLACK = 3  # of 255, on average
_LONG = 200  # frames from which asking for keyframes can pay
_WORTH = 0.95  # of all frames: decoding more of them than that is done in one go
_SHARED = 1.4  # times longer: decoding groups of 20 pictures by all threads, measured with two
# Every packet is a frame that is shown; VP9 and AV1 have hidden ones together with one.
_SEEKABLE = ("h264", "hevc", "mpeg4", "vp9", "av1", "libdav1d")


@dataclass(frozen=True)
class Shot:
    """A decoded frame: its time, None where the container gives none, and what converts it."""

    time_s: float | None
    image: Callable[[], Image]


class Decoder(Protocol):
    """Decodes one video file; `claimed` frames as the container says, 0 if it says nothing.

    What was opened to know this serves the first pass, as opening takes as long as decoding some
    frames.
    """

    claimed: int
    fps: float
    codec: str

    def shots(self) -> Iterator[Shot | None]:
        """Decode from the beginning; None stands for a frame that cannot be decoded.

        A shot can be converted until the next one is asked for.
        """
        ...

    def chosen(self, choose: FrameChooser) -> Sequence[Frame] | None:
        """Return what `choose` picks without decoding the rest, None where that is no gain."""
        ...

    def listed(self) -> Listing | None:
        """Return when its frames are shown, without decoding them; None where nothing tells it."""
        ...

    def close(self) -> None:
        """Close the file where no pass has begun; it may still be read."""
        ...


@dataclass(frozen=True)
class Listing:
    """When each frame of a video is shown, in seconds, and a way to some of them.

    `shots` takes indices in ascending order and yields those of them that can be decoded.
    """

    times_s: Sequence[float]
    shots: Callable[[Sequence[int]], Generator[tuple[int, Shot]]]


class OpenCvDecoder:
    """The FFmpeg in OpenCV; it squeezes pictures into the size of the first one."""

    def __init__(self, path: Path, threads: int | None) -> None:
        self._path, self._threads, self._first = str(path), threads, list[VideoCapture]()
        capture, cv2 = self._open(), opencv()
        self._first.append(capture)
        self.claimed = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.fps = float(rate) if _SLOWEST < rate < _FASTEST else 25.0
        self.codec, self._seen = _codec(int(capture.get(cv2.CAP_PROP_FOURCC))), False

    def shots(self) -> Iterator[Shot | None]:
        """See `Decoder`; beyond the claimed frames the first that fails is the end."""
        capture, position, failed = self._first.pop() if self._first else self._open(), 0, 0
        try:
            while failed <= _MOST_LOST:
                if capture.grab():
                    failed = 0
                    yield self._shot(capture)
                elif position < self.claimed:
                    failed += 1
                    yield None
                else:
                    return
                position += 1
        finally:
            capture.release()

    def chosen(self, choose: FrameChooser) -> None:
        """See `Decoder`; OpenCV does not say where a frame can be begun at."""
        return

    def listed(self) -> None:
        """See `Decoder`; OpenCV decodes whatever it looks at."""
        return

    def close(self) -> None:
        """See `Decoder`."""
        while self._first:
            self._first.pop().release()

    def _open(self) -> VideoCapture:
        cv2 = opencv()
        threads = [cv2.CAP_PROP_N_THREADS, self._threads] if self._threads else []
        capture: VideoCapture = cv2.VideoCapture(self._path, cv2.CAP_FFMPEG, threads)
        if not capture.isOpened():
            raise SourceError(f"{self._path} holds no video that OpenCV can read")
        return capture

    def _shot(self, capture: VideoCapture) -> Shot:
        stamp_s = float(capture.get(opencv().CAP_PROP_POS_MSEC)) / 1000

        def image() -> Image:
            ok, picture = capture.retrieve()
            if not ok:
                raise SourceError(f"{self._path}: the frame at {stamp_s:g} s cannot be decoded")
            self._look(picture)
            return picture

        return Shot(stamp_s if stamp_s > 0 else None, image)

    def _look(self, picture: Image) -> None:
        """Warn of a black first picture: OpenCV 4.14 and 5.0 make nothing else of fields.

        They do not say that the conversion failed, nor whether a video is interlaced.
        """
        if not self._seen and picture[::8, ::8].mean() < _BLACK and not has_pyav():
            _log.warning(
                "%s begins black; if it should not, it may be interlaced, which this OpenCV cannot "
                "convert: pip install 'edge-tsm[av]'",
                self._path,
            )
        self._seen = True


class AvDecoder:
    """PyAV's FFmpeg: true sizes and times, and wanted frames without those before their keyframe.

    Raises:
        SourceError: PyAV is not installed, or the file holds no video that it reads.
    """

    def __init__(self, path: Path, threads: int | None) -> None:
        self._path, self._threads, self._first = str(path), threads, list[Any]()
        with translated(f"{self._path} cannot be read"):
            container = self._open()
            stream = container.streams.video[0]
            rate = float(stream.guessed_rate or stream.average_rate or 0)
            self.fps = rate if _SLOWEST < rate < _FASTEST else 25.0
            duration_s = container.duration / pyav().time_base if container.duration else 0.0
            self.claimed = int(stream.frames) or int(duration_s * self.fps + 0.5)
            name = str(stream.codec_context.name)
            self.codec = CODECS.get(name, name)
            self._stream_codec = name
            depths = {part.bits for part in getattr(stream.format, "components", ())}
            self.is_plain = depths == {8}
            self._first.append(container)

    def shots(self) -> Iterator[Shot | None]:
        """See `Decoder`."""
        with self._opened() as video:
            for picture in video.pictures():
                yield picture and video.shot(picture)

    def chosen(self, choose: FrameChooser) -> Sequence[Frame] | None:
        """See `Decoder`: from a recording with keyframes, and none of whose frames is in doubt.

        It is read once for the times of all frames, which costs little; then every group of
        pictures that holds wanted ones is decoded up to the last of these: several groups side by
        side, a thread for each, unless one is so long that all threads had better share it.
        """
        if self.claimed < _LONG or self._stream_codec not in _SEEKABLE:
            return None
        with self._opened() as video:
            times = video.times(claimed=self.claimed)
            if times is None:
                return None
            wanted = choose(len(times.shown))
            groups = times.groups(sorted(set(wanted)))
            costs = [times.cost(*group) for group in groups.items()]
            if sum(costs) > _WORTH * len(times.shown):
                return None
            threads = self._threads or usable_cores()
            if threads == 1 or max(costs) * threads > _SHARED * sum(costs):
                parts = [video.group(times, *group) for group in groups.items()]
            else:
                parts = self._side_by_side(times, groups, threads)
        found = dict(chain.from_iterable(part.items() for part in parts))
        return [found[i] for i in wanted] if found.keys() >= set(wanted) else None

    def _side_by_side(
        self, times: _Times, groups: Mapping[int, Sequence[int]], threads: int
    ) -> list[dict[int, Frame]]:
        """Return the wanted frames of each group, by index."""

        def decode(group: tuple[int, Sequence[int]]) -> dict[int, Frame]:
            with self._opened(threads=1) as video:
                return video.group(times, *group)

        with ThreadPoolExecutor(threads, thread_name_prefix="edge-tsm decode") as pool:
            return list(pool.map(decode, groups.items()))

    def listed(self) -> Listing | None:
        """See `Decoder`: by the times of packets, where each is one frame that is shown."""
        with self._opened() as video:
            times = video.times(claimed=None)
            if times is None:
                return None
            times_s = [video.time_s(pts) or 0.0 for pts in times.shown]
        return Listing(times_s, partial(self._listed_shots, times))

    def _listed_shots(self, times: _Times, wanted: Sequence[int]) -> Generator[tuple[int, Shot]]:
        """Yield wanted frames, decoding what lies between two of them or begins at a keyframe."""
        with self._opened() as video:
            for key, indices in times.runs(wanted):
                if key != times.keys[0]:
                    video.seek(key)
                left, last = {times.shown[i]: i for i in indices}, times.shown[indices[-1]]
                for picture in video.pictures():
                    if picture is None or picture.pts is None:
                        continue
                    if (index := left.get(picture.pts)) is not None:
                        yield index, video.shot(picture)
                    if picture.pts >= last:
                        break

    def close(self) -> None:
        """See `Decoder`."""
        while self._first:
            self._first.pop().close()

    @contextmanager
    def _opened(self, *, threads: int | None = None) -> Iterator[_Opened]:
        with (
            translated(f"{self._path} cannot be read"),
            self._first.pop() if self._first else self._open() as container,
        ):
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if count := threads or self._threads:
                stream.codec_context.thread_count = count
            yield _Opened(container, stream)

    def _open(self) -> Any:
        container = pyav().open(self._path)
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self._path} holds no video")
        return container


class _Opened:
    """A video that is being read: its packets, pictures and times."""

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self.stream, self.convert = container, stream, Converter()
        self._begin = stream.start_time or 0

    def pictures(self) -> Iterator[Any | None]:
        """Yield decoded pictures from here on, None for a packet that cannot be decoded."""
        for packet in self._container.demux(self.stream):
            try:
                yield from packet.decode()
            except pyav().error.InvalidDataError:
                yield None

    def seek(self, key: int) -> None:
        """Go to the keyframe of this time, in ticks."""
        self._container.seek(key, stream=self.stream)

    def shot(self, picture: Any) -> Shot:
        """Return a decoded picture as a shot."""
        return Shot(self.time_s(picture.pts), partial(self.convert, picture))

    def time_s(self, pts: int | None) -> float | None:
        """Return a time in ticks as seconds from the beginning."""
        return None if pts is None else float((pts - self._begin) * self.stream.time_base)

    def times(self, *, claimed: int | None) -> _Times | None:
        """Return when frames are shown, None where packets do not tell it beyond doubt.

        One doubt is whether they are as many as `claimed`, if that is given.
        """
        shown, keys, least = list[int](), list[int](), _least_bytes(self.stream)
        for packet in self._container.demux(self.stream):
            size, pts = packet.size, packet.pts
            if not size:
                continue
            if pts is None or size < least or packet.is_corrupt or packet.is_discard:
                return None
            if packet.is_keyframe:
                keys.append(pts)
            elif not shown:
                return None
            shown.append(pts)
        shown.sort()
        keys.sort()
        # Two packets a frame are fields; another count than claimed is a container that lies.
        sure = shown and len(set(shown)) == len(shown) and claimed in (None, len(shown))
        return _Times(shown, keys) if sure and keys[0] == shown[0] else None

    def group(self, times: _Times, key: int, wanted: Sequence[int]) -> dict[int, Frame]:
        """Return the wanted frames that can be decoded of a group of pictures, by index."""
        found, left = dict[int, Frame](), {times.shown[index]: index for index in wanted}
        last = times.shown[wanted[-1]]
        self.seek(key)
        for picture in self.pictures():
            if picture is None or picture.pts is None or picture.pts > last:
                break
            if (index := left.get(picture.pts)) is not None:
                found[index] = Frame(self.convert(picture), index, self.time_s(picture.pts) or 0.0)
            if picture.pts == last:
                break
        return found


def _least_bytes(stream: Any) -> float:
    """Return the bytes below which a packet may hold no frame that is shown.

    MPEG-4 says "as before" by a header of at most 8 bytes, which decodes to nothing; a coded frame
    has a bit or more for every macroblock beside it, or is made of two others, and then in doubt.
    """
    codec = stream.codec_context
    return 8 + codec.width * codec.height / 256 / 8 if codec.name == "mpeg4" else 0


@dataclass(frozen=True)
class _Times:
    """The times at which frames are `shown`, and those of keyframes, both sorted, in ticks."""

    shown: Sequence[int]
    keys: Sequence[int]

    def groups(self, wanted: Sequence[int]) -> dict[int, list[int]]:
        """Return wanted frames by the keyframe from which they are decoded."""
        groups = dict[int, list[int]]()
        for index in wanted:
            key = self.keys[bisect_right(self.keys, self.shown[index]) - 1]
            groups.setdefault(key, []).append(index)
        return groups

    def runs(self, wanted: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
        """Yield wanted frames with the keyframe to begin at; only skipped groups end a run."""
        run, start, before = list[int](), 0, -1
        for key, indices in self.groups(wanted).items():
            place = bisect_left(self.keys, key)
            if run and place > before + 1:
                yield self.keys[start], run
                run = []
            start = start if run else place
            run.extend(indices)
            before = place
        if run:
            yield self.keys[start], run

    def cost(self, key: int, wanted: Sequence[int]) -> int:
        """Return how many frames are decoded for the wanted ones of a group."""
        return wanted[-1] - bisect_left(self.shown, key) + 1


def open_decoder(path: Path, threads: int | None) -> Decoder:
    """Return PyAV's decoder where it is installed and gives OpenCV's pictures, else OpenCV's.

    Of more than 8 bits a color the two make different ones: such files are OpenCV's whether PyAV
    is installed or not.

    Raises:
        SourceError: it is no video that can be read.
    """
    if has_pyav():
        try:
            decoder = AvDecoder(path, threads)
        except SourceError:
            return OpenCvDecoder(path, threads)  # whose message it is
        if decoder.is_plain:
            return decoder
        decoder.close()
    return OpenCvDecoder(path, threads)


def _codec(fourcc: int) -> str:
    """Return the name of a codec by its FourCC, or the FourCC itself; empty for none."""
    text = "".join(chr(fourcc >> shift & 0xFF) for shift in (0, 8, 16, 24)).strip("\0 ")
    return CODECS.get(text.lower(), text if text.isprintable() else "")
