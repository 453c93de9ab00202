"""Recordings: video files, images in a folder or by a pattern."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import inf
from pathlib import Path

from edge_tsm.datatypes import Frame
from edge_tsm.errors import SourceError
from edge_tsm.sources.base import FrameChooser, OnProgress, Source, TimeFilter
from edge_tsm.sources.decoding import Decoder, Listing, Shot, open_decoder
from edge_tsm.sources.formats import (
    IMAGE_SUFFIXES,
    natural,
    pictures_of,
)
from edge_tsm.system.opencv import check_name, opencv

log = logging.getLogger(__name__)
_FEWEST_SHARE = 0.25  # of the frames that a container claims, below which it is no clip any more


@dataclass(frozen=True)
class FrameListing:
    """When each frame of a recording is shown, in seconds, and a way to some of them.

    `frames` takes indices in ascending order and yields those of the frames that can be decoded;
    what lies before the first of them is skipped where the file has keyframes.
    """

    times_s: Sequence[float]
    frames: Callable[[Sequence[int]], Iterator[Frame]]


class VideoFile:
    """A video file. Frame counts of containers are often wrong: decoding tells.

    `damage` says, once the file was read, that frames in its middle or at its end are lost.
    `threads` decode it, by default as many as the decoder chooses; which `decoder` that is, the
    file decides.

    Raises:
        SourceError: it does not exist, is empty, or no video.
    """

    live = False
    damage = ""
    _torn = False  # frames failed between others

    def __init__(
        self,
        path: Path,
        *,
        threads: int | None = None,
        decoder: Callable[[Path, int | None], Decoder] = open_decoder,
    ) -> None:
        self.uri = str(path)
        check_name(self.uri)
        try:
            if path.stat().st_size == 0:
                raise SourceError(f"{self.uri} is empty")
        except FileNotFoundError as error:
            raise SourceError(f"{self.uri} does not exist") from error
        self._decoder = decoder(path, threads)
        self.fps = self._decoder.fps

    @property
    def claimed_frames(self) -> int:
        """The frames that the container claims; 0 if it claims none."""
        return max(self._decoder.claimed, 0)

    @property
    def claimed_s(self) -> float:
        """The duration that the container claims, in seconds; 0 if it claims none."""
        return self.claimed_frames / self.fps

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame that can be decoded; a warning says at the end if some cannot."""
        yield from self.pick(lambda _: True)
        if self.damage:
            log.warning("%s: %s", self.uri, self.damage)

    def pick(self, wanted: TimeFilter, *, until_s: float = inf) -> Iterator[Frame]:
        """Yield the wanted frames; only those are converted to pictures."""
        with closing(self._shots()) as shots:
            for index, (time_s, shot) in enumerate(shots):
                if time_s >= until_s:
                    return
                if wanted(time_s):
                    yield Frame(shot.image(), index, time_s)

    def sample(self, choose: FrameChooser, *, progress: OnProgress | None = None) -> list[Frame]:
        """Return the frames `choose` picks; only those are converted to pictures.

        Long recordings are decoded around the wanted frames only, where they have keyframes;
        others in one pass when the container's frame count is right, else a second one with the
        real count.

        Raises:
            SourceError: no frame can be decoded, or so few that it is no clip any more.
        """
        found = self._decoder.chosen(choose)
        if found is not None:
            if progress:
                progress(self.claimed_frames, self.claimed_frames)
            return list(found)
        wanted = choose(self.claimed_frames) if self.claimed_frames else []
        count, frames = self._pass(wanted, progress)
        if count == 0:
            raise SourceError(f"{self.uri}: no frame can be decoded; {self._way_out()}")
        if self._torn and count < _FEWEST_SHARE * self.claimed_frames:
            raise SourceError(f"{self.uri}: only {self.damage}; leave it out, or get it anew")
        if count != self.claimed_frames:
            wanted = choose(count)
            _, frames = self._pass(wanted, progress)
        return [frames[i] for i in wanted]

    def listing(self, *, decoded: bool = False) -> FrameListing:
        """Return when each frame is shown: as packets say, or where they do not, by decoding all.

        With `decoded` packets are not believed: a damaged file has more of them than frames.

        Raises:
            SourceError: no frame can be decoded.
        """
        found = None if decoded else self._decoder.listed()
        if found is None:
            times_s = [time_s for time_s, _ in self._shots()]
            found = Listing(times_s, self._counted)
        elif found.times_s:
            self._look_for_end(len(found.times_s), found.times_s[-1])
        if not found.times_s:
            raise SourceError(f"{self.uri}: no frame can be decoded; {self._way_out()}")
        return FrameListing(found.times_s, partial(self._listed, found))

    def _listed(self, listing: Listing, wanted: Sequence[int]) -> Iterator[Frame]:
        with closing(listing.shots(wanted)) as shots:
            for index, shot in shots:
                yield Frame(shot.image(), index, listing.times_s[index])

    def _counted(self, wanted: Sequence[int]) -> Generator[tuple[int, Shot]]:
        """Yield wanted frames, by decoding from the beginning up to the last one."""
        needed = frozenset(wanted)
        with closing(self._shots()) as shots:
            for index, (_, shot) in enumerate(islice(shots, max(needed, default=-1) + 1)):
                if index in needed:
                    yield index, shot

    def close(self) -> None:
        """Close the file where no pass has begun; between passes nothing is held open."""
        self._decoder.close()

    def _pass(
        self, wanted: Sequence[int], progress: OnProgress | None
    ) -> tuple[int, dict[int, Frame]]:
        """Decode to the end; return the real frame count and the wanted frames."""
        frames, count, needed = dict[int, Frame](), 0, frozenset(wanted)
        for index, (time_s, shot) in enumerate(self._shots()):
            if index in needed:
                frames[index] = Frame(shot.image(), index, time_s)
            count = index + 1
            if progress:
                progress(count, max(self.claimed_frames, count))
        return count, frames

    def _shots(self) -> Generator[tuple[float, Shot]]:
        """Yield each frame's time and the frame, over a damaged part too.

        A container that claims more frames than there are is common; `damage` is only what
        failed between frames, or an end long before the claimed one.
        """
        count, lost, failed, time_s = 0, 0, 0, 0.0
        for shot in self._decoder.shots():
            if shot is None:
                failed += 1
                continue
            lost, failed = lost + failed, 0
            time_s = count / self.fps if shot.time_s is None else shot.time_s
            yield time_s, shot
            count += 1
        self._torn = self._torn or lost > 0
        if count:
            self._look_for_end(count, time_s, lost)

    def _look_for_end(self, count: int, last_s: float, lost: int = 0) -> None:
        """Note damage: frames lost between others, or an end long before the claimed one."""
        claimed = self.claimed_frames
        early = last_s + 2 / self.fps < 0.9 * self.claimed_s and count < 0.9 * claimed
        if lost or early:
            self.damage = f"{count} of {max(claimed, count + lost)} frames can be decoded"

    def _way_out(self) -> str:
        if not self._decoder.codec or not self.claimed_frames:
            return "is it a video?"
        return (
            f"its codec is {self._decoder.codec}, which cannot be decoded here: read it by PyAV "
            f"(pip install 'edge-tsm[av]'), or convert it: ffmpeg -i {self.uri} -c:v libx264 "
            "NEW.mp4"
        )


