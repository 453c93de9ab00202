"""Classify a video file from Python.

python examples/classify_file.py out/demo.bundle out/demo.mp4
"""

import sys

import edge_tsm

bundle, video = sys.argv[1:3]
with edge_tsm.load(bundle) as recognizer:
    for prediction in edge_tsm.Pipeline(edge_tsm.open_source(video), recognizer):
        for score in prediction.top(3):
            print(f"{score.probability:6.1%}  {score.label}")
