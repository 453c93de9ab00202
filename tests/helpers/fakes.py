"""Small real classes that stand in for engines and cameras."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from edge_tsm.bundle.card import (
    SCHEMA,
    Cache,
    Card,
    Input,
    Output,
    Preprocess,
    Provenance,
    Resize,
    Sampling,
    Streaming,
)
from edge_tsm.datatypes import Frame, Image, Tensor
from edge_tsm.live.capture import CaptureOptions
from edge_tsm.system.clock import VirtualClock


def make_card(
    *, segments: int = 8, classes: int = 3, batch: int = 1, dynamic: bool = False
) -> Card:
    return Card(
        schema=SCHEMA,
        name="fake",
        labels=tuple(f"label {i}" for i in range(classes)),
        family="none",
        arch={"backbone": "none", "segments": segments},
        sampling=Sampling("uniform", segments, 2.0, 0.5, interval=None, fps=None),
        preprocess=Preprocess(
            color="rgb",
            resize=Resize(256, "bilinear", True, "keep", "truncate"),
            crop_px=224,
            crop_offset="even",
            scale=1 / 255,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        ),
        input=Input("clip", (batch, segments * 3, 224, 224), "float32", dynamic_batch=dynamic),
        output=Output("logits", "softmax"),
        streaming=None,
        files={},
        provenance=Provenance("0" * 64, {"segments": "default"}, {"edge-tsm": "0"}),
        verification={},
    )


def make_online_card(
    *, fps: float = 10.0, horizon: int = 4, batch: int = 1, dynamic: bool = False
) -> Card:
    """A card for `FakeOnlineBackend`."""
    return dataclasses.replace(
        make_card(batch=batch, segments=4),
        input=Input("frame", (batch, 3, 224, 224), "float32", dynamic_batch=dynamic),
        streaming=Streaming(fps, horizon, (Cache("count", "next_count", (batch, 1, 1, 1)),)),
    )


class FakeOnlineBackend:
    """Answers with the mean of the frame, the number of frames since the reset, and their sum."""

    engine, device, card_text = "onnxruntime", "cpu", None

    def __init__(self, *, streams: int = 1) -> None:
        self.steps, self.streams = threading.Semaphore(0), streams

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.steps.release()
        means, counts = inputs["frame"].mean((1, 2, 3)), inputs["count"] + 1
        logits = np.stack([means, counts[:, 0, 0, 0], means + counts[:, 0, 0, 0]], axis=1)
        return {"logits": logits.astype(np.float32), "next_count": counts}

    def close(self) -> None:
        pass


class FakeBackend:
    """Answers with the mean, minimum and maximum of each clip."""

    engine, device, card_text = "onnxruntime", "cpu", None

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.closed = False

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        clips = inputs["clip"].reshape(len(inputs["clip"]), -1)
        self.batches.append(len(clips))
        logits = np.stack([clips.mean(1), clips.min(1), clips.max(1)], axis=1)
        return {"logits": logits.astype(np.float32)}

    def close(self) -> None:
        self.closed = True


class FakeCamera:
    """A live source that delivers given frames at their times, and then ends, or raises.

    `clock` is virtual; `options` go to the pipeline, for it to live in the same time. Where the
    frames' times run backwards they come a tenth of a second apart.
    """

    uri, live, fps = "fake camera", True, 25.0

    def __init__(self, frames: Iterable[Frame], error: Exception | None = None) -> None:
        self._frames, self._error = frames, error
        first = frames[:1] if isinstance(frames, list) else []
        self.clock = VirtualClock(first[0].time_s if first else 0.0)
        self.options = CaptureOptions(clock=self.clock)
        self._changed = self.clock.condition()
        self.closed = False

    def __iter__(self) -> Iterator[Frame]:
        shift_s, before_s = 0.0, -1e9
        for frame in self._frames:
            if frame.time_s < before_s:
                shift_s += before_s - frame.time_s + 0.1
            before_s = frame.time_s
            with self._changed:
                while not self.closed and frame.time_s + shift_s > self.clock.now():
                    self._changed.wait(frame.time_s + shift_s - self.clock.now())
            if self.closed:
                return
            yield frame
        if self._error:
            raise self._error

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify_all()


def frames_at(times_s: Iterable[float], size: tuple[int, int] = (240, 320)) -> list[Frame]:
    """Frames of one gray level each, their index as the level."""
    return [
        Frame(np.full((*size, 3), i % 256, np.uint8), i, time_s) for i, time_s in enumerate(times_s)
    ]


def random_pictures(count: int) -> list[Image]:
    """Noise of one size, the same for every `count`."""
    generator = np.random.default_rng(count)
    return [generator.integers(0, 256, (240, 320, 3), dtype=np.uint8) for _ in range(count)]
