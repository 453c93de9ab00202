"""An engine from outside: a `.toy` file is JSON with a card and the logits it always answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_tsm.backends import Backend, Engine, RuntimeOptions
from edge_tsm.bundle.card import Card, File, Verification, checksum
from edge_tsm.bundle.golden import Golden
from edge_tsm.datatypes import Tensor
from edge_tsm.errors import BackendError
from tests.helpers.fakes import make_card

ENGINE = Engine(
    title="Toy",
    module="tests.helpers.toy_engine",
    package="tests.helpers.toy_engine",
    distributions=("pytest",),
    install="toy",
    suffixes=(".toy",),
    devices=("toybox",),
    parts={".toy": (".bits",)},
)
LOGITS = (0.0, 2.0, 1.0)


class ToyBackend:
    engine = "toy"

    def __init__(self, path: Path, device: str) -> None:
        content = json.loads(path.read_text())
        self.device, self.card_text = device, content["card"]
        self._logits = np.float32([content["logits"]])

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        [clips] = inputs.values()
        return {"logits": np.repeat(self._logits, len(clips), axis=0)}

    def close(self) -> None:
        pass


def devices() -> tuple[str, ...]:
    return ("toybox",)


def open_model(path: Path, options: RuntimeOptions) -> Backend:
    if options.device not in devices():
        raise BackendError(f"device {options.device!r} is not available; there is toybox")
    return ToyBackend(path, options.device)


def write_file(path: Path, card: Card) -> Path:
    path.write_text(json.dumps({"card": card.embedded(), "logits": LOGITS}))
    return path


def write_bundle(folder: Path) -> Path:
    """A bundle of one `.toy` file, with golden clips."""
    folder.mkdir()
    card = make_card()
    path = write_file(folder / "model.toy", card)
    file = File(path.name, checksum(path), "f32", "toy", "1", {}, {}, "any", proven=True)
    proven = Verification(1, 0.0, 0.0, 1e-4, 1.0, 1.0, 1.0, 0.0)
    card = replace(card, files={path.name: file}, verification={path.name: proven})
    Golden(np.zeros((1, 8, 224, 224, 3), np.uint8), np.float32([LOGITS])).write(folder)
    (folder / "card.json").write_text(card.to_json())
    return folder
