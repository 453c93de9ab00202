"""Where frames come from: files, folders, cameras, networks, pipes, applications, recordings.

A source says whether it is `live`: a file gives every frame, a camera the latest. Every kind that
has an address is an entry in SCHEMES.
"""

from __future__ import annotations

import re
from glob import iglob
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from edge_tsm.errors import InputError, SourceError
from edge_tsm.sources.base import (
    FrameChooser,
    OnProgress,
    Opener,
    Recording,
    Scheme,
    Source,
    SourceOptions,
    TimeFilter,
)
from edge_tsm.sources.files import (
    ImageFolder,
    VideoFile,
    count_frames,
    is_images,
    open_recording,
    rate_of,
    remark,
)
from edge_tsm.sources.formats import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    Pictures,
    ignored,
    is_hidden,
    is_video,
    pictures_of,
)
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock
from edge_tsm.system.lazy import lazily
from edge_tsm.system.opencv import check_name
from edge_tsm.system.plugins import plugin
from edge_tsm.system.redact import redact

if TYPE_CHECKING:
    from edge_tsm.sources.deferred import DeferredSource
    from edge_tsm.sources.faulty import Fault, FaultySource
    from edge_tsm.sources.opencv import Camera
    from edge_tsm.sources.pattern import TestPattern
    from edge_tsm.sources.push import PushSource
    from edge_tsm.sources.replay import Replay
    from edge_tsm.sources.stdin import Pipe
else:  # a run has one kind of source, rarely several
    __getattr__ = lazily(
        __name__,
        {
            "deferred": ("DeferredSource",),
            "faulty": ("Fault", "FaultySource"),
            "opencv": ("Camera",),
            "pattern": ("TestPattern",),
            "push": ("PushSource",),
            "replay": ("Replay",),
            "stdin": ("Pipe",),
        },
    )

__all__ = [
    "IMAGE_SUFFIXES",
    "SCHEMES",
    "VIDEO_SUFFIXES",
    "Camera",
    "DeferredSource",
    "Fault",
    "FaultySource",
    "FrameChooser",
    "ImageFolder",
    "OnProgress",
    "Pictures",
    "Pipe",
    "PushSource",
    "Recording",
    "Replay",
    "Scheme",
    "Source",
    "SourceOptions",
    "TestPattern",
    "TimeFilter",
    "VideoFile",
    "count_frames",
    "ignored",
    "is_hidden",
    "is_video",
    "open_recording",
    "open_source",
    "pictures_of",
    "rate_of",
    "remark",
    "scheme_of",
    "takes_rate",
]

_NAME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_URL = re.compile(_NAME.pattern + "//")
_NETWORK = re.compile(r"(?i)(rtsps?|rtmp|https?|tcp|udp|rtp|srt)://")


def _path(text: str) -> Path | None:
    """Return the file, folder or pattern that `text` names, None where it is another address."""
    local = text.removeprefix("file://")
    return None if _URL.match(local) else Path(local)


def _is_camera(text: str) -> bool:
    # A folder called 12345 is a folder: data sets name them so.
    return text.startswith("/dev/") or (text.isdecimal() and not Path(text).exists())


def _is_images(text: str) -> bool:
    path = _path(text)
    if path is None or not is_images(str(path)):
        return False
    # `name:x?y=1` may be the address of another package; it is a pattern where it matches files.
    return not _NAME.match(text) or path.is_dir() or any(iglob(str(path)))  # noqa: PTH207


def _is_file(text: str) -> bool:
    path = _path(text)
    return path is not None and path.exists()


def _opener(place: str) -> Opener:
    """Return a function of this room whose module is imported when it is called."""
    module, _, name = place.partition(".")

    def open_one(uri: str, options: SourceOptions, clock: Clock) -> Source:
        function: Opener = getattr(import_module(f"edge_tsm.sources.{module}"), name)
        return function(uri, options, clock)

    return open_one


