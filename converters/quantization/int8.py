"""The int8 step: calibrate, quantize, keep sensitive layers float, check on clips kept back."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from converters.quantization.calibration import (
    MOST_CALIBRATED,
    MOST_CLIPS,
    ClipSet,
    Count,
    Feeds,
    Warn,
    read_clips,
    split,
    thin,
    unseen,
)
from converters.quantization.choice import Choice, Way, answers, nearest, parted
from converters.quantization.equalize import Equalization, equalization
from converters.quantization.holdout import Holdout
from converters.quantization.judgment import Outcome
from converters.quantization.observer import Feed, Ranges
from converters.quantization.qdq import (
    Form,
    calibrate,
    in_shapes_of,
    layer_names,
    plain,
    quantize,
)
from converters.quantization.refine import refine
from converters.quantization.sensitivity import harm
from edge_tsm.backends.onnxruntime import ORT_ERRORS
from edge_tsm.bundle.card import Card
from edge_tsm.errors import ConversionError, EdgeTsmError, VerificationError

log = logging.getLogger(__name__)
MAX_DROP = 0.01
_EXACT = 1e-4  # of the logits' range, within which an equalized graph answers as its own does
_CLIPS_COMPARED = 4
KeepFloat = Literal["auto", "none"] | tuple[str, ...]


@dataclass(frozen=True)
class Int8:
    """How to quantize.

    `calibration` and `holdout` are a folder or list of clips, or prepared crops (a `ClipSet`);
    without `holdout` the calibration clips are shared out. `keep_float` names layers that stay
    float; "auto" finds them where int8 is worse without: where it loses more than `max_drop`, a
    share of the answers (`judgment` has the rule). `reduce_range` makes weights 7-bit, for
    x86 CPUs without VNNI. `tensorrt` adds a file in TensorRT's form.
    """

    calibration: Path | ClipSet
    holdout: Path | ClipSet | None = None
    keep_float: KeepFloat = "auto"
    max_drop: float = MAX_DROP
    reduce_range: bool = False
    tensorrt: bool = False

    def clips(self, card: Card, *, warn: Warn, count: Count = unseen) -> tuple[ClipSet, ClipSet]:
        """Return the clips to calibrate on, at most 32, and those to judge by.

        Raises:
            ConversionError: no readable clips, or crops of another shape.
        """

        def read(given: Path | ClipSet, most: int) -> ClipSet:
            if isinstance(given, Path):
                return read_clips(given, card, most=most, warn=warn, count=count)
            return thin(_fitting(given, card), most)

        if self.holdout is None:
            return split(read(self.calibration, MOST_CLIPS))
        return read(self.calibration, MOST_CALIBRATED), read(self.holdout, MOST_CLIPS)

    @property
    def form(self) -> Form:
        """The form for ONNX Runtime and OpenVINO."""
        return Form(weight_max=63 if self.reduce_range else 127)


class Quantizer:
    """Quantizes one f32 model, with the same float layers in every form.

    Ranges, factors and weights are of three quarters of the clips; whether refined weights and
    equalized channels bring the answers nearer, the others say. Files on the way are in `work`.
    """

    def __init__(
        self,
        source: Path,
        card: Card,
        clips: ClipSet,
        settings: Int8,
        *,
        work: Path,
        count: Count = unseen,
    ) -> None:
        self._source, self._settings, self._work, self._count = source, settings, work, count
        names, keep = layer_names(source), settings.keep_float
        self.float_layers = _known(keep, names) if isinstance(keep, tuple) else ()
        self._activation = card.output.activation
        self._fitted, self._checked = (
            list(Feeds(card, clips.crops[chosen], source, count)) if chosen else list[Feed]()
            for chosen in parted(len(clips))
        )
        with _translated():
            self._ranges: Ranges = calibrate(source, self._fitted)
        self._expected = answers(source, self._checked) if self._checked else None
        self._chosen: dict[Form, Choice] = {}

    def choose(self, holdout: Holdout, *, warn: Warn) -> None:
        """Settle which layers stay float.

        Raises:
            VerificationError: int8 is worse even with half of the layers float.
        """
        if self._settings.keep_float == "auto" and self._worse(holdout, ()):
            total = len(self.choice(self._settings.form).chosen.layers)
            self.float_layers = self._fewest(holdout)
            self._chosen.clear()  # what stays float leaves nothing to make up for
            warn(f"int8 keeps {len(self.float_layers)} of {total} layers float")

    def write(self, path: Path, *, symmetric: bool = False, source: Path | None = None) -> Path:
        """Write the model for ONNX Runtime and OpenVINO, or symmetric for TensorRT.

        A `source` is the same network in another form: its layers get the same integers, its
        tensors, which are called alike, the same ranges.
        """
        form, keep = replace(self._settings.form, symmetric=symmetric), self.float_layers
        if source is None:
            return self._write(path, form, keep)
        way = self.choice(form).chosen
        if way.equalization is not None:
            source = way.equalization.apply(source, self._path("form"))
        layers = in_shapes_of(source, way.layers)
        return quantize(source, path, way.ranges, form, keep=keep, layers=layers)

    def _fewest(self, holdout: Holdout) -> tuple[str, ...]:
        """Return the layers that hurt most, as many as it takes, doubling their number."""
        order, count = self._by_harm(), 1
        while count <= len(order) // 2:
            if not self._worse(holdout, order[:count]):
                return tuple(order[:count])
            count *= 2
        raise VerificationError(
            f"int8 is worse even with {count // 2} of {len(order)} layers float: "
            f"{'; '.join(self._last.reasons)}; calibrate on more and other clips, or allow more "
            "(--max-drop)"
        )

    def _by_harm(self) -> list[str]:
        """Return the layers, first the one whose quantization alone moves the logits most."""
        form, feeds = self._settings.form, self._fitted
        way = self.choice(form).chosen
        with _translated():
            found = harm(way.source, way.ranges, form, feeds, way.layers, count=self._count)
        return sorted(found, key=lambda name: -found[name])

    def _worse(self, holdout: Holdout, keep: Collection[str]) -> bool:
        path = self._write(self._path("attempt"), self._settings.form, keep)
        self._last = holdout.attempt(path)
        return self._last.outcome is Outcome.WORSE

    def _write(self, path: Path, form: Form, keep: Collection[str]) -> Path:
        return _written(self.choice(form).chosen, path, form, keep)

    def choice(self, form: Form) -> Choice:
        """Return how a form is made, without layers that are settled to stay float."""
        if form not in self._chosen:
            with _translated():
                self._chosen[form] = self._choose(form)
        return self._chosen[form]

    def _choose(self, form: Form) -> Choice:
        rounded = Way(self._source, self._ranges, plain(self._source, self._ranges, form))
        if self._expected is None:
            return Choice(rounded, "rounded")
        ways = {"rounded": rounded, "refined": self._refined(form, None)}
        if self._equalization is not None:
            ways["equalized"] = self._refined(form, self._equalization)

        def write(way: Way) -> Path:
            return _written(way, self._path("way"), form, self.float_layers)

        return nearest(ways, write, self._expected, self._checked, self._activation)

    def _refined(self, form: Form, equalization: Equalization | None) -> Way:
        """Refine the network's graph, or the equalized one."""
        source, ranges = self._source, self._ranges
        if equalization is not None:
            source, ranges = self._path("equalized"), equalization.ranges
        keep, count = self.float_layers, self._count
        layers = refine(source, ranges, form, self._fitted, keep=keep, count=count)
        return Way(source, ranges, layers, equalization)

    @cached_property
    def _equalization(self) -> Equalization | None:
        """How to equalize the graph; its twin is written, and answers some clips as it does."""
        found = equalization(self._source, self._fitted, self._ranges)
        if found is None:
            return None
        feeds = self._fitted[:_CLIPS_COMPARED]
        path = found.apply(self._source, self._path("equalized"))
        expected, given = answers(self._source, feeds), answers(path, feeds)
        moved = float(np.abs(given - expected).max() / (np.ptp(expected) or 1))
        if not moved <= _EXACT:
            log.warning("int8 goes without equalized channels: the answers moved by %.1e", moved)
            return None
        return found

    def _path(self, name: str) -> Path:
        return self._work / f"{name}.onnx"


def _written(way: Way, path: Path, form: Form, keep: Collection[str]) -> Path:
    return quantize(way.source, path, way.ranges, form, keep=keep, layers=way.layers)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except EdgeTsmError:
        raise
    except ORT_ERRORS as error:
        raise ConversionError(f"the graph cannot be quantized: {error}") from error


def _known(names: tuple[str, ...], layers: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in layers:
            near = difflib.get_close_matches(name, layers, 3, 0.4) or layers[:3]
            raise ConversionError(f"--keep-float: no layer {name!r}; there are {', '.join(near)} …")
    return names


def _fitting(given: ClipSet, card: Card) -> ClipSet:
    """Return prepared clips as they are, if they are what the model takes."""
    size = card.preprocess.crop_px
    wanted = (card.sampling.segments, size, size, 3)
    if given.crops.shape[1:] != wanted or given.crops.dtype != np.uint8 or not len(given):
        raise ConversionError(
            f"int8 clips must be (clips, {', '.join(map(str, wanted))}) uint8, these are "
            f"{given.crops.shape} {given.crops.dtype}"
        )
    return given
