"""Test protocols: which views of a video a model is shown, and what becomes of the answers.

They are upstream's (mit-han-lab/temporal-shift-module, test_models.py): which frames, which crops,
how the answers are averaged. Voting over single frames is the baseline to compare with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from edge_tsm.bundle.card import Card
from edge_tsm.datatypes import Image, Prediction
from edge_tsm.errors import InputError
from edge_tsm.evaluation.metrics import Average
from edge_tsm.evaluation.prefetch import Stop
from edge_tsm.inference.preprocess import Preprocessor
from edge_tsm.inference.sampling import TEST_RULES, Sampler

Method = Literal["video", "voting"]
View = tuple[int, tuple[int, ...]]  # crop number, and the T frames of a clip
CROPS = (1, 3, 5, 10)


@dataclass(frozen=True)
class ViewProtocol:
    """How a video is shown to a model and what becomes of the answers.

    `sampling`: "card" (the card's own rule), or upstream's "uniform", "dense" (ten clips) or
    "twice" (two). `clips`: how many of a video the card's own rule takes, where it takes clips of
    fixed length: 10 with 3 crops is SlowFast's protocol, 1 with 3 TimeSformer's. `crops`: 1
    (center), 3, 5 or 10. `average`: of "logits", as upstream, or of "softmax". `methods`: "video"
    shows clips. "voting" is the baseline from the same weights: each sampled frame alone is shown
    as a clip of T equal frames, which is what the model sees of a still, and the frames' answers
    are averaged.
    """

    sampling: str = "card"
    crops: int = 1
    average: Average = "logits"
    methods: tuple[Method, ...] = ("video",)
    clips: int = 1

    def __post_init__(self) -> None:
        choices = {
            "sampling": ("card", *TEST_RULES),
            "crops": CROPS,
            "average": get_args(Average),
        }
        for name, offered in choices.items():
            if getattr(self, name) not in offered:
                raise InputError(f"{name} is {getattr(self, name)!r}, choose one of {offered}")
        if self.clips != 1 and self.sampling != "card":
            raise InputError(
                f"sampling {self.sampling} has clips of its own; leave out clips, or choose card"
            )
        if not self.methods or set(self.methods) - set(get_args(Method)):
            raise InputError(f"methods are {self.methods}; choose video, voting or both")


class Classifier(Protocol):
    """What `Recognizer` offers, and a network in training may."""

    @property
    def card(self) -> Card:
        """Segments, sampling rule, preprocessing, batch size, labels."""
        ...

    def predict_many(self, clips: Iterable[Sequence[Image]]) -> Iterator[Prediction]:
        """Answer clips of T prepared crops each."""
        ...


def column_name(model: str, method: Method) -> str:
    """Return the name of one model's answers by one method."""
    return model if method == "video" else f"{model} {method}"


@dataclass(frozen=True, eq=False)
class Views:
    """What one model sees of one video: clips of distinct views, and how often each counts."""

    clips: list[list[Image]]
    weights: dict[Method, list[int]]


class ViewMaker:
    """Makes the views of videos for one model."""

    def __init__(self, model: Classifier, protocol: ViewProtocol) -> None:
        card = model.card
        self.model, self.batch = model, card.input.most
        streams = getattr(model, "streams", 1)
        self.at_once = self.batch * (1 if streams == 1 else 2 * streams)
        self._sampler = Sampler(card.sampling, clips=protocol.clips)
        self._segments, self._protocol = card.sampling.segments, protocol
        self._preprocess = Preprocessor(card.preprocess)

    def indices(self, frame_count: int, fps: float | None = None) -> list[int]:
        """Return the frames of all clips, one clip after the other; `fps` is the video's rate."""
        if self._protocol.sampling == "card":
            return self._sampler(frame_count, fps)
        return TEST_RULES[self._protocol.sampling](frame_count, self._segments)

    def make(self, indices: list[int], pictures: Mapping[int, Image], stop: Stop) -> Views:
        """Prepare the views of one video; views that repeat (short videos do) are shown once."""
        crops: dict[int, list[Image]] = {}
        for i in dict.fromkeys(indices):
            stop()
            crops[i] = self._preprocess.crops(pictures[i], self._protocol.crops)
        counts = {m: Counter(self._views(indices, m)) for m in self._protocol.methods}
        views = list(dict.fromkeys(view for counter in counts.values() for view in counter))
        clips = [[crops[i][crop] for i in frames] for crop, frames in views]
        return Views(clips, {m: [counter[v] for v in views] for m, counter in counts.items()})

    def _views(self, indices: list[int], method: Method) -> Iterator[View]:
        """Yield views as upstream orders them: by crop, then by clip."""
        size = self._segments
        for crop in range(self._protocol.crops):
            if method == "voting":
                yield from ((crop, (i,) * size) for i in indices)
            else:
                clips = (indices[k : k + size] for k in range(0, len(indices), size))
                yield from ((crop, tuple(clip)) for clip in clips)
