"""Train a small SlowFast or TimeSformer from scratch, on generated video only: to judge int8 by.

    python examples/train_video_network.py out/slowfast --network slowfast [--scale 0.01, to try]
    python benchmarks/demo.py out/slowfast/slowfast_16x4.pyth --side-px 80   # converts, with int8

The file is as Facebook's own code writes it, labels beside it. A run goes on where it stopped.
A TimeSformer sees plain clips first: begun on the others, it was at 19 % after five epochs.
"""

import argparse
from pathlib import Path
from types import SimpleNamespace

import torch

from converters.architectures.slowfast import slowfast
from converters.architectures.timesformer import TimeSformer, begin_as_shift
from converters.architectures.topologies import initialize
from converters.checkpoints import facebook_slowfast, timesformer
from converters.recipe import preprocess_of
from converters.training.dataset import Augmentation, GeneratedClips, render_pool
from converters.training.trainer import Trainer, TrainingSettings
from edge_tsm.demo.synthetic import LABELS, MIRRORED, REVERSED

TRAIN, VAL, SIZE_PX, SIDE_PX = 2_000_000, 1_000_000, 64, 80
SMALL = TimeSformer("divided", 4, 128, 512, patch=16, patches=4, frames=8, heads=2)
NETWORKS = {  # frames, spec, fresh, names, batch, sizes, stages of (plain, clips, epochs, rate)
    "slowfast": (16, slowfast(16, (2, 2, 2, 2), alpha=4, thinner=4), initialize,
                 facebook_slowfast.facebook_state, 32, True, [(False, 9000, 5, 3e-3)]),
    "timesformer": (8, SMALL, begin_as_shift, timesformer.facebook_state, 16, False,
                    [(True, 6000, 2, 1e-3), (False, 9000, 8, 7e-4)]),
}  # fmt: skip
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", type=Path)
parser.add_argument("--network", choices=tuple(NETWORKS), default="slowfast")
parser.add_argument("--scale", type=float, default=1.0, help="share of clips and epochs")
arguments = parser.parse_args()
folder, scale = arguments.folder, arguments.scale
frames, spec, fresh, names, batch, several, stages = NETWORKS[arguments.network]
data = f"NUM_FRAMES: {frames}, SAMPLING_RATE: {64 // frames}, TRAIN_CROP_SIZE: {SIZE_PX}"
folder.mkdir(parents=True, exist_ok=True)
model = spec.classifier(SimpleNamespace(segments=frames, classes=len(LABELS)))
fresh(model, seed=1)


def clips(first: int, count: int, view: Augmentation, *, plain: bool) -> GeneratedClips:
    """Render clips once."""
    path, seeds = folder / f"clips-{first}-{count}-{plain}.npy", range(first, first + count)
    if not path.exists():
        render_pool(path, seeds, segments=frames, side_px=SIDE_PX, workers=2, plain=plain)
    return GeneratedClips(path, first, view)


def save(trainer: Trainer) -> None:
    """Keep what a run goes on from, and the best epoch as Facebook's code would."""
    torch.save(trainer.state(), last)
    if not trainer.history.stale:
        content = {"model_state": names(model), "cfg": f"DATA: {{{data}}}\nSLOWFAST: {{ALPHA: 4}}"}
        torch.save(content, folder / f"{arguments.network}_{frames}x{64 // frames}.pyth")
        (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")


view = Augmentation(SIZE_PX, multiscale=several, mirrored=MIRRORED, reversed=REVERSED)
preprocess = preprocess_of(timesformer.NAMING.convention, "rgb")
for number, (plain, count, epochs, rate) in enumerate(stages):
    train = clips(TRAIN, round(count * scale), view, plain=plain)
    val = clips(VAL, max(18, round(450 * scale)), Augmentation(SIZE_PX, False), plain=plain)
    settings = TrainingSettings(max(1, round(epochs * scale)), batch, rate, "adamw", 0.02, 1,
                                dropout=0, partial_bn=False, patience=None)  # fmt: skip
    trainer, last = Trainer(model, preprocess, train, val, settings), folder / f"last-{number}.pt"
    if last.exists():
        trainer.resume(torch.load(last, weights_only=True))
    trainer.fit(save, tell=lambda line: print(line, flush=True))
