"""Train the demo model from scratch, on generated video only: about an hour on two cores.

    python examples/train_demo.py out/demo [--scale 0.002, to see it run]

Three stages with growing pictures: motion is learnt from small ones, which cost a tenth, and the
last stage shows what the model will see. A stage that is done, or was interrupted, is resumed.
"""

import argparse
from pathlib import Path

from converters.checkpoints.mit import CONVENTION
from converters.models import VideoClassifier
from converters.models.topologies import initialize, mobilenet_v2
from converters.networks import Shift
from converters.recipe import preprocess_of
from converters.run_folder import RunFolder
from converters.training import Settings, Trainer
from converters.trainset import GeneratedClips, View, render_pool
from edge_tsm.synthetic import LABELS, MIRRORED, REVERSED

TRAIN, VAL = 2_000_000, 1_000_000  # first seeds; tests and benchmarks take theirs from 0 on
# picture size, clips and their side, epochs, learning rate, batch
STAGES = (
    (64, 9000, 128, 9, 3e-3, 32),
    (112, 9000, 128, 8, 3e-3, 32),
    (224, 2000, 256, 3, 1e-3, 16),
)
SHIFT = Shift(segments=8, div=4)  # few channels: a quarter of them each way


def pool(folder: Path, first: int, count: int, side: int) -> Path:
    """Render clips once; stages of the same side share them."""
    path = folder / f"clips-{first}-{count}-{side}.npy"
    if not path.exists():
        print(f"rendering {count} clips, {side} pixels", flush=True)
        render_pool(
            path, range(first, first + count), segments=SHIFT.segments, side_px=side, workers=2
        )
    return path


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", type=Path)
parser.add_argument("--scale", type=float, default=1.0, help="share of clips and epochs")
arguments = parser.parse_args()
folder, scale = arguments.folder, arguments.scale
folder.mkdir(parents=True, exist_ok=True)
network = mobilenet_v2(width=0.35, last=256)
model = VideoClassifier(network, len(LABELS), SHIFT)
initialize(model, seed=1)
for size, count, side, epochs, rate, batch in STAGES:
    view = View(size, multiscale=size > 64, mirrored=MIRRORED, reversed=REVERSED)
    train = GeneratedClips(pool(folder, TRAIN, round(count * scale), side), TRAIN, view)
    straight = View(size, multiscale=False)
    val = GeneratedClips(pool(folder, VAL, max(18, round(450 * scale)), side), VAL, straight)
    settings = Settings(
        max(1, round(epochs * scale)), batch, rate, "adamw", weight_decay=0.02, head_rate=1,
        dropout=0, partial_bn=False, patience=None, half=size > 64,
    )  # fmt: skip
    trainer = Trainer(model, preprocess_of(CONVENTION, "rgb"), train, val, settings)
    run = RunFolder(folder / f"demo_{size}px", network, SHIFT, LABELS)
    run.resume(trainer)
    trainer.fit(run.save, tell=lambda line: print(line, flush=True))
print(f"next: edge-tsm convert {run.path}/ckpt.best.pth.tar -o demo.bundle")
