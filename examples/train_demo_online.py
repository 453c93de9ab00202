"""Turn the trained demo model into one that takes a frame at a time, with itself as teacher.

    python examples/train_demo_online.py out/demo      # after train_demo.py with the same folder

Any clip model is turned in the same way on your own clips: examples/finetune.py --online.
"""

import argparse
from pathlib import Path

from converters.checkpoints.upstream import CONVENTION
from converters.recipe import preprocess_of
from converters.training.dataset import Augmentation, GeneratedClips
from converters.training.finetune import start_from
from converters.training.run_folder import RunFolder
from converters.training.trainer import Distillation, Trainer, TrainingSettings
from edge_tsm.demo.synthetic import LABELS, MIRRORED, REVERSED

TRAIN, VAL = 2_000_000, 1_000_000  # as in train_demo.py, whose clips are used again
# picture size, clips and their side, epochs, learning rate, batch
STAGES = ((112, 9000, 128, 1, 2e-3, 32), (224, 2000, 256, 1, 1e-3, 16))

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", type=Path)
parser.add_argument("--scale", type=float, default=1.0, help="as of train_demo.py")
arguments = parser.parse_args()
folder, scale = arguments.folder, arguments.scale
clip_model = folder / "demo_224px/ckpt.best.pth.tar"
student, teacher = start_from(clip_model, LABELS, online=True), start_from(clip_model, LABELS)
for size, count, side, epochs, rate, batch in STAGES:
    view = Augmentation(size, mirrored=MIRRORED, reversed=REVERSED)
    pool = folder / f"clips-{TRAIN}-{round(count * scale)}-{side}.npy"
    held = folder / f"clips-{VAL}-{max(18, round(450 * scale))}-{side}.npy"
    train = GeneratedClips(pool, TRAIN, view)
    val = GeneratedClips(held, VAL, Augmentation(size, multiscale=False))
    settings = TrainingSettings(
        max(1, round(epochs * scale)), batch, rate, "adamw", weight_decay=0.02, head_rate=1,
        dropout=0, partial_bn=False, patience=None,
    )  # fmt: skip
    lesson = Distillation(teacher.model, share=0.5)
    preprocess = preprocess_of(CONVENTION, "rgb")
    trainer = Trainer(student.model, preprocess, train, val, settings, distillation=lesson)
    run = RunFolder(folder / f"demo_online_{size}px", student.network, student.shift, LABELS)
    run.resume(trainer)
    trainer.fit(run.save, tell=lambda line: print(line, flush=True))
print(f"next: edge-tsm convert {run.path}/ckpt.best.pth.tar --online")
