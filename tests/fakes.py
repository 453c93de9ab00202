"""Small real classes that stand in for engines and cameras."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from edge_tsm.card import (
    Card,
    Input,
    Output,
    Preprocess,
    Provenance,
    Resize,
    Sampling,
    State,
    Streaming,
)
from edge_tsm.datatypes import Frame, Tensor


def make_card(*, segments: int = 8, classes: int = 3, batch: int = 1) -> Card:
    return Card(
        schema=1,
        name="fake",
        labels=tuple(f"label {i}" for i in range(classes)),
        arch={"backbone": "none", "segments": segments},
        sampling=Sampling("uniform", segments, window_s=2.0, every_s=0.5),
        preprocess=Preprocess(
            color="rgb",
            resize=Resize(256, "bilinear", True, "keep", "truncate"),
            crop_px=224,
            crop_offset="even",
            scale=1 / 255,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        ),
        input=Input("clip", (batch, segments * 3, 224, 224), "N(T*C)HW", "float32"),
        output=Output("logits", "softmax"),
        state=(),
        streaming=None,
        files={},
        provenance=Provenance("0" * 64, {"segments": "default"}, {"edge-tsm": "0"}),
        verification={},
    )


def make_online_card(*, fps: float = 10.0, horizon: int = 4, batch: int = 1) -> Card:
    """A card for `FakeOnlineBackend`."""
    return dataclasses.replace(
        make_card(batch=batch, segments=4),
        arch={"backbone": "none", "mode": "online"},
        input=Input("frame", (batch, 3, 224, 224), "NCHW", "float32"),
        state=(State("count", "next_count", (batch, 1, 1, 1)),),
        streaming=Streaming(fps, horizon),
    )


class FakeOnlineBackend:
    """Answers with the mean of the frame, the number of frames since the reset, and their sum."""

    engine, device, card_text = "onnxruntime", "cpu", None

    def __init__(self) -> None:
        self.steps = threading.Semaphore(0)

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
    """A live source that delivers given frames and then ends, or raises."""

    uri, live, fps = "fake camera", True, 25.0

    def __init__(self, frames: Iterable[Frame], error: Exception | None = None) -> None:
        self._frames, self._error = frames, error
        self.closed = False

    def __iter__(self) -> Iterator[Frame]:
        yield from self._frames
        if self._error:
            raise self._error

    def close(self) -> None:
        self.closed = True


def frames_at(times_s: Iterable[float], size: tuple[int, int] = (240, 320)) -> list[Frame]:
    """Frames of one grey level each, their index as the level."""
    return [
        Frame(np.full((*size, 3), i % 256, np.uint8), i, time_s) for i, time_s in enumerate(times_s)
    ]
