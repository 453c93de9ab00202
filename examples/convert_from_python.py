"""Convert a checkpoint from Python, and compare the bundle with your own preprocessing.

python examples/convert_from_python.py CHECKPOINT BUNDLE
"""

import sys
from pathlib import Path

import numpy as np

import edge_tsm
from converters import Options, Settings, convert

checkpoint, bundle = map(Path, sys.argv[1:3])
try:
    convert(checkpoint, bundle, Options(segments=8), Settings(force=True), progress=print)
except edge_tsm.ConversionError as error:
    sys.exit(f"not converted: {error}")

card = edge_tsm.Card.read(bundle)
for name, proven in card.verification.items():
    print(f"{name}: max |Δ| {proven.max_rel_diff:.1e} of the logit range on {proven.clips} clips")
with edge_tsm.load(bundle) as recognizer:
    frames = [np.full((240, 320, 3), 20 * t, np.uint8) for t in range(12)]
    print(recognizer(frames).to_json(k=1)["top"])
