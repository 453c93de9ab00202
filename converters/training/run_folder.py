"""The folder a training leaves: checkpoints in upstream's own format, arguments, labels, curves.

Upstream's code loads `ckpt.best.pth.tar` (test_models.py, main.py --tune_from), and `convert` finds
beside it what weights cannot tell. `resume.pt` is this project's own, to continue after a stop.
"""

from __future__ import annotations

import csv
from argparse import Namespace
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from converters.architectures.base import FrameNetwork, shift_place
from converters.architectures.shift import Shift
from converters.checkpoints.writer import upstream_names
from converters.training.trainer import Epoch, Trainer
from edge_tsm.errors import InputError, SinkError
from edge_tsm.evaluation.charts import training_chart
from edge_tsm.system.files import whole_file

RESUME = "resume.pt"
BEST, LATEST = "ckpt.best.pth.tar", "ckpt.pth.tar"


@dataclass(frozen=True)
class RunFolder:
    """Where a training is kept.

    Args:
        path: the folder; made where missing.
        network, shift, labels: what is trained.
    """

    path: Path
    network: FrameNetwork
    shift: Shift
    labels: tuple[str, ...]

    def save(self, trainer: Trainer) -> None:
        """Write the state after an epoch; every file is whole or absent.

        Raises:
            SinkError: the folder cannot be written.
        """
        epoch = trainer.history.epochs[-1]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{self.path}: cannot be written ({error.strerror})") from error
        self._describe(trainer)
        checkpoint = self.checkpoint(trainer)
        names = [LATEST, BEST] if trainer.history.best is epoch else [LATEST]
        state = trainer.state() | {"facts": self._facts(trainer)}
        for name, content in (*((n, checkpoint) for n in names), (RESUME, state)):
            with whole_file(self.path / name) as path:
                torch.save(content, path)

    def resume(self, trainer: Trainer) -> None:
        """Put a trainer where the last epoch left it; without a saved state it is left as is.

        Raises:
            InputError: the state is of another network or other settings.
        """
        path = self.path / RESUME
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            for name, value in self._facts(trainer).items():
                if state["facts"][name] != value:
                    raise ValueError(f"{name} was {state['facts'][name]}, now {value}")
            trainer.resume(state)
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            reason = next(iter(str(error).strip().splitlines()), "")
            raise InputError(
                f"{path} is of another training ({reason:.120}); train into another folder"
            ) from error

    def _facts(self, trainer: Trainer) -> dict[str, Any]:
        return {**trainer.facts, **vars(self.shift), "labels": list(self.labels)}

    def checkpoint(self, trainer: Trainer) -> dict[str, Any]:
        """Return what upstream's main.py saves, and the facts that its format leaves out."""
        state = {name: value.cpu() for name, value in trainer.model.state_dict().items()}
        return {
            "epoch": trainer.history.epochs[-1].number,
            "arch": self.network.name,
            "state_dict": upstream_names(self.network, state),
            "best_prec1": round(100 * trainer.history.best.val_top1, 4),
            "num_segments": self.shift.segments,
            "shift_div": self.shift.div,
            "shift_direction": self.shift.direction,
            "input_size": trainer.preprocess.crop_px,
            "output_activation": trainer.settings.activation,
            "labels": list(self.labels),
        }

    def _describe(self, trainer: Trainer) -> None:
        """Write labels.txt, args.txt, log.csv and curves.svg."""
        with whole_file(self.path / "labels.txt") as path:
            path.write_text("".join(f"{name}\n" for name in self.labels), encoding="utf-8")
        known = {
            "arch": self.network.name,
            "num_segments": self.shift.segments,
            "consensus_type": "avg",
            "modality": "RGB",
            "shift": shift_place(self.network) != "none",
            "shift_div": self.shift.div,
            "shift_place": shift_place(self.network),
            "shift_direction": self.shift.direction,
            "input_size": trainer.preprocess.crop_px,
            "output_activation": trainer.settings.activation,
        }
        with whole_file(self.path / "args.txt") as path:
            path.write_text(str(Namespace(**known, **vars(trainer.settings))), encoding="utf-8")
        with (
            whole_file(self.path / "log.csv") as path,
            path.open("w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.writer(stream)
            writer.writerow(field.name for field in fields(Epoch))
            writer.writerows(astuple(epoch) for epoch in trainer.history.epochs)
        epochs = trainer.history.epochs
        chart = training_chart(
            {
                "training": [e.train_loss for e in epochs],
                "validation": [e.val_loss for e in epochs],
            },
            {
                "training": [e.train_top1 for e in epochs],
                "validation": [e.val_top1 for e in epochs],
            },
            self.path.name,
        )
        with whole_file(self.path / "curves.svg") as path:
            path.write_text(chart.markup(), encoding="utf-8")


def run_name(dataset: str, network: FrameNetwork, shift: Shift, epochs: int) -> str:
    """Return the name upstream's main.py gives to a run."""
    place = shift_place(network)
    parts = ["TSM", dataset, "RGB", network.name]
    parts += [f"shift{shift.div}", place] if place != "none" else []
    return "_".join([*parts, "avg", f"segment{shift.segments}", f"e{epochs}"])
