"""Train a small TimeSformer from scratch, on generated video only: to judge its int8 by.

    python examples/train_timesformer.py out/timesformer [--scale 0.01, to see it run]
    edge-tsm convert out/timesformer/timesformer_8x4.pyth --int8 clips/ -o timesformer.bundle

The file is in the form of facebookresearch/TimeSformer, with the labels beside it. A run that was
interrupted goes on.
"""

import argparse
from pathlib import Path

import torch

from converters.architectures import timesformer
from converters.architectures.timesformer import TimeSformer
from converters.checkpoints.timesformer import facebook_state
from converters.checkpoints.video_transformers import FACEBOOK
from converters.recipe import preprocess_of
from converters.training.dataset import Augmentation, GeneratedClips, render_pool
from converters.training.trainer import Trainer, TrainingSettings
from edge_tsm.demo.synthetic import LABELS, MIRRORED, REVERSED

TRAIN, VAL, FRAMES, SIZE_PX, SIDE_PX = 2_000_000, 1_000_000, 8, 64, 80
CFG = "DATA: {NUM_FRAMES: 8, SAMPLING_RATE: 4}\nTIMESFORMER: {ATTENTION_TYPE: divided_space_time}"
SIZES = {"depth": 4, "width": 128, "hidden": 512, "patch": 16, "patches": SIZE_PX // 16}
SPEC = TimeSformer("divided", frames=FRAMES, heads=2, **SIZES)

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", type=Path)
parser.add_argument("--scale", type=float, default=1.0, help="share of clips and epochs")
arguments = parser.parse_args()
folder, scale = arguments.folder, arguments.scale
folder.mkdir(parents=True, exist_ok=True)


def clips(first: int, count: int, view: Augmentation) -> GeneratedClips:
    """Render clips once."""
    path = folder / f"clips-{first}-{count}.npy"
    if not path.exists():
        seeds = range(first, first + count)
        render_pool(path, seeds, segments=FRAMES, side_px=SIDE_PX, workers=2)
    return GeneratedClips(path, first, view)


def save(trainer: Trainer) -> None:
    """Keep what a run goes on from, and the best epoch as Facebook's code would."""
    torch.save(trainer.state(), folder / "last.pt")
    if not trainer.history.stale:
        content = {"epoch": len(trainer.history.epochs), "model_state": facebook_state(model)}
        torch.save({**content, "cfg": CFG}, folder / "timesformer_8x4.pyth")
        (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")


model = timesformer.TimeSformerClassifier(SPEC, len(LABELS), frames=FRAMES, heads=2)
timesformer.initialize_tokens(model, seed=1)
view = Augmentation(SIZE_PX, multiscale=True, mirrored=MIRRORED, reversed=REVERSED)
train = clips(TRAIN, round(4000 * scale), view)
val = clips(VAL, max(18, round(450 * scale)), Augmentation(SIZE_PX, multiscale=False))
settings = TrainingSettings(
    max(1, round(60 * scale)), 32, 1e-3, "adamw", weight_decay=0.05, head_rate=1,
    dropout=0, partial_bn=False, patience=None,
)  # fmt: skip
trainer = Trainer(model, preprocess_of(FACEBOOK, "rgb"), train, val, settings)
if (folder / "last.pt").exists():
    trainer.resume(torch.load(folder / "last.pt", weights_only=True))
trainer.fit(save, tell=lambda line: print(line, flush=True))
