"""The card: the contract between the converters and the runtime (schema 3).

It says what a model is, what it must be fed, what it answers and what was proven. The same JSON
is in `card.json` of a bundle and, without its `files` and `verification` parts (a file cannot
hold its own checksum), inside every artifact, so that a single `.onnx` or `.xml` still loads.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from edge_tsm.bundle.schema import Note, decode, json_schema
from edge_tsm.datatypes import Activation as Activation
from edge_tsm.errors import CardError
from edge_tsm.system.files import read_bounded

SCHEMA = 3
CARD_FILE = "card.json"
GOLDEN_FILE = "golden.npz"
METADATA_KEY = "edge_tsm.card"  # ONNX metadata_props key; IR rt_info path is ("edge_tsm", "card")
TARGET_KEY = "edge_tsm.target"  # the same, where the file is for one target alone

MOST_BYTES = 1 << 26  # of a card: 10,000 long labels take one
MOST_NUMBERS = 1 << 29  # of a tensor: 2 GiB
LARGEST_PX, LONGEST_S, FASTEST_FPS, LONGEST_HORIZON = 16_384, 3600.0, 1000, 100_000
_FILE_NAME = re.compile(r"(?!\.{1,2}\Z)[^/\\\x00-\x1f]{1,255}")
# Bounds the memory of a run where the graph takes any number of clips: 16 of 8 frames are 77 MB of
# input, and some hundred on the way through.
MOST_AT_ONCE = 16

Scalar = str | int | float | bool
Precision = Literal["f32", "f16", "int8"]
Target = Literal["any", "tensorrt"]


@dataclass(frozen=True)
class Sampling:
    """How `segments` frames are taken from a clip (`rule`) or from a live stream (seconds).

    `interval` frames lie between two of them, in videos of `fps` frames a second, or, where that is
    None, in any video; without an interval they are spread over the whole clip.
    """

    rule: str
    segments: int
    window_s: float
    every_s: float
    interval: int | None
    fps: float | None


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

    `crop_offset` is how half a pixel goes, and three crops lie: to even (torchvision, PaddleVideo's
    TSM, pytorchvideo), down (mmaction2, transformers, PaddleVideo's TimeSformer) or up (PySlowFast,
    TimeSformer).
    """

    color: Literal["rgb", "bgr"]
    resize: Resize
    crop_px: int
    crop_offset: Literal["even", "floor", "ceil"]
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Input:
    """The input tensor: a clip, or one frame of an online model; see `Card.layout`.

    With `dynamic_batch` the first number of `shape` is 1 and the graph takes any.

    >>> Input("clip", (4, 24, 224, 224), "float32", dynamic_batch=False).rows(3)
    4
    >>> Input("clip", (1, 24, 224, 224), "float32", dynamic_batch=True).rows(3)
    3
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32"]
    dynamic_batch: bool

    @property
    def form(self) -> str:
        """The shape as text, N for a batch of any size."""
        return "x".join(
            ["N" if self.dynamic_batch else str(self.shape[0]), *map(str, self.shape[1:])]
        )

    @property
    def most(self) -> int:
        """The most clips (or frames of as many videos) that are shown in one run."""
        return MOST_AT_ONCE if self.dynamic_batch else self.shape[0]

    def rows(self, count: int) -> int:
        """Return how many rows the graph takes where there are `count` clips to show."""
        return count if self.dynamic_batch else self.shape[0]


@dataclass(frozen=True)
class Output:
    """The output tensor; `activation` names what is still to be applied to get probabilities.

    With "sigmoid" each class has a probability of its own, and several may be on at once.
    """

    name: str
    activation: Activation


@dataclass(frozen=True)
class Cache:
    """One cache of an online model: fed as `input`, returned as `output`, zeros at reset."""

    input: str
    output: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Streaming:
    """How an online model is run: `fps` steps per second; an answer averages `horizon` steps.

    `caches` are its state, which is carried from one step to the next.
    """

    fps: float
    horizon: int
    caches: tuple[Cache, ...]


@dataclass(frozen=True)
class File:
    """One artifact; `parts` are further files it needs (name to SHA-256), as an IR its `.bin`.

    `also` are engines beside `engine` on which it was verified, with their versions. `target` is
    "tensorrt" for a form that other devices run slowly or, OpenVINO, wrongly. An artifact that is
    not `proven` was measured on too few clips to tell; it runs only where it is asked for by name.
    """

    path: str
    sha256: str
    precision: Precision
    engine: str
    engine_version: str
    parts: dict[str, str]
    also: dict[str, str]
    target: Target
    proven: bool

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
    An int8 file may lose 1 - `top1_required` of its answers on clips kept back from calibration,
    where flips within its noise are no loss; its `tolerance` is how far its golden answers may be
    from those it gave at conversion. `cosine` is of logits without their mean over classes.
    """

    clips: int
    max_abs_diff: float
    max_rel_diff: float
    tolerance: float
    cosine: float
    top1_agreement: float
    top5_agreement: float
    top1_required: float


