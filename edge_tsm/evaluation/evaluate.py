"""Labeled clips shown to models, and the figures of their answers."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import cast

import numpy as np

from edge_tsm.data.clips import Dataset, Sample
from edge_tsm.errors import InputError, SourceError
from edge_tsm.evaluation.journal import Outcome, Results
from edge_tsm.evaluation.metrics import Figures, Logits, figures, fuse
from edge_tsm.evaluation.prefetch import Prefetch, Stop
from edge_tsm.evaluation.views import Classifier, Protocol, Shower, Shown, column_name
from edge_tsm.sources import OnProgress, Recording, open_source
from edge_tsm.system.machine import usable_cores


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Every clip's outcome, in the order of the dataset.

    `columns` are the names of the answers: a model's name for "video", the name and " voting" for
    voting. `engine_s` of `seconds` were spent in the engine; `resumed` clips cost neither.
    """

    labels: tuple[str, ...]
    columns: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    protocol: Protocol
    seconds: float = 0.0
    engine_s: float = 0.0
    resumed: int = 0

    @property
    def answered(self) -> list[Outcome]:
        """The clips that could be read."""
        return [outcome for outcome in self.outcomes if not outcome.error]

    @property
    def failed(self) -> list[Outcome]:
        """The clips that could not."""
        return [outcome for outcome in self.outcomes if outcome.error]

    def logits(self, column: str) -> Logits:
        """Return (answered clips, classes)."""
        return np.stack([outcome.logits[column] for outcome in self.answered])

    def figures(self, column: str) -> Figures:
        """Return the figures over the clips that could be read."""
        truth = np.array([outcome.sample.label for outcome in self.answered])
        return figures(self.logits(column), truth)

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
    protocol: Protocol | None = None,
    *,
    workers: int | None = None,
    results: Results | None = None,
    progress: OnProgress | None = None,
) -> Evaluation:
    """Show every clip of `dataset` to every model; each video is decoded once.

    Videos are decoded and prepared ahead by `workers` threads (`default_workers`); the engines run
    in the calling thread. Unreadable videos become outcomes with an error. What `results` knows is
    not computed again. `progress` is called with (clips done, clips).

    Raises:
        InputError: models that disagree on labels, or a dataset that does not fit them.
        BackendError: an engine failed.
    """
    protocol = protocol or Protocol()
    labels = _common_labels(models)
    dataset = dataset.of_classes(labels)
    run = _Run({name: Shower(model, protocol) for name, model in models.items()}, protocol)
    known = {i: results.known(sample) for i, sample in enumerate(dataset)} if results else {}
    outcomes = {i: Outcome(dataset.samples[i], logits) for i, logits in known.items() if logits}
    resumed = len(outcomes)
    todo = [(i, sample) for i, sample in enumerate(dataset) if i not in outcomes]
    started = time.perf_counter()
    with closing(run.outcomes(todo, workers or default_workers())) as computed:
        for i, outcome in computed:
            outcomes[i] = outcome
            if results:
                results.add(outcome)
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


@dataclass
class _Run:
    """Decoding ahead, engines here."""

    showers: Mapping[str, Shower]
    protocol: Protocol
    engine_s: float = field(default=0.0, init=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """Models in their order, each with its methods."""
        return tuple(column_name(n, m) for n in self.showers for m in self.protocol.methods)

    def outcomes(
        self, todo: Sequence[tuple[int, Sample]], workers: int
    ) -> Generator[tuple[int, Outcome], None, None]:
        """Yield the outcome of every sample, in order."""
        # So many videos at a time that a model with a batch size gets full batches.
        group = max(shower.batch for shower in self.showers.values())
        ahead = 2 * workers
        with Prefetch(self._load, todo, workers=workers, ahead=ahead) as loaded:
            videos = iter(loaded)
            while chunk := list(islice(videos, group)):
                read: list[tuple[int, Sample, list[Shown]]] = []
                for (i, sample), future in chunk:
                    try:
                        read.append((i, sample, future.result()))
                    except OSError as error:  # SourceError, or the system's own
                        yield i, Outcome(sample, {}, str(error))
                answers = self._answers([shown for _, _, shown in read])
                for (i, sample, _), logits in zip(read, answers, strict=True):
                    yield i, Outcome(sample, logits)

    def _load(self, item: tuple[int, Sample], stop: Stop) -> list[Shown]:
        """Decode one video once and prepare it for every model; runs in a worker thread."""
        showers = list(self.showers.values())
        chosen: list[list[int]] = []

        def choose(count: int) -> list[int]:
            chosen[:] = [shower.indices(count) for shower in showers]
            return list(chain(*chosen))

        # An absolute path is never taken for the number of a camera.
        with closing(open_source(item[1].path.absolute())) as source:
            if source.live:
                raise SourceError(f"{source.uri} is a camera; evaluation takes videos")
            frames = cast("Recording", source).sample(choose, progress=lambda *_: stop())
        pictures = {frame.index: frame.image for frame in frames}
        return [s.show(i, pictures, stop) for s, i in zip(showers, chosen, strict=True)]

    def _answers(self, videos: Sequence[list[Shown]]) -> list[dict[str, Logits]]:
        """Return each video's logits by column."""
        found: list[dict[str, Logits]] = [{} for _ in videos]
        for k, (name, shower) in enumerate(self.showers.items()):
            shown = [video[k] for video in videos]
            answers = list(shower.model.predict_many(clip for s in shown for clip in s.clips))
            # Every answer of a batch carries the time of the whole batch.
            self.engine_s += sum(a.inference_ms for a in answers[:: shower.batch]) / 1000
            rows = iter(answers)
            for logits, one in zip(found, shown, strict=True):
                views = np.stack([answer.logits for answer in islice(rows, len(one.clips))])
                for method, weights in one.weights.items():
                    fused = fuse(views, weights, self.protocol.average)
                    logits[column_name(name, method)] = fused
        return found
