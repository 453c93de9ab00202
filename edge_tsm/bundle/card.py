"""The card: the contract between the converters and the runtime (schema 1).

It says what a model is, what it must be fed, what it answers and what was proven. The same JSON
stands in `card.json` of a bundle and, without its `files` and `verification` parts (a file cannot
hold its own checksum), inside every artifact, so that a single `.onnx` or `.xml` still loads.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from edge_tsm.errors import CardError

SCHEMA = 1
CARD_FILE = "card.json"
GOLDEN_FILE = "golden.npz"
METADATA_KEY = "edge_tsm.card"  # ONNX metadata_props key; IR rt_info path is ("edge_tsm", "card")
TARGET_KEY = "edge_tsm.target"  # the same, where the file is for one target alone

Scalar = str | int | float | bool
Precision = Literal["f32", "f16", "int8"]
Engine = str
Target = Literal["any", "tensorrt"]


@dataclass(frozen=True)
class Sampling:
    """How `segments` frames are taken from a clip (`rule`) or from a live stream (seconds)."""

    rule: str
    segments: int
    window_s: float
    every_s: float


@dataclass(frozen=True)
class Resize:
    """Resize of the shorter side.

    `antialias` is what Pillow and torchvision do by default, and OpenCV does not; `aspect` 4:3
    squashes every picture to that shape (PaddleVideo's `fixed_ratio`), in its own orientation;
    `long_side` is how that side's fraction of a pixel goes.
    """

    short_side_px: int
    filter: Literal["bilinear"]
    antialias: bool
    aspect: Literal["keep", "4:3"]
    long_side: Literal["truncate", "round"]


@dataclass(frozen=True)
class Preprocess:
    """Resize, center crop, color order, `x * scale`, then `(x - mean) / std` per channel.

    `crop_offset` is how half a pixel goes: to even (torchvision, PaddleVideo) or down (mmaction2).
    """

    color: Literal["rgb", "bgr"]
    resize: Resize
    crop_px: int
    crop_offset: Literal["even", "floor"]
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Input:
    """The input tensor: a clip, or one frame (`NCHW`) of an online model.

    Layout `N(T*C)HW` has channel index `t*3 + c`, color fastest.
    """

    name: str
    shape: tuple[int, ...]
    layout: Literal["N(T*C)HW", "NCHW"]
    dtype: Literal["float32"]


@dataclass(frozen=True)
class Output:
    """The output tensor; `activation` names what is still to be applied to get probabilities."""

    name: str
    activation: Literal["softmax"]


@dataclass(frozen=True)
class State:
    """One cache of an online model: fed as `input`, returned as `output`, zeros at reset."""

    input: str
    output: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Streaming:
    """How an online model is run: `fps` steps per second; an answer averages `horizon` steps."""

    fps: float
    horizon: int


@dataclass(frozen=True)
class File:
    """One artifact; `parts` are further files it needs (name to SHA-256), as an IR its `.bin`.

    `also` are engines beside `engine` on which it was verified, with their versions. `target` is
    "tensorrt" for a form that other devices run slowly or, OpenVINO, wrongly.
    """

    path: str
    sha256: str
    precision: Precision
    engine: Engine
    engine_version: str
    parts: dict[str, str]
    also: dict[str, str]
    target: Target

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines on which the artifact was verified, its own first."""
        return (self.engine, *self.also)


@dataclass(frozen=True)
class Provenance:
    """Where the model came from: checkpoint checksum, source of each fact, tool versions."""

    checkpoint_sha256: str
    inferred: dict[str, str]
    tools: dict[str, str]


@dataclass(frozen=True)
class Verification:
    """What was measured against the torch reference, and the tolerance that was enforced.

    `max_abs_diff` is in logits; `tolerance` and `max_rel_diff` are relative to the logit range.
    An int8 file is held to `top1_required` on clips kept back from calibration; its `tolerance` is
    how far its golden answers may be from those it gave at conversion.
    """

    clips: int
    max_abs_diff: float
    max_rel_diff: float
    tolerance: float
    cosine: float
    top1_agreement: float
    top5_agreement: float
    top1_required: float = 0.0


@dataclass(frozen=True)
class Card:
    """Everything the runtime needs to know about a model; see the module docstring."""

    schema: int
    name: str
    labels: tuple[str, ...]
    arch: dict[str, Scalar]
    sampling: Sampling
    preprocess: Preprocess
    input: Input
    output: Output
    state: tuple[State, ...]
    streaming: Streaming | None
    files: dict[str, File]
    provenance: Provenance
    verification: dict[str, Verification]

    @property
    def online(self) -> bool:
        """Whether the model takes one frame at a time, and carries state."""
        return self.streaming is not None

    def to_json(self) -> str:
        """Return the card as indented JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False)

    def embedded(self) -> str:
        """Return the compact JSON that goes into an artifact: no `files`, no `verification`."""
        card = dataclasses.replace(self, files={}, verification={})
        return json.dumps(dataclasses.asdict(card), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Card:
        """Read a card strictly; `where` names its origin in errors.

        Raises:
            CardError: not JSON, another schema, or a missing, unknown or ill-typed key.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CardError(f"{where}: not JSON ({error}); convert the checkpoint again") from error
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            found = data.get("schema") if isinstance(data, dict) else None
            raise CardError(
                f"{where}: card schema {found!r}, this edge-tsm reads {SCHEMA}; "
                "convert again or install the matching edge-tsm"
            )
        card: Card = _decode(cls, data, f"{where}: card")
        card._check(where)
        return card

    @classmethod
    def read(cls, bundle: Path) -> Card:
        """Read `card.json` of a bundle folder.

        Raises:
            CardError: no card there, or not a valid one.
        """
        if bundle.is_file():
            raise CardError(f"{bundle} is a file; pass the bundle folder")
        path = bundle / CARD_FILE
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CardError(f"{bundle}: no readable {CARD_FILE} ({error}); not a bundle") from error
        return cls.from_json(text, where=str(path))

    def _check(self, where: str) -> None:
        """Refuse a card whose parts contradict each other, or that asks for what is not here."""
        spec, size = self.preprocess, self.preprocess.crop_px
        numbers = (*spec.mean, *spec.std, spec.scale, self.sampling.window_s, self.sampling.every_s)
        names = [name for file in self.files.values() for name in (file.path, *file.parts)]
        strangers = [name for name in names if Path(name).name != name]
        shape = (3 if self.online else self.sampling.segments * 3, size, size)
        rules = {
            "labels: there are none": not self.labels,
            "preprocess and sampling: not finite": not all(map(math.isfinite, numbers)),
            "preprocess.std: 0": 0 in spec.std,
            f"preprocess.crop_px: {size} exceeds the resized side": size
            > spec.resize.short_side_px,
            "sampling: window_s > 0 and every_s > 0 are needed": min(numbers[-2:]) <= 0,
            f"input.shape: {self.input.shape} is not N x {shape}": self.input.shape[1:] != shape,
            f"input.shape: {self.input.shape} has no batch": self.input.shape[:1] < (1,),
            **self._online_rules(),
            f"files: {strangers[:1]} lies outside the bundle": bool(strangers),
            "verification: does not cover files": self.files.keys() != self.verification.keys(),
        }
        for told, broken in rules.items():
            if broken:
                raise CardError(f"{where}: card.{told}")

    def _online_rules(self) -> dict[str, bool]:
        """Return what an online card breaks, or a clip card with parts of an online one."""
        mode = self.arch.get("mode") == "online"
        layout = self.input.layout == "NCHW"
        names = [self.input.name, self.output.name]
        names += [name for cache in self.state for name in (cache.input, cache.output)]
        batches = {cache.shape[:1] for cache in self.state}
        stream = self.streaming or Streaming(1.0, 1)
        return {
            "arch.mode, input.layout, state, streaming: some say online, some do not": len(
                {self.online, mode, layout, bool(self.state)}
            )
            > 1,
            "state: a name stands twice": len(set(names)) != len(names),
            "state: batch is not the input's": bool(batches - {self.input.shape[:1]}),
            "streaming: fps > 0 and horizon > 0 are needed": not (
                0 < stream.fps < math.inf and stream.horizon > 0
            ),
        }


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _decode(kind: Any, value: Any, where: str) -> Any:
    """Turn parsed JSON into `kind` (a dataclass or typing form), naming the key that is wrong."""
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return _one_of(args, value, where)
    if origin is dict:
        items = _expect(value, Mapping, where).items()
        return {key: _decode(args[1], item, f"{where}.{key}") for key, item in items}
    if origin is tuple:
        return _decode_tuple(args, value, where)
    if origin is types.UnionType:
        return _decode_union(args, value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, bool):
        raise CardError(f"{where} is {value!r}, expected int")
    return _expect(value, kind, where)


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    data = _expect(value, Mapping, where)
    hints = get_type_hints(kind)
    for key in sorted(data.keys() ^ hints.keys()):
        raise CardError(f"{where}.{key} is {'unknown' if key in data else 'missing'}")
    return kind(**{key: _decode(hint, data[key], f"{where}.{key}") for key, hint in hints.items()})


def _decode_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if args[-1] is types.NoneType:
        return None if value is None else _decode(args[0], value, where)
    return _expect(value, args, where)


def _decode_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    items = _expect(value, list, where)
    if args[-1] is not Ellipsis and len(items) != len(args):
        raise CardError(f"{where} has {len(items)} items, expected {len(args)}")
    return tuple(_decode(args[0], item, f"{where}[{i}]") for i, item in enumerate(items))


def _one_of(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    if value not in choices:
        raise CardError(f"{where} is {value!r}, this edge-tsm knows {', '.join(map(str, choices))}")
    return value


def _expect(value: Any, kind: Any, where: str) -> Any:
    if not isinstance(value, kind):
        raise CardError(f"{where} is {value!r:.60}, expected {_name(kind)}")
    return value


def _name(kind: Any) -> str:
    return " or ".join(map(_name, kind)) if isinstance(kind, tuple) else kind.__name__.lower()
