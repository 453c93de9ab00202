"""Train a small SlowFast or TimeSformer from scratch, on generated video only: to judge int8 by.

    python examples/train_video_network.py out/slowfast --network slowfast [--scale 0.01, to try]
    python benchmarks/demo.py out/slowfast/slowfast_16x4.pyth --side-px 80   # converts, with int8

The file is as Facebook's own code writes it, labels beside it. A run goes on where it stopped.
A TimeSformer sees plain clips first: begun on the others, it was at 19 % after five epochs.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from converters.architectures.network import Network
from converters.architectures.slowfast import slowfast
from converters.architectures.timesformer import TimeSformer, begin_as_shift, initialize_tokens
from converters.architectures.topologies import initialize
from converters.checkpoints import facebook_slowfast, timesformer
from converters.recipe import preprocess_of
from converters.training.dataset import Augmentation, GeneratedClips, render_pool
from converters.training.trainer import Trainer, TrainingSettings
from edge_tsm.demo.synthetic import LABELS, MIRRORED, REVERSED

TRAIN, VAL, SIZE_PX, SIDE_PX = 2_000_000, 1_000_000, 64, 80


@dataclass(frozen=True)
class Stage:
    """What is trained on, and how."""

    clips: int
    epochs: int
    learning_rate: float
    plain: bool = False


@dataclass(frozen=True)
class Training:
    """A network, its names in the file, and how it is trained."""

    frames: int
    spec: Network
    fresh: Callable[[Any], None]
    names: Callable[[Any], dict[str, torch.Tensor]]
    batch: int
    multiscale: bool  # crops of several sizes
    stages: tuple[Stage, ...]


def fresh_tokens(model: Any) -> None:
    """Give a TimeSformer weights from which it learns that frames have an order."""
    initialize_tokens(model, seed=1)
    begin_as_shift(model)


TRAININGS = {
    "slowfast": Training(
        frames=16,
        spec=slowfast(16, (2, 2, 2, 2), alpha=4, thinner=4),
        fresh=lambda model: initialize(model, seed=1),
        names=facebook_slowfast.facebook_state,
        batch=32,
        multiscale=True,
        stages=(Stage(9000, 5, 3e-3),),
    ),
    "timesformer": Training(
        frames=8,
        spec=TimeSformer("divided", 4, 128, 512, patch=16, patches=4, frames=8, heads=2),
        fresh=fresh_tokens,
        names=timesformer.facebook_state,
        batch=16,
        multiscale=False,
        stages=(Stage(6000, 2, 1e-3, plain=True), Stage(9000, 8, 7e-4)),
    ),
}

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", type=Path)
parser.add_argument("--network", choices=tuple(TRAININGS), default="slowfast")
parser.add_argument("--scale", type=float, default=1.0, help="share of clips and epochs")
arguments = parser.parse_args()
folder, scale, training = arguments.folder, arguments.scale, TRAININGS[arguments.network]
frames = training.frames
data = f"NUM_FRAMES: {frames}, SAMPLING_RATE: {64 // frames}, TRAIN_CROP_SIZE: {SIZE_PX}"
folder.mkdir(parents=True, exist_ok=True)


def clips(first: int, count: int, view: Augmentation, *, plain: bool) -> GeneratedClips:
    """Render clips once."""
    path = folder / f"{'plain' if plain else 'clips'}-{first}-{count}-{frames}.npy"
    if not path.exists():
        seeds = range(first, first + count)
        render_pool(path, seeds, segments=frames, side_px=SIDE_PX, workers=2, plain=plain)
    return GeneratedClips(path, first, view)


def trainer_of(stage: Stage) -> Trainer:
    """Return what trains a stage: from where the stage before, or a stopped run, ended."""
    view = Augmentation(
        SIZE_PX, multiscale=training.multiscale, mirrored=MIRRORED, reversed=REVERSED
    )
    straight = Augmentation(SIZE_PX, multiscale=False)
    train = clips(TRAIN, round(stage.clips * scale), view, plain=stage.plain)
    val = clips(VAL, max(18, round(450 * scale)), straight, plain=stage.plain)
    settings = TrainingSettings(
        max(1, round(stage.epochs * scale)), training.batch, stage.learning_rate, "adamw", 0.02, 1,
        dropout=0, partial_bn=False, patience=None,
    )  # fmt: skip
    return Trainer(model, preprocess_of(timesformer.NAMING.convention, "rgb"), train, val, settings)


model = training.spec.classifier(SimpleNamespace(segments=frames, classes=len(LABELS)))
training.fresh(model)
for number, stage in enumerate(training.stages):
    resumed = folder / f"last-{number}.pt"
    trainer = trainer_of(stage)

    def save(trainer: Trainer, resumed: Path = resumed) -> None:
        """Keep what a run goes on from, and the best epoch as Facebook's code would."""
        torch.save(trainer.state(), resumed)
        if not trainer.history.stale:
            config = f"DATA: {{{data}}}\nSLOWFAST: {{ALPHA: 4}}"
            content = {"model_state": training.names(model), "cfg": config}
            torch.save(content, folder / f"{arguments.network}_{frames}x{64 // frames}.pyth")
            (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")

    if resumed.exists():
        trainer.resume(torch.load(resumed, weights_only=True))
    trainer.fit(save, tell=lambda line: print(line, flush=True))
