"""The README of a published bundle: what it is, how to run it, what was proven and measured."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_tsm.bundle.card import Card
from edge_tsm.errors import InputError
from edge_tsm.system.printable import printable

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
MOST_LABELS, MOST_CHARS = 1000, 200


@dataclass(frozen=True)
class Accuracy:
    """A figure of `evaluate --json`: which, of what, a share (0 to 1), and over how many clips."""

    model: str
    metric: str
    share: float
    clips: int


def model_card(
    card: Card, address: str, license_id: str, accuracies: Sequence[Accuracy] = ()
) -> str:
    """Return the text of README.md.

    Raises:
        InputError: a license that is no identifier, as apache-2.0 or cc-by-nc-4.0.
    """
    if not _LICENSE.fullmatch(license_id):
        raise InputError(
            f"license {license_id!r} is no identifier of the hub, as apache-2.0, mit, "
            "cc-by-nc-4.0, other"
        )
    head = "\n".join(_metadata(card, license_id, accuracies))
    return f"---\n{head}\n---\n\n" + "\n\n".join(_sections(card, address, accuracies)) + "\n"


def accuracies_of(data: Any) -> list[Accuracy]:
    """Return the accuracies in the content of a file that `evaluate --json` wrote.

    Raises:
        InputError: it is no such content.

    >>> accuracies_of({"results": {"demo": {"top1": 0.9, "top5": None, "clips": 10}}})
    [Accuracy(model='demo', metric='top-1 accuracy', share=0.9, clips=10)]
    """
    found = []
    try:
        for model, figures in data["results"].items():
            sets = figures.get("sets", {})
            shares = {
                "top-1 accuracy": figures.get("top1"),
                "top-5 accuracy": figures.get("top5"),
                "mAP": sets.get("mean_average_precision"),
            }
            clips = int(figures.get("clips", sets.get("clips", 0)))
            for metric, share in shares.items():
                if share is not None:
                    found.append(Accuracy(str(model), metric, float(share), clips))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"not what `evaluate --json` writes ({error!r})") from error
    return found


def _metadata(card: Card, license_id: str, accuracies: Sequence[Accuracy]) -> Iterator[str]:
    """Yield lines of YAML; JSON's strings are YAML's."""
    yield f"license: {license_id}"
    yield "library_name: edge-tsm"
    yield "pipeline_tag: video-classification"
    engines = {engine for file in card.files.values() for engine in file.engines}
    yield f"tags: {json.dumps(['edge-tsm', 'action-recognition', card.family, *sorted(engines)])}"
    if accuracies:
        metrics = [
            {"type": "accuracy", "name": f"{a.metric}, {a.model}", "value": round(a.share, 4)}
            for a in accuracies
        ]
        task = {"type": "video-classification"}
        data = {"type": "own", "name": f"{accuracies[0].clips} clips of the publisher"}
        results = [{"task": task, "dataset": data, "metrics": metrics}]
        yield f"model-index: {json.dumps([{'name': card.name, 'results': results}])}"


def _sections(card: Card, address: str, accuracies: Sequence[Accuracy]) -> Iterator[str]:
    yield f"# {_plain(card.name)}"
    yield (
        "A video classifier for edge devices, converted and proven by edge-tsm: ONNX and OpenVINO "
        "files, and a card that says what they are to be fed."
    )
    yield (
        "```sh\npip install 'edge-tsm[hub,onnx,headless]'\n"
        f"edge-tsm verify {address}\nedge-tsm run {address} --source VIDEO\n```"
    )
    yield "## What it is\n\n" + _table(("", ""), list(_facts(card).items()))
    if accuracies:
        rows = [(a.model, a.metric, f"{a.share:.1%}", str(a.clips)) for a in accuracies]
        yield "## Accuracy\n\n" + _table(("model", "metric", "", "clips"), rows)
    yield "## What was proven\n\n" + _proven(card)
    labels = ", ".join(map(_plain, card.labels[:MOST_LABELS]))
    more = len(card.labels) - MOST_LABELS
    yield f"## Classes\n\n{labels}" + (f", and {more} more" if more > 0 else "")


def _facts(card: Card) -> Mapping[str, str]:
    return {
        "network": card.family,
        **{name.replace("_", " "): str(value) for name, value in card.arch.items()},
        "input": f"{card.input.form}, {card.layout}, {card.preprocess.color}",
        "frames": f"{card.sampling.segments} by {card.sampling.rule}",
        "classes": str(len(card.labels)),
        "checkpoint": f"SHA-256 {card.provenance.checkpoint_sha256}",
        "made with": ", ".join(f"{k} {v}" for k, v in card.provenance.tools.items()),
    }


def _proven(card: Card) -> str:
    told = (
        "Differences to the checkpoint's own logits in PyTorch, as a share of their range; of int8 "
        "on clips that it was not calibrated on."
    )
    rows = [
        (
            name,
            ", ".join(card.files[name].engines),
            card.files[name].precision,
            f"{found.max_rel_diff:.1e}",
            f"{found.top1_agreement:.1%} of {found.clips}",
            "proven" if card.files[name].proven else "too few clips to tell",
        )
        for name, found in card.verification.items()
    ]
    head = ("file", "engines", "precision", "largest difference", "same answer", "")
    return f"{told}\n\n{_table(head, rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(map(_plain, row)) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Return text of others as Markdown that is nothing but text."""
    shown = printable(text[:MOST_CHARS])
    return re.sub(r"([\\`*_{}\[\]<>#|!~$&])", r"\\\1", shown)