@dataclass(frozen=True)
class Card:
    """Everything the runtime needs to know about a model.

    `family` is the kind of network ("resnet", "mobilenet", …), `arch` holds facts about it, for
    people to read. An online model, which takes one frame at a time, has `streaming`.

    >>> import edge_tsm.demo
    >>> card = Card.read(edge_tsm.demo.bundle())
    >>> card.name, card.family, card.online, card.input.shape
    ('demo', 'mobilenet', False, (1, 24, 224, 224))
    """

    schema: Annotated[int, Note(const=SCHEMA)]
    name: str
    labels: tuple[str, ...]
    family: str
    arch: dict[str, Scalar]
    sampling: Sampling
    preprocess: Preprocess
    input: Input
    output: Output
    streaming: Streaming | None
    files: dict[str, File]
    provenance: Provenance
    verification: dict[str, Verification]

    @property
    def online(self) -> bool:
        """Whether the model takes one frame at a time, and carries state."""
        return self.streaming is not None

    @property
    def state(self) -> tuple[Cache, ...]:
        """The caches of an online model; none of a model of clips."""
        return self.streaming.caches if self.streaming else ()

    @property
    def layout(self) -> str:
        """The axes of the input: of one frame, or of a clip with channel `t*3 + c`."""
        return "NCHW" if self.online else "N(T*C)HW"

    def to_json(self) -> str:
        """Return the card as indented JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False, allow_nan=False)

    def embedded(self) -> str:
        """Return the compact JSON that goes into an artifact: no `files`, no `verification`."""
        card = dataclasses.replace(self, files={}, verification={})
        return json.dumps(
            dataclasses.asdict(card), ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Card:
        """Read a card strictly; `where` names its origin in errors.

        Raises:
            CardError: not JSON, a newer schema, or a missing, unknown or ill-typed key.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CardError(f"{where}: not JSON ({error}); convert the checkpoint again") from error
        found = data.get("schema") if isinstance(data, dict) else None
        if type(found) is not int or not 1 <= found <= SCHEMA:
            raise CardError(
                f"{where}: card schema {found!r}, this edge-tsm reads 1 to {SCHEMA}; "
                "convert again or install the matching edge-tsm"
            )
        if found < SCHEMA:
            from edge_tsm.bundle.upgrades import upgraded  # few cards need it

            data = upgraded(data, where)
        card = decode(cls, data, where, path="card")
        for problem in card._problems():
            raise CardError(f"{where}: card.{problem}")
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
            text = read_bounded(path, MOST_BYTES).decode()
        except (OSError, ValueError) as error:
            raise CardError(f"{bundle}: no readable {CARD_FILE} ({error}); not a bundle") from error
        return cls.from_json(text, where=str(path))

    def _problems(self) -> Iterator[str]:
        """Yield what contradicts itself, or asks for what this version does not have."""
        if not self.labels:
            yield "labels: there are none"
        yield from self._preprocess_problems()
        yield from self._input_problems()
        if self.streaming is not None:
            yield from self._streaming_problems(self.streaming)
        yield from self._file_problems()
        if self.files.keys() != self.verification.keys():
            yield "verification: does not cover files"

    def _file_problems(self) -> Iterator[str]:
        for key, file in self.files.items():
            if key != file.path:
                yield f"files: {key!r} has the path {file.path!r}; they must be equal"
            for name in (file.path, *file.parts):
                if not _FILE_NAME.fullmatch(name):
                    yield f"files: {name!r} lies outside the bundle, or is no name of a file"

    def _preprocess_problems(self) -> Iterator[str]:
        spec, times = self.preprocess, (self.sampling.window_s, self.sampling.every_s)
        if not all(map(math.isfinite, (*spec.mean, *spec.std, spec.scale, *times))):
            yield "preprocess and sampling: not finite"
        if 0 in spec.std:
            yield "preprocess.std: 0"
        if spec.crop_px > spec.resize.short_side_px:
            yield f"preprocess.crop_px: {spec.crop_px} exceeds the resized side"
        if not 0 < min(times) <= max(times) <= LONGEST_S:
            yield f"sampling: window_s and every_s go from more than 0 to {LONGEST_S:g} s"
        if not 0 < spec.crop_px <= spec.resize.short_side_px <= LARGEST_PX:
            yield f"preprocess: sides go from 1 to {LARGEST_PX} pixels"
        yield from self._sampling_problems()

    def _sampling_problems(self) -> Iterator[str]:
        segments, interval, fps = (
            self.sampling.segments,
            self.sampling.interval,
            self.sampling.fps,
        )
        if segments < 1:
            yield f"sampling.segments: {segments} is less than 1"
        if interval is not None and not 0 < interval <= LONGEST_HORIZON:
            yield f"sampling.interval: {interval} is not from 1 to {LONGEST_HORIZON}"
        if fps is not None and not 0 < fps <= FASTEST_FPS:
            yield f"sampling.fps: {fps} is not more than 0 and at most {FASTEST_FPS}"

    def _input_problems(self) -> Iterator[str]:
        shape, size = self.input.shape, self.preprocess.crop_px
        frames = 1 if self.online else self.sampling.segments
        if shape[1:] != (frames * 3, size, size):
            yield f"input.shape: {shape} is not N x {(frames * 3, size, size)}"
        if shape[:1] < (1,):
            yield f"input.shape: {shape} has no batch"
        elif self.input.dynamic_batch and shape[0] != 1:
            yield f"input.shape: {shape} has a batch, though dynamic_batch says any"
        for name, tensor in [("input", shape), *((c.input, c.shape) for c in self.state)]:
            if min(tensor, default=1) < 1 or math.prod(tensor) > MOST_NUMBERS:
                yield f"{name}: {tensor} is no shape, or more than {MOST_NUMBERS:,} numbers"

    def _streaming_problems(self, streaming: Streaming) -> Iterator[str]:
        names = [self.input.name, self.output.name]
        names += [name for cache in streaming.caches for name in (cache.input, cache.output)]
        if not streaming.caches:
            yield "streaming.caches: there are none"
        if len(set(names)) != len(names):
            yield "streaming.caches: duplicate name of a tensor"
        if {cache.shape[:1] for cache in streaming.caches} - {self.input.shape[:1]}:
            yield "streaming.caches: batch is not the input's"
        if not (0 < streaming.fps <= FASTEST_FPS and 0 < streaming.horizon <= LONGEST_HORIZON):
            yield f"streaming: fps goes to {FASTEST_FPS}, horizon from 1 to {LONGEST_HORIZON}"


def card_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a card; `card.schema.json` beside this file holds it."""
    return json_schema(Card, uri="https://edge-tsm/card.schema.json")


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
