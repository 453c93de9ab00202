#!/bin/sh
# Set up everything in .venv and run the main job once: checkpoint -> bundle -> answer on a video.
# PYTHON=python3.12 sh examples/quickstart.sh chooses another Python (3.10 to 3.13).
set -eu
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" -m venv .venv
# A torch without CUDA: the +cpu build of PyTorch's own index where that can be reached, else what
# the ordinary index has. Installed first, so that nothing below takes another one.
.venv/bin/pip install -q --retries 1 torch==2.13.0 --extra-index-url https://download.pytorch.org/whl/cpu
.venv/bin/pip install -q -e '.[convert,headless,test]'
run=out/TSM_gestures_RGB_mobilenetv2_shift8_blockres_avg_segment8_e1
.venv/bin/python examples/untrained_checkpoint.py out mobilenetv2
.venv/bin/edge-tsm convert $run/ckpt.best.pth.tar --labels $run/labels.txt -o out/gestures.bundle --force
.venv/bin/edge-tsm run out/gestures.bundle --source out/swipe.avi
