"""Train the demo model from scratch, on generated video only: about an hour on two cores.

    python examples/train_demo.py out/demo [--scale 0.002, to see it run]
    python examples/train_demo.py out/resnet18 --arch resnet18   # the same, to judge int8 by

Three stages with growing pictures: motion is learnt from small ones, which cost a tenth, and the
last stage shows what the model will see. A stage that is done, or was interrupted, is resumed.
"""

import argparse
from pathlib import Path

from converters.architectures.classifier import VideoClassifier
from converters.architectures.mobilenet import mobilenet_v2
from converters.architectures.shift import Shift
from converters.architectures.topologies import initialize, topology
from converters.checkpoints.upstream import CONVENTION
from converters.recipe import preprocess_of
from converters.training.dataset import Augmentation, GeneratedClips, render_pool
from converters.training.run_folder import RunFolder
from converters.training.trainer import Trainer, TrainingSettings
from edge_tsm.demo.synthetic import LABELS, MIRRORED, REVERSED

TRAIN, VAL, SEGMENTS = 2_000_000, 1_000_000, 8  # first seeds; tests and benchmarks start at 0
STAGES = ((64, 9000, 128, 32), (112, 9000, 128, 32), (224, 2000, 256, 16))  # px, clips, side, batch
EFFORT = {  # epochs and learning rate of each stage
    "mobilenetv2": ((9, 3e-3), (8, 3e-3), (3, 1e-3)),
    "resnet18": ((6, 1e-3), (1, 1e-3), (1, 4e-4)),
}
NETWORKS = {  # the demo's has few channels: a quarter of them goes each way
    "mobilenetv2": (mobilenet_v2(width=0.35, last=256), Shift(segments=SEGMENTS, div=4)),
    "resnet18": (topology("resnet18"), Shift(segments=SEGMENTS, div=8)),
}


def pool(folder: Path, first: int, count: int, side: int) -> Path:
    """Render clips once; stages of the same side share them."""
    path = folder / f"clips-{first}-{count}-{side}.npy"
    if not path.exists():
        print(f"rendering {count} clips, {side} pixels", flush=True)
        render_pool(path, range(first, first + count), segments=SEGMENTS, side_px=side, workers=2)
    return path


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", type=Path)
parser.add_argument("--arch", choices=tuple(NETWORKS), default="mobilenetv2")
parser.add_argument("--scale", type=float, default=1.0, help="share of clips and epochs")
arguments = parser.parse_args()
folder, scale = arguments.folder, arguments.scale
folder.mkdir(parents=True, exist_ok=True)
network, shift = NETWORKS[arguments.arch]
dense = arguments.arch == "resnet18"  # bf16 pays at once; depthwise convolutions want pixels
model = VideoClassifier(network, len(LABELS), shift)
initialize(model, seed=1)
effort = EFFORT[arguments.arch]
for (size, count, side, batch), (epochs, rate) in zip(STAGES, effort, strict=True):
    view = Augmentation(size, multiscale=size > 64, mirrored=MIRRORED, reversed=REVERSED)
    train = GeneratedClips(pool(folder, TRAIN, round(count * scale), side), TRAIN, view)
    straight = Augmentation(size, multiscale=False)
    val = GeneratedClips(pool(folder, VAL, max(18, round(450 * scale)), side), VAL, straight)
    settings = TrainingSettings(
        max(1, round(epochs * scale)), batch, rate, "adamw", weight_decay=0.02, head_rate=1,
        dropout=0, partial_bn=False, patience=None, half=dense or size > 64,
    )  # fmt: skip
    trainer = Trainer(model, preprocess_of(CONVENTION, "rgb"), train, val, settings)
    run = RunFolder(folder / f"demo_{size}px", network, shift, LABELS)
    run.resume(trainer)
    trainer.fit(run.save, tell=lambda line: print(line, flush=True))
print(f"next: edge-tsm convert {run.path}/ckpt.best.pth.tar -o demo.bundle")
