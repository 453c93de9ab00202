"""The files that an evaluation leaves: JSON, CSV, a page, and the journal it goes on from."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edge_tsm.bundle.card import CARD_FILE
from edge_tsm.data.sets import classes_of
from edge_tsm.datatypes import ON
from edge_tsm.errors import InputError, SinkError
from edge_tsm.evaluation.evaluate import Evaluation
from edge_tsm.inference.postprocess import probabilities
from edge_tsm.system.files import whole_file
from edge_tsm.system.jsontext import to_json


@dataclass(frozen=True)
class OutputFiles:
    """Where to write an evaluation; None: not."""

    json: Path | None = None
    csv: Path | None = None
    html: Path | None = None
    journal: Path | None = None

    def check(self, dataset: Path) -> None:
        """Refuse, before hours of work, what could not be written afterwards.

        Raises:
            SinkError: names the path, which may not be the `dataset` either.
            InputError: a page is asked for, and what writes it is not installed.
        """
        if self.html and find_spec("jinja2") is None:
            raise InputError("--html needs jinja2: pip install 'edge-tsm[report]'")
        for path in filter(None, (self.json, self.csv, self.html, self.journal)):
            if path.is_dir() or not path.parent.is_dir():
                raise SinkError(f"{path} cannot be written: a folder, or in none that exists")
            if path.exists() and dataset.exists() and path.samefile(dataset):
                raise SinkError(f"{path} is the list of clips; write under another name")

    def write(self, evaluation: Evaluation, models: Mapping[str, str]) -> None:
        """Write every file but the journal; `models` says what answered, by name.

        Raises:
            SinkError: a file cannot be written.
        """
        if self.json:
            _write(self.json, as_json(evaluation, models).encode())
        if self.csv:
            _write(self.csv, as_csv(evaluation).encode())
        if self.html:
            from edge_tsm.evaluation.html import as_html

            _write(self.html, as_html(evaluation, models).encode())


def check_inputs(bundles: Sequence[Path], dataset: Path) -> None:
    """Refuse what cannot be bundles and a list of clips.

    Raises:
        InputError: no bundle, or a bundle in the place of the list.
    """
    if not bundles:
        raise InputError(
            f"pass one or more bundles, and then the list of clips; got {dataset} only"
        )
    if (dataset / CARD_FILE).exists():
        raise InputError(f"{dataset} is a bundle; the list of clips comes last")


def as_json(evaluation: Evaluation, models: Mapping[str, str]) -> str:
    """Return everything but the answers to single clips; `models` says what answered, by name."""
    protocol = evaluation.protocol
    data = {
        "models": models,
        "protocol": {
            "sampling": protocol.sampling,
            "clips": protocol.clips,
            "crops": protocol.crops,
            "average": protocol.average,
            "methods": list(protocol.methods),
        },
        "clips": len(evaluation.outcomes),
        "readable": len(evaluation.answered),
        "unreadable": [{"clip": o.sample.name, "error": o.error} for o in evaluation.failed],
        "damaged": [{"clip": o.sample.name, "damage": o.damage} for o in evaluation.damaged],
        "resumed": evaluation.resumed,
        "seconds": round(evaluation.seconds, 3),
        "engine_seconds": round(evaluation.engine_s, 3),
        "results": {name: _figures(evaluation, name) for name in evaluation.columns},
    }
    return to_json(data, indent=1) + "\n"


def _figures(evaluation: Evaluation, column: str) -> dict[str, Any]:
    """Return what there is to say about one column: of one class a clip, of several, of both."""
    labels = evaluation.labels
    found = evaluation.figures(column).to_json(labels) if evaluation.exclusive else {}
    if evaluation.activation == "sigmoid":
        found["sets"] = evaluation.set_figures(column).to_json(labels)
    return found


def as_csv(evaluation: Evaluation) -> str:
    """Return a row per clip and model; logits are separated by spaces, in the order of labels."""
    text, labels = io.StringIO(), evaluation.labels
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        ("model", "name", "label", "prediction", "confidence", "correct", "logits", "error")
    )
    for column in evaluation.columns:
        for outcome in evaluation.outcomes:
            classes = classes_of(outcome.sample)
            start: list[Any] = [column, outcome.sample.name, _names(classes, labels)]
            if outcome.error:
                table.writerow([*start, "", "", "", "", outcome.error])
                continue
            logits = outcome.logits[column]
            shares = probabilities(logits, evaluation.activation)
            answer: tuple[int, ...] = (int(np.argmax(logits)),)
            if not evaluation.exclusive:
                answer = tuple(np.flatnonzero(shares >= ON).tolist())
            numbers = " ".join(f"{v:.7g}" for v in logits)
            right = int(answer == classes)
            given = [_names(answer, labels), f"{shares.max():.6f}", right]
            table.writerow([*start, *given, numbers, ""])
    return text.getvalue()


def _names(classes: Sequence[int], labels: Sequence[str]) -> str:
    return "|".join(labels[i] for i in classes)


def _write(path: Path, data: bytes) -> None:
    """Write a whole file or none."""
    with whole_file(path) as temporary:
        temporary.write_bytes(data)
