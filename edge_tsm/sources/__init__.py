"""Where frames come from: files, folders, cameras, networks, pipes, applications, recordings.

A source says whether it is `live`: a file gives every frame, a camera the latest (R6).
"""

from __future__ import annotations

import re
from pathlib import Path

from edge_tsm.errors import InputError, SourceError
from edge_tsm.sources.base import (
    Choose,
    Progress,
    Recording,
    Source,
    SourceOptions,
    Wanted,
    check_name,
)
from edge_tsm.sources.faulty import Fault, FaultySource
from edge_tsm.sources.files import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    ImageFolder,
    VideoFile,
    is_images,
    list_videos,
    open_recording,
)
from edge_tsm.sources.gstreamer import gstreamer, open_csi
from edge_tsm.sources.opencv import Camera, network_stream
from edge_tsm.sources.pattern import TestPattern, open_pattern
from edge_tsm.sources.push import PushSource
from edge_tsm.sources.replay import LIST_FILE, Replay
from edge_tsm.sources.stdin import Pipe
from edge_tsm.sources.transform import View
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock
from edge_tsm.system.redact import redact

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Camera",
    "Choose",
    "Fault",
    "FaultySource",
    "ImageFolder",
    "Pipe",
    "Progress",
    "PushSource",
    "Recording",
    "Replay",
    "Source",
    "SourceOptions",
    "TestPattern",
    "VideoFile",
    "Wanted",
    "list_videos",
    "network_stream",
    "open_recording",
    "open_source",
    "takes_rate",
]

NETWORK = ("rtsp", "rtsps", "rtmp", "http", "https", "tcp", "udp", "rtp", "srt")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_FORMS = (
    "a video, a folder or pattern of images, a camera (0, /dev/v4l/by-id/…, csi://0), a stream "
    f"({', '.join(NETWORK)}), a GStreamer pipeline, - (stdin), test:// or replay:RECORDING"
)


def open_source(
    uri: str | int | Path, *, options: SourceOptions | None = None, clock: Clock = SYSTEM_CLOCK
) -> Source:
    """Open anything that delivers pictures.

    | `uri` | |
    | --- | --- |
    | `clip.mp4`, `frames/`, `frames/*.png`, `frames/img_%05d.jpg` | a recording |
    | `0`, `/dev/v4l/by-id/…` | a local camera |
    | `csi://0` | a CSI camera: nvarguscamerasrc on a Jetson, else libcamera |
    | `rtsp://`, `http://`, `tcp://`, `udp://`, … | a network stream |
    | `v4l2src ! videoconvert` | a GStreamer pipeline without its sink |
    | `av:` before a video or a stream | the same through PyAV, with exact times |
    | `-` | PPM pictures on stdin, or raw frames with `options.size` |
    | `test://640x480/30` | a test pattern |
    | `replay:RECORDING` | a recorder's folder, or a video, as the live stream that it was |

    Raises:
        SourceError: nothing there, not readable, or no pictures in it.
        InputError: an option that this kind of source does not have.
    """
    options = options or SourceOptions()
    source = _open(uri, options, clock)
    return View(source, options) if options.rotate or options.crop else source


def _open(uri: str | int | Path, options: SourceOptions, clock: Clock) -> Source:
    text = str(uri)
    check_name(text)
    if isinstance(uri, int) or _is_camera(text):
        return Camera(int(text) if text.isdecimal() else text, options=options, clock=clock)
    if text == "-":
        return Pipe(options=options, clock=clock)
    if text.startswith("csi://"):
        return open_csi(text, options, clock)
    if text.startswith("test://"):
        return open_pattern(text, options, clock)
    _refuse_size(text, options)
    if " ! " in text:
        return gstreamer(text, fps=options.fps, clock=clock)
    _refuse_rate(text, options)
    if text.startswith("replay:"):
        return _replay(Path(text.removeprefix("replay:")), clock)
    if text.startswith("av:"):
        return _with_pyav(text.removeprefix("av:"), options, clock)
    scheme = _SCHEME.match(text)
    return _stream(scheme[1], text, options, clock) if scheme else _recording(Path(text), options)


def _is_camera(text: str) -> bool:
    # A folder called 12345 is a folder: data sets name them so. An int is always a camera.
    return text.startswith("/dev/") or (text.isdecimal() and not Path(text).exists())


def _refuse_size(text: str, options: SourceOptions) -> None:
    if options.size:
        raise InputError(
            f"a size cannot be asked of {redact(text)}; it is for cameras, test:// and raw frames"
        )


def takes_rate(uri: str | int | Path) -> bool:
    """Return whether `SourceOptions.fps` means something to this source."""
    text = str(uri)
    made = text == "-" or text.startswith(("csi://", "test://")) or " ! " in text
    return made or isinstance(uri, int) or _is_camera(text) or is_images(text)


def _refuse_rate(text: str, options: SourceOptions) -> None:
    if options.fps and not takes_rate(text):
        raise InputError(
            f"a rate cannot be asked of {redact(text)}; it is for cameras, test:// and images"
        )


def _stream(scheme: str, text: str, options: SourceOptions, clock: Clock) -> Source:
    if scheme == "file":
        return _recording(Path(text.removeprefix("file://")), options)
    if scheme.lower() not in NETWORK:
        raise SourceError(f"{redact(text)}: scheme {scheme!r} is unknown; pass {_FORMS}")
    return network_stream(text, options=options, clock=clock)


def _recording(path: Path, options: SourceOptions | None = None) -> Recording:
    if not path.exists() and not is_images(str(path)):
        raise SourceError(f"{path} does not exist; pass {_FORMS}")
    return open_recording(path, fps=(options and options.fps) or 25.0)


def _replay(path: Path, clock: Clock) -> Replay:
    return Replay(path if (path / LIST_FILE).is_file() else _recording(path), clock=clock)


def _with_pyav(text: str, options: SourceOptions, clock: Clock) -> Source:
    from edge_tsm.sources.pyav import AvFile, AvStream

    if _SCHEME.match(text):
        return AvStream(text, options=options, clock=clock)
    return AvFile(Path(text))
