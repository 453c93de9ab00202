"""Labeled clips shown to models, and the figures of their answers."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, islice
from typing import cast

import numpy as np
from numpy.typing import NDArray

from edge_tsm.data.clips import Dataset, Sample
from edge_tsm.data.sets import classes_of, truth_of
from edge_tsm.datatypes import Activation, Logits
from edge_tsm.errors import InputError, SourceError
from edge_tsm.evaluation.journal import Journal, Outcome
from edge_tsm.evaluation.metrics import Figures, SetFigures, figures, fuse, set_figures
from edge_tsm.evaluation.prefetch import Prefetch, Stop
from edge_tsm.evaluation.views import (
    Classifier,
    ViewMaker,
    ViewProtocol,
    Views,
    column_name,
)
from edge_tsm.sources import OnProgress, Recording, open_source, rate_of, remark
from edge_tsm.system.machine import usable_cores


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Every clip's outcome, in the order of the dataset; figures are computed once.

    `columns` are the names of the answers: a model's name for "video", the name and " voting" for
    voting. `engine_s` of `seconds` were spent in the engine; `resumed` clips cost neither.
    """

    labels: tuple[str, ...]
    columns: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    protocol: ViewProtocol
    seconds: float = 0.0
    engine_s: float = 0.0
    resumed: int = 0
    activation: Activation = "softmax"

    @property
    def answered(self) -> list[Outcome]:
        """The clips that could be read, in their order."""
        return [outcome for outcome in self.outcomes if not outcome.error]

    @property
    def damaged(self) -> list[Outcome]:
        """The clips of which a part could not; they count as they are."""
        return [outcome for outcome in self.outcomes if outcome.damage]

    @property
    def failed(self) -> list[Outcome]:
        """The clips that could not."""
        return [outcome for outcome in self.outcomes if outcome.error]

    def logits(self, column: str) -> Logits:
        """Return (answered clips, classes)."""
        return np.stack([outcome.logits[column] for outcome in self.answered])

    def figures(self, column: str) -> Figures:
        """Return the figures over the clips that could be read."""
        return self._figures[column]

    def set_figures(self, column: str) -> SetFigures:
        """Return the figures of answers that may name several classes, over the same clips."""
        samples = [outcome.sample for outcome in self.answered]
        return set_figures(self.logits(column), truth_of(samples, len(self.labels)))

    @property
    def exclusive(self) -> bool:
        """Whether every clip has one class, so that `figures` says how many are right."""
        return all(len(classes_of(outcome.sample)) == 1 for outcome in self.answered)

    @property
    def truth(self) -> NDArray[np.int64]:
        """The true class of every answered clip."""
        return np.array([outcome.sample.label for outcome in self.answered], np.int64)

    @cached_property
    def _figures(self) -> dict[str, Figures]:
        return {
            column: figures(self.logits(column), self.truth, activation=self.activation)
            for column in self.columns
        }

    def with_ensemble(self, weights: Sequence[float], name: str = "ensemble") -> Evaluation:
        """Add the weighted mean of all models, per method (upstream's `--coeff`).

        Raises:
            InputError: not one positive weight per model, or one model only.
        """
        methods = self.protocol.methods
        members = {m: self.columns[i :: len(methods)] for i, m in enumerate(methods)}
        count = len(members[methods[0]])
        if len(weights) != count or count < 2 or not all(0 < w < math.inf for w in weights):
            raise InputError(f"weights {list(weights)} are not {max(count, 2)} positive numbers")
        if name in self.columns:
            raise InputError(f"a model is called {name!r} already; name the ensemble otherwise")

        def fused(outcome: Outcome) -> Outcome:
            if outcome.error:
                return outcome
            more = {
                column_name(name, method): fuse(
                    np.stack([outcome.logits[c] for c in columns]), weights, self.protocol.average
                )
                for method, columns in members.items()
            }
            return replace(outcome, logits={**outcome.logits, **more})

        names = tuple(column_name(name, method) for method in methods)
        outcomes = tuple(map(fused, self.outcomes))
        return replace(self, columns=self.columns + names, outcomes=outcomes)


def default_workers() -> int:
    """Return the threads that decode: one per core the process may use, at most four."""
    return min(usable_cores(), 4)


def evaluate(
    models: Mapping[str, Classifier],
    dataset: Dataset,
    protocol: ViewProtocol | None = None,
    *,
    workers: int | None = None,
    journal: Journal | None = None,
    progress: OnProgress | None = None,
) -> Evaluation:
    """Show every clip of `dataset` to every model; each video is decoded once.

    Videos are decoded and prepared ahead by `workers` threads (`default_workers`); the engines run
    in the calling thread. Unreadable videos become outcomes with an error. What `journal` holds is
    not computed again. `progress` is called with (clips done, clips).

    Raises:
        InputError: models that disagree on labels, or a dataset that does not fit them.
        BackendError: an engine failed.
    """
    protocol = protocol or ViewProtocol()
    labels, activation = _common_labels(models), _common_activation(models)
    dataset = dataset.of_classes(labels)
    _check_sets(dataset, activation, protocol)
    run = _Run({name: ViewMaker(model, protocol) for name, model in models.items()}, protocol)
    known = {i: journal.known(sample) for i, sample in enumerate(dataset)} if journal else {}
    outcomes = {i: outcome for i, outcome in known.items() if outcome}
    resumed = len(outcomes)
    todo = [(i, sample) for i, sample in enumerate(dataset) if i not in outcomes]
    started = time.perf_counter()
    with closing(run.outcomes(todo, workers or default_workers())) as computed:
        for i, outcome in computed:
            outcomes[i] = outcome
            if journal:
                journal.add(outcome)
            if progress:
                progress(len(outcomes), len(dataset))
    return Evaluation(
        labels=labels,
        columns=run.columns,
        outcomes=tuple(outcomes[i] for i in range(len(dataset))),
        protocol=protocol,
        seconds=time.perf_counter() - started,
        engine_s=run.engine_s,
        resumed=resumed,
        activation=activation,
    )


