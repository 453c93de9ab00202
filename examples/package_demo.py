"""Convert the demo checkpoints into the bundles that come with the package.

    python examples/package_demo.py edge_tsm/demo                       # from examples/demo
    python examples/package_demo.py edge_tsm/demo --trained out/demo    # after training

Trained checkpoints are first stored in examples/demo, rounded to 16 bits. Int8 is calibrated on
generated clips that are neither trained on nor tested with.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch

from converters import ClipSet, Int8, Options, Settings, convert
from converters.checkpoints.upstream import CONVENTION
from converters.recipe import preprocess_of
from edge_tsm.demo import bundle
from edge_tsm.demo.synthetic import generate, label_of
from edge_tsm.inference.preprocess import Preprocessor

HERE = Path(__file__).parent / "demo"
CALIBRATION, HELD_OUT = range(3_000_000, 3_000_032), 3_100_000
RUNS = {"clip": "demo_224px", "online": "demo_online_224px"}
CHECKPOINTS = {"clip": HERE / "ckpt.best.pth.tar", "online": HERE / "online.best.pth.tar"}


def store(run: Path, form: str) -> None:
    """Keep a checkpoint, its weights rounded to 16 bits, and the curves of all stages."""
    outer = torch.load(run / "ckpt.best.pth.tar", weights_only=True)
    halved = {k: v.half() if v.is_floating_point() else v for k, v in outer["state_dict"].items()}
    torch.save(outer | {"state_dict": halved}, CHECKPOINTS[form])
    for stage in run.parent.glob(run.name.replace("224px", "[0-9]*px")):
        for name in ("log.csv", "curves.svg"):
            shutil.copy(stage / name, HERE / f"{stage.name}.{name}")


def clips(seeds: range) -> ClipSet:
    """Render clips as the device prepares them."""
    prepare = Preprocessor(preprocess_of(CONVENTION, "rgb"))
    crops = [[prepare.crop(f) for f in generate(s, short_side_px=240)] for s in seeds]
    return ClipSet(np.array(crops), np.array([label_of(s) for s in seeds]))


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("target", type=Path)
parser.add_argument("--trained", type=Path, help="the folder of train_demo.py")
parser.add_argument("--held-out", type=int, default=180, help="clips that int8 is judged by")
arguments = parser.parse_args()
held_out = range(HELD_OUT, HELD_OUT + arguments.held_out)
int8 = Int8(clips(CALIBRATION), clips(held_out))
for form, checkpoint in CHECKPOINTS.items():
    if arguments.trained is not None:
        store(arguments.trained / RUNS[form], form)
    target = arguments.target / bundle(form).name
    options = Options(window_s=2.0, online=form == "online")
    settings = Settings(ir=False, int8=int8, force=target.exists())
    convert(checkpoint, target, options, settings, progress=lambda line: print(line, flush=True))
