"""Generated video whose classes differ in time order only: the demo model's world.

A textured object or a hand-like blob, more or less upright, over a textured, noisy, drifting
background swipes, zooms or turns, or does nothing in particular. Place, size and angle of the
object have the same distribution in every class, frame by frame: what does not move stands still at
a random moment of a motion like the others. So a single frame says nothing about the class, and a
clip played backwards is of the opposite class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_tsm.datatypes import Image
from edge_tsm.errors import InputError

LABELS = (
    "swipe left",
    "swipe right",
    "swipe up",
    "swipe down",
    "zoom in",
    "zoom out",
    "turn clockwise",
    "turn counterclockwise",
    "nothing",
)
REVERSED = (1, 0, 3, 2, 5, 4, 7, 6, 8)  # the class of a clip played backwards
MIRRORED = (1, 0, 2, 3, 4, 5, 7, 6, 8)  # the class of a clip seen in a mirror

_NOTHING = LABELS.index("nothing")
_SPRITE_PX = 160
_PIVOT = np.array([0.5, 0.72]) * _SPRITE_PX  # turned and zoomed about here: a wrist, not a navel
Floats = NDArray[np.float64]
Mask = NDArray[np.uint8]  # (H, W), 0 to 255


def label_of(seed: int) -> int:
    """Return the class of clip `seed`: every run of nine seeds has every class once."""
    order = np.random.default_rng(seed // len(LABELS)).permutation(len(LABELS))
    return int(order[seed % len(LABELS)])


def generate(
    seed: int,
    *,
    label: int | None = None,
    times: Sequence[float] | int = 8,
    short_side_px: int = 128,
    plain: bool = False,
) -> Image:
    """Return one clip, (T, H, W, 3) uint8 BGR in 4:3, the same for the same arguments.

    Args:
        seed: chooses everything but the class; any natural number.
        label: index into LABELS; by default `label_of(seed)`.
        times: moments of the clip, 0 to 1, or a number of frames at the centers of equal parts.
        short_side_px: height of the pictures.
        plain: show a bright object over an almost even, dark ground, which is learned first.

    Raises:
        InputError: no such class.
    """
    label = label_of(seed) if label is None else label
    if not 0 <= label < len(LABELS):
        raise InputError(f"label is {label}; it must be 0 to {len(LABELS) - 1}")
    if isinstance(times, int):
        times = [(i + 0.5) / times for i in range(times)]
    scene = _Scene(np.random.default_rng((seed, 7919)), label, short_side_px, plain=plain)
    return np.stack([scene.frame(t) for t in times])


class _Scene:
    """Everything about a clip but time, and the picture at any time."""

    def __init__(
        self, random: np.random.Generator, label: int, short_side_px: int, *, plain: bool
    ) -> None:
        self._height, self._width = short_side_px, short_side_px * 4 // 3 // 2 * 2
        self._motion = _Motion.draw(random, label)
        self._camera = _Camera.draw(random)
        self._ground = _ground(random, self._width, self._height)
        self._sprite, self._mask = _sprite(random, self._ground)
        if plain:
            self._ground = _toned(self._ground, 25, contrast=0.08)
            self._sprite = _toned(self._sprite, 210, contrast=0.3)
        self._noise = np.random.default_rng(random.integers(1 << 62))

    def frame(self, t: float) -> Image:
        """Return the picture at time `t` (0 to 1), (H, W, 3) uint8 BGR."""
        camera, (height, width) = self._camera, (self._height, self._width)
        shake = camera.shake(t) * height
        drift = (np.asarray(self._ground.shape[1::-1]) - (width, height)) / 2
        offset = drift + camera.drift * (t - 0.5) * height + shake
        view = np.array([[1, 0, offset[0]], [0, 1, offset[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        image = cv2.warpAffine(self._ground, view, (width, height), flags=flags)
        pose = self._motion.pose(t, height, width)
        pose[:, 2] -= shake
        placed = cv2.warpAffine(self._sprite, pose, (width, height), flags=cv2.INTER_LINEAR)
        mask = cv2.warpAffine(self._mask, pose, (width, height), flags=cv2.INTER_LINEAR)
        alpha = mask.astype(np.float32)[..., None] / 255
        return camera.film(image + alpha * (placed.astype(np.float32) - image), t, self._noise)


@dataclass(frozen=True)
class _Motion:
    """Where the object is: x, y, log2 of size, angle in degrees, each `center + span * u(t)`.

    `u` runs from -1/2 to 1/2 for what moves and is constant for what does not.
    """

    center: Floats  # (4,)
    span: Floats  # (4,)
    still: Floats  # (4,) u of what stands still
    moving: int  # which of the four moves; -1 for none
    start: float
    end: float
    returns: bool
    wobble: Floats  # (4, 3) amplitude, frequency, phase

    @classmethod
    def draw(cls, random: np.random.Generator, label: int) -> _Motion:
        """Draw a motion of class `label`."""
        returns = label == _NOTHING and random.random() < 0.5
        moving = int(random.integers(4)) if returns else -1
        signs = np.where(random.random(4) < 0.5, -1.0, 1.0)
        if label != _NOTHING:
            moving = label // 2
            # Pictures have y downwards and a turn clockwise is a positive angle there.
            signs[moving] = (-1, 1, -1, 1, 1, -1, 1, -1)[label]
        start, end = random.uniform(0, 0.3), random.uniform(0.7, 1)
        moment = _progress(random.uniform(0, 1, 4), start, end) - 0.5
        spans = random.uniform((0.35, 0.3, 0.7, 80), (0.7, 0.6, 1.4, 170))
        return cls(
            center=random.uniform((-0.08, 0.02, 0, -30), (0.08, 0.18, 0, 30)),
            span=signs * spans,
            still=moment,
            moving=moving,
            start=start,
            end=end,
            returns=returns,
            wobble=np.stack(
                [
                    random.uniform(0, (0.012, 0.012, 0.05, 4)),
                    random.uniform(0.5, 2.5, 4),
                    random.uniform(0, 2 * np.pi, 4),
                ],
                axis=1,
            ),
        )

    def pose(self, t: float, height: int, width: int) -> Floats:
        """Return the (2, 3) map from the sprite's pixels to the picture's."""
        u = self.still.copy()
        if self.moving >= 0:
            moment = 1 - abs(2 * t - 1) if self.returns else t
            u[self.moving] = _progress(np.array(moment), self.start, self.end) - 0.5
        amplitude, frequency, phase = self.wobble.T
        wobble = amplitude * np.sin(2 * np.pi * frequency * t + phase)
        x, y, log_size, angle = self.center + self.span * u + wobble
        scale = 0.58 * height * 2**log_size / _SPRITE_PX
        turn = scale * np.array(
            [
                [np.cos(np.radians(angle)), -np.sin(np.radians(angle))],
                [np.sin(np.radians(angle)), np.cos(np.radians(angle))],
            ]
        )
        middle = np.array([width / 2 + x * height, height / 2 + y * height])
        return np.column_stack([turn, middle - turn @ _PIVOT])


def _progress(t: Floats, start: float, end: float) -> Floats:
    """Return how far a motion has come at `t`: 0 before `start`, 1 after `end`, smooth between."""
    x = np.clip((t - start) / (end - start), 0, 1)
    result: Floats = 0.5 * x + 0.5 * x * x * (3 - 2 * x)
    return result


@dataclass(frozen=True)
class _Camera:
    """What the camera adds: drift and shake, light, defocus, sensor noise, compression."""

    drift: Floats  # (2,) picture heights per clip
    shakes: Floats  # (2, 3) amplitude, frequency, phase
    gain: float
    fading: float
    blur_px: float  # of a picture 128 pixels high
    noise: float
    quality: int

    @classmethod
    def draw(cls, random: np.random.Generator) -> _Camera:
        """Draw a camera."""
        return cls(
            drift=random.uniform(-0.15, 0.15, 2),
            shakes=np.stack(
                [
                    random.uniform(0, 0.015, 2),
                    random.uniform(1, 6, 2),
                    random.uniform(0, 2 * np.pi, 2),
                ],
                axis=1,
            ),
            gain=random.uniform(0.7, 1.2),
            fading=random.uniform(-0.25, 0.25),
            blur_px=random.uniform(0, 0.9),
            noise=random.uniform(0, 8),
            quality=int(random.integers(35, 96)),
        )

    def shake(self, t: float) -> Floats:
        """Return the picture's displacement in picture heights, (2,)."""
        amplitude, frequency, phase = self.shakes.T
        result: Floats = amplitude * np.sin(2 * np.pi * frequency * t + phase)
        return result

    def film(self, image: NDArray[np.float32], t: float, noise: np.random.Generator) -> Image:
        """Return what the camera delivers of an (H, W, 3) scene."""
        image = image * np.float32(self.gain * (1 + self.fading * (t - 0.5)))
        sigma = self.blur_px * image.shape[0] / 128
        if sigma > 0.3:
            image = cv2.GaussianBlur(image, (0, 0), sigma)
        image = image + np.float32(self.noise) * noise.standard_normal(image.shape, np.float32)
        clipped = np.clip(image, 0, 255).astype(np.uint8)
        _, packed = cv2.imencode(".jpg", clipped, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


def _ground(random: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """Return a background with room to drift, (H, W, 3) float32: noise of two scales, shapes."""
    margin = round(0.15 * height)
    size = (width + 2 * margin, height + 2 * margin)
    image = _texture(random, size, coarse=int(random.integers(3, 9)))
    for _ in range(int(random.integers(2, 7))):
        corner, extent = random.uniform(0, 1, 2) * size, random.uniform(0.05, 0.35, 2) * height
        box = np.array([corner, corner + extent], np.int32)
        color = tuple(map(float, random.uniform(20, 235, 3)))
        if random.random() < 0.5:
            cv2.rectangle(image, box[0].tolist(), box[1].tolist(), color, -1)
        else:
            cv2.line(image, box[0].tolist(), box[1].tolist(), color, int(random.integers(1, 6)))
    return image


def _texture(
    random: np.random.Generator, size: tuple[int, int], *, coarse: int
) -> NDArray[np.float32]:
    """Return (H, W, 3) float32: a color, coarse and fine noise, sometimes stripes."""
    base, grayness = random.uniform(50, 200, 3), random.uniform(0, 1)
    large = _grayed(random.uniform(-50, 50, (coarse, coarse, 3)), grayness)
    small = _grayed(random.uniform(-20, 20, (coarse * 6, coarse * 6, 3)), grayness)
    base = base + grayness * (base.mean() - base)
    image: NDArray[np.float32] = cv2.resize(large, size, interpolation=cv2.INTER_CUBIC)
    image += cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)
    if random.random() < 0.4:
        y, x = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
        direction, period = random.uniform(0, np.pi), random.uniform(6, 30)
        wave = np.sin((x * np.cos(direction) + y * np.sin(direction)) * 2 * np.pi / period)
        image += np.float32(random.uniform(10, 40)) * wave[..., None]
    clipped: NDArray[np.float32] = np.clip(image + base, 0, 255).astype(np.float32)
    return clipped


def _grayed(noise: Floats, grayness: float) -> NDArray[np.float32]:
    """Return (h, w, 3) noise moved towards its gray: few real surfaces have a color per spot."""
    gray = noise.mean(2, keepdims=True)
    result: NDArray[np.float32] = (noise + grayness * (gray - noise)).astype(np.float32)
    return result


def _sprite(
    random: np.random.Generator, ground: NDArray[np.float32]
) -> tuple[NDArray[np.float32], Mask]:
    """Return the object's texture, (S, S, 3) float32, and its mask, (S, S)."""
    mask = _hand(random) if random.random() < 0.5 else _blob(random)
    image = _texture(random, (_SPRITE_PX, _SPRITE_PX), coarse=int(random.integers(2, 5)))
    # Seen at all: its mean color keeps away from the background's.
    behind, own = ground.mean((0, 1)), image.mean((0, 1))
    away = own - behind
    distance = float(np.linalg.norm(away))
    if distance < 90:
        direction = away / distance if distance > 1 else np.full(3, 3**-0.5)
        if float((behind + 90 * direction).max()) > 245 or float(behind.mean()) > 150:
            direction = -np.abs(direction)
        image += (behind + 90 * direction - own).astype(np.float32)
    return np.clip(image, 0, 255), mask


def _toned(image: NDArray[np.float32], mean: float, *, contrast: float) -> NDArray[np.float32]:
    """Return the picture with another mean and a share of its contrast."""
    toned: NDArray[np.float32] = np.clip(mean + contrast * (image - image.mean()), 0, 255)
    return toned


def _hand(random: np.random.Generator) -> Mask:
    """Return a palm with three to five fingers to one side."""
    mask, middle = np.zeros((_SPRITE_PX, _SPRITE_PX), np.uint8), _SPRITE_PX // 2
    palm = random.uniform(0.14, 0.2, 2) * _SPRITE_PX
    center = (middle, middle + int(0.24 * _SPRITE_PX))
    cv2.ellipse(mask, center, palm.astype(int).tolist(), 0, 0, 360, 255, -1)
    fingers = int(random.integers(3, 6))
    width = int(random.uniform(0.08, 0.12) * _SPRITE_PX)
    for angle in np.linspace(-35, 35, fingers) + random.uniform(-6, 6, fingers):
        length = random.uniform(0.5, 0.68) * _SPRITE_PX
        tip = np.array([np.sin(np.radians(angle)), -np.cos(np.radians(angle))]) * length
        cv2.line(mask, center, (center + tip).astype(int).tolist(), 255, width)
    return mask


def _blob(random: np.random.Generator) -> Mask:
    """Return a polygon with one corner that stands far out, upwards."""
    mask, corners = np.zeros((_SPRITE_PX, _SPRITE_PX), np.uint8), int(random.integers(4, 9))
    angles = (np.arange(corners) + random.uniform(-0.25, 0.25, corners)) * 2 * np.pi / corners
    radii = random.uniform(0.12, 0.26, corners) * _SPRITE_PX
    radii[0] = 0.6 * _SPRITE_PX
    points = np.stack([np.sin(angles) * radii, 0.12 * _SPRITE_PX - np.cos(angles) * radii], 1)
    cv2.fillPoly(mask, [(points + _SPRITE_PX / 2).astype(np.int32)], 255)
    return mask
