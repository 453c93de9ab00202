"""Frames in, `Prediction` out: no threads, no files but the model's own."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_tsm.backends import Backend, RuntimeOptions, candidates, open_backend
from edge_tsm.bundle.card import GOLDEN_FILE, Card
from edge_tsm.bundle.golden import Golden
from edge_tsm.datatypes import Color, Image, Prediction, Tensor, Window
from edge_tsm.errors import BackendError, CardError, InputError
from edge_tsm.inference.postprocess import read_logits, softmax
from edge_tsm.inference.preprocess import Preprocessor, check_crops
from edge_tsm.inference.sampling import index_rule
from edge_tsm.inference.streaming import Stream, chain
from edge_tsm.inference.variants import Choice, Variant, named, variants
from edge_tsm.system.machine import processor

# A variant replaces one earlier in order only if it is faster by this factor: timings vary.
_CLEARLY_FASTER = 0.9
_TIMED_RUNS = 5
_log = logging.getLogger("edge_tsm")


class Recognizer:
    """A TSM model ready to answer, built from a card and an opened backend.

    `recognizer(frames)` samples, prepares and classifies one clip. Live code prepares each frame
    once with `prepare` and classifies windows of prepared crops with `predict`, or, with an online
    model, pushes every crop into a `stream`. `variant` is the artifact of a bundle that answers,
    None where a single file was loaded.
    """

    def __init__(self, card: Card, backend: Backend, variant: Variant | None = None) -> None:
        self.card = card
        self.backend = backend
        self.variant = variant
        self._rule = index_rule(card.sampling.rule)
        self._preprocess = Preprocessor(card.preprocess)

    def __call__(self, frames: Sequence[Image], *, color: Color = "bgr") -> Prediction:
        """Classify one clip of any length.

        Args:
            frames: (H, W, 3) uint8 pictures in time order, all of the clip; the card's rule
                chooses among them.
            color: their channel order; OpenCV delivers "bgr", PIL "rgb".

        Raises:
            InputError: no frames, or arrays that are not pictures.
        """
        if len(frames) == 0:
            raise InputError("no frames to classify; a clip needs at least one")
        indices = self.sample(len(frames))
        crops = {i: self.prepare(frames[i], color=color) for i in set(indices)}
        return self.predict([crops[i] for i in indices])

    def sample(self, frame_count: int) -> list[int]:
        """Return the indices, 0-based, of the frames to show of a clip of `frame_count` frames."""
        return self._rule(frame_count, self.card.sampling.segments)

    def prepare(self, image: Image, *, color: Color = "bgr") -> Image:
        """Return the crop of one picture as the model wants it; see `Preprocessor.crop`."""
        return self._preprocess.crop(image, color=color)

    def predict(self, crops: Sequence[Image], *, window: Window | None = None) -> Prediction:
        """Classify one clip of exactly T prepared crops, each (crop_px, crop_px, 3) uint8."""
        return replace(next(self.predict_many([crops])), window=window)

    def predict_many(self, clips: Iterable[Sequence[Image]]) -> Iterator[Prediction]:
        """Classify clips of T prepared crops each, as many at a time as the model's batch size."""
        batch: list[Tensor] = []
        for clip in clips:
            batch.append(self._tensor(clip))
            if len(batch) == self.card.input.shape[0]:
                yield from self._run(batch)
                batch = []
        if batch:
            yield from self._run(batch)

    def stream(self) -> Stream:
        """Return a new video stream, to be pushed frame by frame, through an online model.

        Raises:
            InputError: the model answers clips.
        """
        return Stream(self.card, self.backend, self._preprocess)

    def close(self) -> None:
        """Release the engine."""
        self.backend.close()

    def __enter__(self) -> Recognizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tensor(self, crops: Sequence[Image]) -> Tensor:
        check_crops(crops, self.card.sampling.segments, self.card.preprocess.crop_px)
        return self._preprocess.tensor(crops)

    def _run(self, batch: list[Tensor]) -> list[Prediction]:
        """Run one batch; the graph is static, so a short one is filled by repeating the last."""
        filled = batch + batch[-1:] * (self.card.input.shape[0] - len(batch))
        tensor = np.stack(filled) if len(filled) > 1 else filled[0][None]
        started = time.perf_counter()
        logits = self._answer(tensor)[: len(batch)]
        elapsed_ms = (time.perf_counter() - started) * 1000
        return [
            Prediction(self.card.labels, row, p, elapsed_ms)
            for row, p in zip(logits, softmax(logits), strict=True)
        ]

    def _answer(self, clips: Tensor) -> NDArray[np.float32]:
        """Return the logits of (N, T*3, H, W) clips, (N, classes).

        Online, frame by frame from a fresh state, averaged: what the clip form answers.
        """
        if not self.card.online:
            return read_logits(self.card, self.backend.run({self.card.input.name: clips}))
        steps = chain(self.card, self.backend, clips)
        logits = [read_logits(self.card, outputs) for _, outputs in steps]
        return np.asarray(np.mean(logits, axis=0), np.float32)


