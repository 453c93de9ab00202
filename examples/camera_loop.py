"""Answers inside your own camera loop, with OpenCV and no thread of edge-tsm.

    python examples/camera_loop.py out/demo.bundle 0

The second argument is a camera index, or a video file to try it with.
"""

import sys
import time

import cv2

import edge_tsm
from edge_tsm.live.timing import TimeWindow

bundle, device = sys.argv[1:3]
recognizer = edge_tsm.load(bundle)
sampling = recognizer.card.sampling
window: TimeWindow = TimeWindow(sampling.segments, window_s=1.0)
camera = cv2.VideoCapture(int(device) if device.isdecimal() else device)
next_s = 0.0
while True:
    ok, image = camera.read()
    if not ok:
        break
    # A file is read faster than it was filmed: its own clock counts, a camera's is the wall's.
    media_s = camera.get(cv2.CAP_PROP_POS_MSEC) / 1000
    now_s = time.monotonic() if device.isdecimal() else media_s
    window.push(now_s, recognizer.prepare(image))  # each frame is resized once
    clip = window.clip()
    if clip is not None and now_s >= next_s:  # None until one second of frames is there
        print(f"{now_s:8.2f} s  {recognizer.predict([crop for _, crop in clip]).label}")
        next_s = now_s + sampling.every_s