def _open_network(uri: str, options: SourceOptions, clock: Clock) -> Source:
    """Open a stream through PyAV where it is installed, for its times and sizes, else OpenCV."""
    from edge_tsm.system.pyav import has_pyav

    return (_open_av if has_pyav() else _open_with_opencv)(uri, options, clock)


def _open_local(uri: str, options: SourceOptions, _clock: Clock) -> Recording:
    return open_recording(Path(uri.removeprefix("file://")), fps=options.fps)


_open_av, _open_with_opencv = _opener("pyav.open_av"), _opener("opencv.open_with_opencv")
# The first kind that matches an address opens it.
SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            "camera",
            "0, /dev/v4l/by-id/…",
            "a camera",
            _opener("opencv.open_camera"),
            recognizes=_is_camera,
            takes_size=True,
            takes_rate=True,
            deferrable=True,
        ),
        Scheme(
            "stdin",
            "-",
            "pictures on stdin",
            _opener("stdin.open_pipe"),
            recognizes=lambda text: text == "-",
            takes_size=True,
            takes_rate=True,
        ),
        Scheme(
            "csi",
            "csi://0",
            "a CSI camera",
            _opener("gstreamer.open_csi"),
            recognizes=lambda text: text.startswith("csi://"),
            takes_size=True,
            takes_rate=True,
            deferrable=True,
        ),
        Scheme(
            "test",
            "test://640x480/30",
            "a test pattern",
            _opener("pattern.open_pattern"),
            recognizes=lambda text: text.startswith("test://"),
            takes_size=True,
            takes_rate=True,
        ),
        Scheme(
            "gstreamer",
            "v4l2src ! videoconvert",
            "a GStreamer pipeline",
            _opener("gstreamer.open_pipeline"),
            recognizes=lambda text: " ! " in text,
            takes_rate=True,
            deferrable=True,
        ),
        Scheme(
            "replay",
            "replay:FOLDER, replay:clip.mp4",
            "a recorded live stream",
            _opener("replay.open_replay"),
            virtual_time=True,
        ),
        Scheme("av", "av:URI", "a video or stream through PyAV", _open_av, deferrable=True),
        Scheme(
            "opencv",
            "opencv:URI",
            "a video or stream through OpenCV",
            _open_with_opencv,
            deferrable=True,
        ),
        Scheme(
            "network",
            "rtsp://…, http://…, tcp://…, udp://…",
            "a network stream",
            _open_network,
            recognizes=lambda text: _NETWORK.match(text) is not None,
            deferrable=True,
        ),
        Scheme(
            "images",
            "frames/, frames/*.png, frames/img_%05d.jpg",
            "a folder or pattern of images",
            _open_local,
            recognizes=_is_images,
            takes_rate=True,
        ),
        Scheme("video", "clip.mp4", "a video", _open_local, recognizes=_is_file),
    )
}


