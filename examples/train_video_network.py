"""Train a small SlowFast or TimeSformer from scratch, on generated video only: to judge int8 by.

    python examples/train_video_network.py out/slowfast --network slowfast [--scale 0.01]
    edge-tsm convert out/slowfast/slowfast_4x16.pyth --int8 --calibrate videos -o slowfast.bundle

The file is in the form of Facebook's own code (facebookresearch/SlowFast, TimeSformer), with the
labels beside it. A run that was interrupted goes on; `--scale` 0.01 shows in a minute that it runs.
"""

import argparse
from pathlib import Path
from types import SimpleNamespace

import torch

from converters.architectures.slowfast import slowfast
from converters.architectures.timesformer import TimeSformer, initialize_tokens
from converters.architectures.topologies import initialize
from converters.checkpoints import facebook_slowfast, timesformer
from converters.recipe import preprocess_of
from converters.training.dataset import Augmentation, GeneratedClips, render_pool
from converters.training.trainer import Trainer, TrainingSettings
from edge_tsm.demo.synthetic import LABELS, MIRRORED, REVERSED

TRAIN, VAL, SIZE_PX, SIDE_PX = 2_000_000, 1_000_000, 64, 80
NETWORKS = {  # frames, spec, fresh weights, names in the file, clips, epochs, learning rate
    "slowfast": (
        16, slowfast(16, (2, 2, 2, 2), alpha=4, thinner=4), initialize,
        facebook_slowfast.facebook_state, 9000, 5, 3e-3,
    ),
    "timesformer": (
        8, TimeSformer("divided", 4, 128, 512, patch=16, patches=4, frames=8, heads=2),
        initialize_tokens, timesformer.facebook_state, 9000, 12, 1e-3,
    ),
}  # fmt: skip

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", type=Path)
parser.add_argument("--network", choices=tuple(NETWORKS), default="slowfast")
parser.add_argument("--scale", type=float, default=1.0, help="share of clips and epochs")
arguments = parser.parse_args()
folder, scale = arguments.folder, arguments.scale
frames, spec, fresh, names, count, epochs, rate = NETWORKS[arguments.network]
name = f"{arguments.network}_{frames}x{64 // frames}.pyth"
data = f"DATA: {{NUM_FRAMES: {frames}, SAMPLING_RATE: {64 // frames}, TRAIN_CROP_SIZE: {SIZE_PX}}}"
folder.mkdir(parents=True, exist_ok=True)


def clips(first: int, count: int, view: Augmentation) -> GeneratedClips:
    """Render clips once."""
    path = folder / f"clips-{first}-{count}-{frames}.npy"
    if not path.exists():
        seeds = range(first, first + count)
        render_pool(path, seeds, segments=frames, side_px=SIDE_PX, workers=2)
    return GeneratedClips(path, first, view)


def save(trainer: Trainer) -> None:
    """Keep what a run goes on from, and the best epoch as Facebook's code would."""
    torch.save(trainer.state(), folder / "last.pt")
    if not trainer.history.stale:
        content = {"epoch": len(trainer.history.epochs), "model_state": names(model)}
        torch.save({**content, "cfg": f"{data}\nSLOWFAST: {{ALPHA: 4}}"}, folder / name)
        (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")


model = spec.classifier(SimpleNamespace(segments=frames, classes=len(LABELS)))
fresh(model, seed=1)
view = Augmentation(SIZE_PX, multiscale=True, mirrored=MIRRORED, reversed=REVERSED)
train = clips(TRAIN, round(count * scale), view)
val = clips(VAL, max(18, round(450 * scale)), Augmentation(SIZE_PX, multiscale=False))
settings = TrainingSettings(
    max(1, round(epochs * scale)), 32, rate, "adamw", weight_decay=0.02, head_rate=1,
    dropout=0, partial_bn=False, patience=None,
)  # fmt: skip
trainer = Trainer(model, preprocess_of(timesformer.NAMING.convention, "rgb"), train, val, settings)
if (folder / "last.pt").exists():
    trainer.resume(torch.load(folder / "last.pt", weights_only=True))
trainer.fit(save, tell=lambda line: print(line, flush=True))
