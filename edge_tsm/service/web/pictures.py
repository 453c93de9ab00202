"""Pictures of cameras as JPEGs: made when somebody waits for one, once for all who do."""

from __future__ import annotations

import io
import json
import math
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image as PilImage

from edge_tsm.datatypes import Color, Image
from edge_tsm.errors import SinkError, SourceError
from edge_tsm.system.opencv import opencv

PICTURE, SEEN = 1, 2  # a camera's picture; the crops that the model saw
SIDES_PX = (640, 480, 320)  # of a picture's longer side: smaller where clients are slow
QUALITY = 75
PERIOD_S = 0.085  # ten a second: a little less than a tenth, for a camera's jitter to matter not
COLUMNS = 8
_HEAD = struct.Struct("!BBHId")


@dataclass(frozen=True)
class Key:
    """What a picture is of, and its size; that of what the model saw is the model's."""

    kind: int
    camera: str
    side_px: int = SIDES_PX[0]


@dataclass(frozen=True, eq=False)
class Picture:
    """A JPEG of a camera, taken at `utc_s` (seconds since 1970, NaN where nobody knows).

    >>> Picture(Key(PICTURE, "porch"), 1.5, b"jpeg").message(7)[16:]
    b'porchjpeg'
    """

    key: Key
    utc_s: float
    jpeg: bytes
    facts: dict[str, Any] = field(default_factory=dict)

    def message(self, number: int) -> bytes:
        """Return it as a message of the socket, to be acknowledged by its number."""
        name = self.key.camera.encode()
        facts = json.dumps(self.facts).encode() if self.facts else b""
        head = _HEAD.pack(self.key.kind, len(name), len(facts), number, self.utc_s)
        return b"".join((head, name, facts, self.jpeg))


class Studio:
    """Makes pictures while someone wants them; `want` is for any thread, the rest for one.

    Args:
        deliver: takes what is made.
        now: the time by which not more than ten a second of each kind, camera and size are made.
    """

    def __init__(
        self, deliver: Callable[[Picture], None], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._deliver, self._now = deliver, now
        self._wanted = set[Key]()
        self._made_s: dict[Key, float] = {}
        self.encodes, self.encode_ms = 0, 0.0

    def want(self, key: Key) -> None:
        """Ask for the next picture."""
        self._wanted.add(key)

    def forget(self, key: Key) -> None:
        """Ask for it no more."""
        self._wanted.discard(key)

    def due(self, kind: int, camera: str) -> list[Key]:
        """Return what is to be made now, a key for each size."""
        now_s = self._now()
        return [
            key
            for key in tuple(self._wanted)
            if (key.kind, key.camera) == (kind, camera)
            and now_s - self._made_s.get(key, -math.inf) >= PERIOD_S
        ]

    def show(self, key: Key, image: Image, utc_s: float) -> None:
        """Make and deliver a camera's picture, (H, W, 3) uint8 BGR."""
        self._make(key, lambda: encode(image, longest_px=key.side_px), utc_s, {})

    def show_seen(
        self, key: Key, crops: Sequence[Image], utc_s: float, *, color: Color, **facts: Any
    ) -> None:
        """Make and deliver the crops that the model saw, side by side, oldest first."""
        size_px = crops[0].shape[0]
        columns = min(len(crops), COLUMNS)
        rows = -(-len(crops) // columns)
        form = {"count": len(crops), "width": size_px, "height": size_px, "rows": rows}
        self._make(
            key,
            lambda: encode(_sheet(crops, columns), color=color, longest_px=None),
            utc_s,
            form | {"columns": columns, **facts},
        )

    def _make(
        self, key: Key, encoded: Callable[[], bytes], utc_s: float, facts: dict[str, Any]
    ) -> None:
        self._wanted.discard(key)
        self._made_s[key] = self._now()
        started = time.perf_counter()
        jpeg = encoded()
        self.encodes += 1
        took_ms = (time.perf_counter() - started) * 1000
        self.encode_ms += (took_ms - self.encode_ms) / min(self.encodes, 100)
        self._deliver(Picture(key, utc_s, jpeg, facts))


def encode(image: Image, *, color: Color = "bgr", longest_px: int | None = SIDES_PX[0]) -> bytes:
    """Return a picture, (H, W, 3) uint8, as a JPEG with a longer side of `longest_px` at most.

    OpenCV takes a fifth of Pillow's time, and is there where cameras are; else Pillow does it.

    Raises:
        SinkError: it is no such picture.

    >>> encode(np.zeros((720, 1280, 3), np.uint8))[:2].hex()
    'ffd8'
    """
    height, width = image.shape[:2]
    share = min((longest_px or math.inf) / max(width, height), 1.0)
    size = (max(round(width * share), 1), max(round(height * share), 1))
    try:
        cv2 = opencv()
    except SourceError:
        return _encode_by_pillow(image, size, color)
    try:
        if share < 1:
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        if color == "rgb":
            image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        jpeg: bytes = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    except cv2.error as error:
        raise SinkError(f"a picture of shape {image.shape} cannot be encoded ({error})") from error
    return jpeg


def _encode_by_pillow(image: Image, size: tuple[int, int], color: Color) -> bytes:
    picture = PilImage.fromarray(image).resize(size, PilImage.Resampling.BILINEAR, reducing_gap=2.0)
    if color == "bgr":
        picture = PilImage.merge("RGB", picture.split()[::-1])
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def _sheet(crops: Sequence[Image], columns: int) -> Image:
    """Return crops of one size in rows, what is left of the last one black."""
    side = crops[0].shape[0]
    rows = -(-len(crops) // columns)
    sheet = np.zeros((rows * side, columns * side, 3), np.uint8)
    for place, crop in enumerate(crops):
        top, left = place // columns * side, place % columns * side
        sheet[top : top + side, left : left + side] = crop
    return sheet