def open_source(
    uri: str | int | Path,
    *,
    options: SourceOptions | None = None,
    clock: Clock = SYSTEM_CLOCK,
    deferred: bool = False,
) -> Source:
    """Open anything that delivers pictures.

    | `uri` | |
    | --- | --- |
    | `0`, `/dev/v4l/by-id/…` | a camera |
    | `-` | PPM pictures on stdin, or raw frames with `options.size` |
    | `csi://0` | a CSI camera: nvarguscamerasrc on a Jetson, else libcamera |
    | `test://640x480/30` | a test pattern |
    | `v4l2src ! videoconvert` | a GStreamer pipeline without its sink |
    | `replay:FOLDER`, `replay:clip.mp4` | a recording or a video as a live stream |
    | `av:URI` | a video or a stream through PyAV, with exact times and sizes |
    | `opencv:URI` | a video or a stream through OpenCV |
    | `rtsp://…`, `http://…`, `tcp://…`, `udp://…` | a network stream, through PyAV if installed |
    | `frames/`, `frames/*.png`, `frames/img_%05d.jpg` | images in a folder |
    | `clip.mp4` | a video file |

    An `int` is always a camera; a number as text is one where no file or folder has that name.
    Files and folders may be written with `file://` before their path.

    With `deferred`, a camera or stream is opened when it is first read, and need not be there yet:
    a pipeline tries again as after a loss. Other kinds are opened at once all the same.

    Any other `NAME://…` or `NAME:…` is looked up among the entry points of the group
    `edge_tsm.sources`. The entry point NAME of another package is a function
    `(uri, options, clock) -> Source`, or a `Scheme` where it takes a size or a rate.

    Raises:
        SourceError: it does not exist, cannot be read, or holds no pictures.
        InputError: a size or rate is asked of a kind that does not take it.

    >>> from itertools import islice
    >>> source = open_source("test://64x48/100", options=SourceOptions(rotate=90))
    >>> [frame.image.shape for frame in islice(source, 2)]
    [(64, 48, 3), (64, 48, 3)]
    >>> source.close()
    """
    options, text = options or SourceOptions(), str(uri)
    check_name(text)
    scheme = scheme_of(uri)
    if options.size and not scheme.takes_size:
        raise _refusal("size", text, [s for s in SCHEMES.values() if s.takes_size])
    if options.fps and not scheme.takes_rate:
        raise _refusal("rate", text, [s for s in SCHEMES.values() if s.takes_rate])
    chosen = options

    def connect() -> Source:
        source = scheme.open(text, chosen, clock)
        if not (chosen.rotate or chosen.crop):
            return source
        from edge_tsm.sources.transform import TransformedSource

        return TransformedSource(source, chosen)

    if deferred and scheme.deferrable and not _is_file(text.partition(":")[2]):
        from edge_tsm.sources.deferred import DeferredSource

        return DeferredSource(redact(text), connect, fps=options.fps or 30.0)
    return connect()


def scheme_of(uri: str | int | Path) -> Scheme:
    """Return the kind of source that `uri` is the address of.

    Raises:
        SourceError: no kind recognizes it; the message lists those there are.

    >>> scheme_of(0).name, scheme_of("rtsp://camera/1").name
    ('camera', 'network')
    >>> scheme_of("replay:recording").virtual_time
    True
    """
    scheme = _find(uri)
    if scheme is None:
        raise _unknown(str(uri))
    return scheme


def takes_rate(uri: str | int | Path) -> bool:
    """Return whether `SourceOptions.fps` means something to this source.

    >>> takes_rate(0), takes_rate("clip.mp4")
    (True, False)
    """
    scheme = _find(uri)
    return scheme is not None and scheme.takes_rate


def _find(uri: str | int | Path) -> Scheme | None:
    text = str(uri)
    if isinstance(uri, int):
        return SCHEMES["camera"]
    return next((s for s in SCHEMES.values() if s.matches(text)), None) or _plugin(text)


def _plugin(text: str) -> Scheme | None:
    """Return the kind of source that another package brings for this address."""
    named = _NAME.match(text)
    if named is None:
        return None
    name, found = named[1], plugin("sources", named[1])
    if found is None or isinstance(found, Scheme):
        return found
    return Scheme(name, f"{name}:…", "a source of another package", found)


def _unknown(text: str) -> SourceError:
    path = _path(text)
    if path is None:
        problem = f"{redact(text)}: scheme {text.partition('://')[0]!r} is unknown"
    else:
        problem = f"{redact(str(path))} does not exist"
    forms = ", ".join(f"{scheme.summary} ({scheme.form})" for scheme in SCHEMES.values())
    return SourceError(f"{problem}; pass {forms}")


def _refusal(what: str, text: str, takers: list[Scheme]) -> InputError:
    kinds = ", ".join(scheme.summary for scheme in takers)
    return InputError(f"a {what} cannot be asked of {redact(text)}; it is for {kinds}")
