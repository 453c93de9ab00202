"""Write an UNTRAINED checkpoint in the official format, and a clip, to try every command with.

    python examples/untrained_checkpoint.py out [mobilenetv2|resnet18|resnet34|resnet50|resnet101]

The folder is laid out as upstream's main.py leaves it. The weights are random, so its answers
mean nothing; the path they take is the real one.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from converters.architectures.classifier import VideoClassifier
from converters.architectures.shift import Shift
from converters.architectures.topologies import initialize, topology
from converters.checkpoints.writer import upstream_names

LABELS = ("swipe left", "swipe right", "zoom in", "zoom out", "nothing")


def write_checkpoint(folder: Path, arch: str) -> Path:
    """Write ckpt.best.pth.tar and labels.txt into a TSM_… folder, and return it."""
    run = folder / f"TSM_gestures_RGB_{arch}_shift8_blockres_avg_segment8_e1"
    run.mkdir(parents=True, exist_ok=True)
    network = topology(arch)
    model = VideoClassifier(network, len(LABELS), Shift(segments=8, div=8))
    initialize(model, seed=1)
    weights = upstream_names(network, model.state_dict())
    outer = {"epoch": 1, "arch": arch, "state_dict": weights, "best_prec1": 20.0}
    torch.save(outer, run / "ckpt.best.pth.tar")
    (run / "labels.txt").write_text("\n".join(LABELS) + "\n")
    return run


def write_clip(path: Path) -> None:
    """Write two seconds of a disc that moves to the right."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 240))
    noise = np.random.default_rng(0).integers(60, 120, (240, 320, 3), dtype=np.uint8)
    for t in range(50):
        frame = noise.copy()
        cv2.circle(frame, (40 + 5 * t, 120), 30, (60, 120, 230), -1)
        writer.write(frame)
    writer.release()


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", type=Path)
parser.add_argument("arch", nargs="?", default="mobilenetv2")
arguments = parser.parse_args()
run = write_checkpoint(arguments.folder, arguments.arch)
write_clip(arguments.folder / "swipe.avi")
print(f"{run}/ckpt.best.pth.tar\n{arguments.folder}/swipe.avi")