def _common_labels(models: Mapping[str, Classifier]) -> tuple[str, ...]:
    if not models:
        raise InputError("no models to evaluate")
    (first, model), *others = models.items()
    for name, other in others:
        if other.card.labels != model.card.labels:
            raise InputError(
                f"{first} and {name} answer different classes ({len(model.card.labels)} and "
                f"{len(other.card.labels)} labels, or another order); evaluate them apart"
            )
    return model.card.labels


def _common_activation(models: Mapping[str, Classifier]) -> Activation:
    found = {model.card.output.activation: name for name, model in models.items()}
    if len(found) > 1:
        raise InputError(
            f"{found['softmax']} answers one class (softmax), {found['sigmoid']} several "
            "(sigmoid); evaluate them apart"
        )
    return next(iter(found))


def _check_sets(dataset: Dataset, activation: Activation, protocol: ViewProtocol) -> None:
    """Refuse clips, or a protocol, that do not go with how the models answer."""
    if activation == "sigmoid" and protocol.average == "softmax":
        raise InputError(
            "the model's classes have a probability each (sigmoid), of which there is no softmax "
            "to average; average logits"
        )
    several = next((s for s in dataset if len(classes_of(s)) != 1), None)
    if activation == "softmax" and several is not None:
        raise InputError(
            f"{several.name} has {len(classes_of(several))} classes in the list, the model answers "
            "exactly one (softmax); convert it with --activation sigmoid if it was trained so"
        )


@dataclass(frozen=True)
class _Loaded:
    """A clip prepared for every model, and what of its video cannot be decoded."""

    views: list[Views]
    damage: str


@dataclass
class _Run:
    """Decoding ahead, engines here."""

    makers: Mapping[str, ViewMaker]
    protocol: ViewProtocol
    engine_s: float = field(default=0.0, init=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """Models in their order, each with its methods."""
        return tuple(column_name(n, m) for n in self.makers for m in self.protocol.methods)

    def outcomes(
        self, todo: Sequence[tuple[int, Sample]], workers: int
    ) -> Generator[tuple[int, Outcome], None, None]:
        """Yield the outcome of every sample, in order."""
        # So many videos at a time that a model with a batch size gets full batches.
        group = max(maker.at_once for maker in self.makers.values())
        ahead = 2 * workers
        with Prefetch(self._load, todo, workers=workers, ahead=ahead) as loaded:
            videos = iter(loaded)
            while chunk := list(islice(videos, group)):
                read: list[tuple[int, Sample, _Loaded]] = []
                for (i, sample), future in chunk:
                    try:
                        read.append((i, sample, future.result()))
                    except OSError as error:  # SourceError, or the system's own
                        yield i, Outcome(sample, {}, str(error))
                answers = self._answers([video.views for _, _, video in read])
                for (i, sample, video), logits in zip(read, answers, strict=True):
                    yield i, Outcome(sample, logits, damage=video.damage)

    def _load(self, item: tuple[int, Sample], stop: Stop) -> _Loaded:
        """Decode one video once and prepare it for every model; runs in a worker thread."""
        makers = list(self.makers.values())
        chosen: list[list[int]] = []

        # An absolute path is never taken for the number of a camera.
        with closing(open_source(item[1].path.absolute())) as source:
            rate = rate_of(source)

            def choose(count: int) -> list[int]:
                chosen[:] = [maker.indices(count, rate) for maker in makers]
                return list(chain(*chosen))

            if source.live:
                raise SourceError(f"{source.uri} is a camera; evaluation takes videos")
            rule = item[1].within(choose)
            frames = cast("Recording", source).sample(rule, progress=lambda *_: stop())
            damage = remark(source) if item[1].path.is_file() else ""
        pictures = {frame.index: frame.image for frame in frames}
        views = [m.make(i, pictures, stop) for m, i in zip(makers, chosen, strict=True)]
        return _Loaded(views, damage)

    def _answers(self, videos: Sequence[list[Views]]) -> list[dict[str, Logits]]:
        """Return each video's logits by column."""
        found: list[dict[str, Logits]] = [{} for _ in videos]
        for k, (name, maker) in enumerate(self.makers.items()):
            shown = [video[k] for video in videos]
            answers = list(maker.model.predict_many(clip for v in shown for clip in v.clips))
            # Every answer of a batch carries the time of the whole batch, which overlaps others.
            streams = getattr(maker.model, "streams", 1)
            self.engine_s += sum(a.inference_ms for a in answers[:: maker.batch]) / 1000 / streams
            rows = iter(answers)
            for logits, views in zip(found, shown, strict=True):
                each = np.stack([answer.logits for answer in islice(rows, len(views.clips))])
                for method, weights in views.weights.items():
                    fused = fuse(each, weights, self.protocol.average)
                    logits[column_name(name, method)] = fused
        return found
