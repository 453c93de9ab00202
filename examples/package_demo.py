"""Convert the trained demo checkpoints into the bundles that come with the package.

    python examples/package_demo.py out/demo edge_tsm/demo

Int8 is calibrated on generated clips that are neither trained on nor tested with.
"""

import sys
from pathlib import Path

import numpy as np

from converters.build import Settings, convert
from converters.calibration import ClipSet
from converters.checkpoints.mit import CONVENTION
from converters.int8 import Int8
from converters.recipe import Options, preprocess_of
from edge_tsm.card import Preprocess
from edge_tsm.demo import bundle
from edge_tsm.preprocess import Preprocessor
from edge_tsm.synthetic import generate, label_of

CALIBRATION, HELD_OUT = range(3_000_000, 3_000_090), range(3_100_000, 3_100_180)
FORMS = {"clip": "TSM_demo_224px", "online": "TSM_demo_online_224px"}


def clips(seeds: range, preprocess: Preprocess) -> ClipSet:
    """Render clips as the device prepares them."""
    prepare = Preprocessor(preprocess)
    crops = [[prepare.crop(f) for f in generate(s, short_side_px=240)] for s in seeds]
    return ClipSet(np.array(crops), np.array([label_of(s) for s in seeds]))


trained, target = map(Path, sys.argv[1:3])
preprocess = preprocess_of(CONVENTION, "rgb")
int8 = Int8(clips(CALIBRATION, preprocess), clips(HELD_OUT, preprocess))
for form, run in FORMS.items():
    name = bundle(form).name
    convert(
        trained / run / "ckpt.best.pth.tar",
        target / name,
        Options(window_s=2.0, online=form == "online"),
        Settings(ir=False, int8=int8, force=(target / name).exists()),
        tell=lambda line: print(line, flush=True),
    )