class ImageFolder:
    """Frames as images in one folder, in order of the numbers in their names (see `pictures_of`).

    Instead of a folder, `path` may be a pattern: `clip/*.png`, or `clip/img_%05d.jpg` as FFmpeg
    writes it. Images carry no times, so `fps` sets them; without it they are 1/25 s apart.

    Raises:
        SourceError: there are no images.

    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> with TemporaryDirectory() as folder:
    ...     for i in (1, 2, 10):
    ...         Image.new("RGB", (64, 48)).save(f"{folder}/{i}.png")
    ...     frames = list(ImageFolder(Path(folder), fps=10))
    >>> [(frame.index, frame.time_s, frame.image.shape) for frame in frames]
    [(0, 0.0, (48, 64, 3)), (1, 0.1, (48, 64, 3)), (2, 0.2, (48, 64, 3))]
    """

    live = False

    def __init__(self, path: Path, *, fps: float | None = None) -> None:
        self.uri, self.fps, self.note = str(path), fps or 25.0, ""
        self.rated = fps is not None
        if path.is_dir():
            found = pictures_of(path)
            self._files, self.note = list(found.files), found.note
            return
        files = (Path(file) for file in glob.glob(_glob(str(path))))  # noqa: PTH207
        pictures = (p for p in files if p.suffix.lower() in IMAGE_SUFFIXES)
        self._files = sorted(pictures, key=lambda p: natural(p.name))
        if not self._files:
            raise SourceError(f"{path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Frame]:
        """Yield every image; a warning says which were taken if there are others."""
        if self.note:
            log.warning("%s: %s", self.uri, self.note)
        yield from self.pick(lambda _: True)

    def pick(self, wanted: TimeFilter, *, until_s: float = inf) -> Iterator[Frame]:
        """Yield the wanted images, `fps` of them a second; only those are read."""
        times_s = (i / self.fps for i in range(len(self._files)))
        return (self._frame(i) for i, t in enumerate(times_s) if t < until_s and wanted(t))

    def sample(self, choose: FrameChooser, *, progress: OnProgress | None = None) -> list[Frame]:
        """Return the frames `choose` picks; each file is read once."""
        wanted = choose(len(self._files))
        frames = {i: self._frame(i) for i in dict.fromkeys(wanted)}
        if progress:
            progress(len(self._files), len(self._files))
        return [frames[i] for i in wanted]

    def listing(self, *, decoded: bool = False) -> FrameListing:
        """Return when each image is shown, `fps` of them a second."""
        return FrameListing(
            [i / self.fps for i in range(len(self._files))], lambda wanted: map(self._frame, wanted)
        )

    def close(self) -> None:
        """Nothing is held open."""

    def _frame(self, index: int) -> Frame:
        check_name(str(self._files[index]))
        image = opencv().imread(str(self._files[index]))
        if image is None:
            raise SourceError(f"{self._files[index]} cannot be decoded")
        return Frame(image, index, index / self.fps)


def rate_of(source: Source) -> float | None:
    """Return the frames a second of a recording, None of pictures of which nobody said it."""
    recording = getattr(source, "source", source)  # of a transformed one
    return None if isinstance(recording, ImageFolder) and not recording.rated else source.fps


def remark(source: Source) -> str:
    """Return what is odd about a recording that was read, empty if nothing is.

    Frames that cannot be decoded, or pictures that lie beside those taken.
    """
    recording = getattr(source, "source", source)  # of a transformed one
    if isinstance(recording, VideoFile):
        return recording.damage
    return recording.note if isinstance(recording, ImageFolder) else ""


def count_frames(path: Path) -> int:
    """Return the pictures of a folder's clip, or the frames a video claims; 0 if unknown."""
    try:
        if path.is_dir():
            return len(pictures_of(path).files)
        return VideoFile(path, threads=1).claimed_frames
    except SourceError:
        return 0


def open_recording(
    path: Path, *, fps: float | None = None, threads: int | None = None
) -> VideoFile | ImageFolder:
    """Open a video file, a folder of images or a pattern of them, whatever its name.

    `fps` is the rate of images, if it is known. `threads` decode one video file, by default as many
    as OpenCV chooses; pass 1 where several files are read at once.

    Raises:
        SourceError: it does not exist, or there are no images or no video in it.
    """
    if is_images(str(path)):
        return ImageFolder(path, fps=fps)
    return VideoFile(path, threads=threads)


def is_images(text: str) -> bool:
    """Return whether `text` is a folder or, if there is no such file, a pattern."""
    path = Path(text)
    return path.is_dir() or (not path.exists() and glob.has_magic(_glob(text)))


def _glob(text: str) -> str:
    """Return the shell pattern of a printf pattern: `img_%05d.jpg` is `img_[0-9]*.jpg`."""
    return re.sub(r"%0?\d*d", "[0-9]*", text)
