"""Write generated videos into class folders, to try frames, evaluate and fine-tuning with.

python examples/generated_videos.py videos --clips 12 "swipe left" "swipe right"
"""

import argparse
from pathlib import Path

import cv2

from edge_tsm.demo.synthetic import LABELS, generate

FPS, FRAMES, SHORT_SIDE_PX = 25, 50, 240

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", type=Path)
parser.add_argument("classes", nargs="*", default=LABELS, help=f"of: {', '.join(LABELS)}")
parser.add_argument("--clips", type=int, default=12, help="per class")
parser.add_argument("--seed", type=int, default=600_000, help="of the first clip")
arguments = parser.parse_intermixed_args()
for label in arguments.classes:
    if label not in LABELS:
        parser.error(f"no class {label!r}; there are {', '.join(LABELS)}")
    folder = arguments.folder / label
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(arguments.seed, arguments.seed + arguments.clips):
        images = generate(
            seed, label=LABELS.index(label), times=FRAMES, short_side_px=SHORT_SIDE_PX
        )
        size = images.shape[2], images.shape[1]
        path = str(folder / f"{seed}.mp4")
        writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"mp4v"), FPS, size)
        for image in images:
            writer.write(image)
        writer.release()
    print(f"{folder}: {arguments.clips} clips")