def load(
    path: str | Path,
    *,
    engine: str | None = None,
    options: RuntimeOptions | None = None,
    variant: str = "auto",
) -> Recognizer:
    """Open a bundle folder, or a single `.onnx` or `.xml` made by edge-tsm.

    Of a bundle's artifacts the fastest that answers its golden clips as at conversion is taken; the
    choice is made once per bundle, machine and options, and remembered in the user's cache.

    Args:
        path: the bundle or artifact.
        engine: onnxruntime or openvino; by default all installed ones that serve the device.
        options: device, threads, precision, cache folder.
        variant: the file of a bundle to take, as `model.int8.onnx`, or its engine.

    Raises:
        CardError: not a bundle or artifact of edge-tsm, or no such variant.
        BackendError: engine or device not there, or the file is refused.
    """
    path, options = Path(path), options or RuntimeOptions()
    if path.is_dir():
        card = Card.read(path)
        found = variants(card, path, candidates(options.device, engine), options.device)
        if variant != "auto":
            return open_variant(path, card, named(found, variant), options)
        return _open_best(path, card, found, options)
    if path.suffix not in (".onnx", ".xml") or not path.is_file():
        found_kind = "is of another kind" if path.exists() else "does not exist"
        raise CardError(f"{path} {found_kind}; pass a bundle folder, or its .onnx or .xml")
    return _load_file(path, engine, options)


def open_variant(bundle: Path, card: Card, variant: Variant, options: RuntimeOptions) -> Recognizer:
    """Open one artifact that the card of a bundle names.

    Raises:
        BackendError: engine or device not there, or the file is refused.
    """
    backend = open_backend(variant.engine, bundle / variant.file.path, options)
    if backend.device == "cpu" and variant.may_saturate(processor()):
        _log.warning(
            "%s: int8 sums may saturate on this CPU (AVX2 without VNNI) and answers drift, unless "
            "converted with --reduce-range; on onnxruntime they are exact",
            variant,
        )
    return Recognizer(card, backend, variant)


def _open_best(
    bundle: Path, card: Card, found: Sequence[Variant], options: RuntimeOptions
) -> Recognizer:
    """Open the remembered variant, else try all and remember the best."""
    if len(found) == 1 or not (bundle / GOLDEN_FILE).is_file():
        return open_variant(bundle, card, found[0], options)
    choice = Choice(card, options, found)
    best = choice.recall(found)
    if best is None:
        best = _fastest(bundle, card, found, options)
        choice.remember(best)
    return open_variant(bundle, card, best, options)


def _fastest(
    bundle: Path, card: Card, found: Sequence[Variant], options: RuntimeOptions
) -> Variant:
    """Return the fastest variant that passes its golden check here, with its reason in the log.

    Raises:
        BackendError: none can be opened.
    """
    golden = Golden.read(bundle)
    refused: dict[str, BackendError] = {}
    best: tuple[float, Variant] | None = None
    for variant in found:
        try:
            with open_variant(bundle, card, variant, options) as recognizer:
                time_ms = _trial(recognizer, golden)
        except BackendError as error:
            refused[str(variant)] = error
            continue
        if time_ms is None:
            _log.warning("%s: %s does not answer as at conversion here", bundle, variant)
        elif best is None or time_ms < _CLEARLY_FASTER * best[0]:
            best = (time_ms, variant)
    if best is not None:
        _log.info("%s: chose %s, %.1f ms a run", bundle, best[1], best[0])
        return best[1]
    return _first_opened(found, refused)


def _first_opened(found: Sequence[Variant], refused: Mapping[str, BackendError]) -> Variant:
    """Return the first variant that opens though none passed; `edge-tsm verify` tells why."""
    for variant in found:
        if str(variant) not in refused:
            _log.warning("no variant passes its golden check with these options; using %s", variant)
            return variant
    raise refused[str(found[0])]


def _trial(recognizer: Recognizer, golden: Golden) -> float | None:
    """Return the median time of a run in milliseconds, None where golden clips are missed."""
    variant = recognizer.variant
    assert variant is not None  # opened by `open_variant`
    name = variant.file.path
    tolerance = recognizer.card.verification[name].tolerance
    result = golden.replay(recognizer, tolerance=tolerance, file=name)
    if not result.max_rel_diff <= tolerance:
        return None
    clip = list(golden.clips[0])
    return statistics.median(recognizer.predict(clip).inference_ms for _ in range(_TIMED_RUNS))


def _load_file(path: Path, engine: str | None, options: RuntimeOptions) -> Recognizer:
    native = "onnxruntime" if path.suffix == ".onnx" else "openvino"
    engines = candidates(options.device, engine)
    if path.suffix == ".xml" and "openvino" not in engines:
        raise BackendError(f"{path} is an OpenVINO IR; {' or '.join(engines)} cannot read it")
    backend = open_backend(native if native in engines else engines[0], path, options)
    if backend.card_text is None:
        raise CardError(f"{path} holds no card; make it with `edge-tsm convert`")
    return Recognizer(Card.from_json(backend.card_text, where=str(path)), backend)
