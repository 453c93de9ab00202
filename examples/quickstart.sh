#!/bin/sh
# Set up everything in .venv and do the main job once: the demo model answers, its checkpoint is
# converted into a proven bundle, and the bundle answers on a video.
# PYTHON=python3.12 sh examples/quickstart.sh chooses another Python (3.10 to 3.13).
set -eu
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" -m venv .venv
# A torch without CUDA: the +cpu build of PyTorch's own index where that can be reached, else what
# the ordinary index has. Installed first, so that nothing below takes another one.
.venv/bin/pip install -q --retries 1 torch==2.13.0 --extra-index-url https://download.pytorch.org/whl/cpu
.venv/bin/pip install -q -e '.[convert,headless,test]'
mkdir -p out
.venv/bin/edge-tsm demo --clips 3 --save out/demo.mp4 --force
.venv/bin/edge-tsm convert examples/demo/ckpt.best.pth.tar -o out/demo.bundle --force
.venv/bin/edge-tsm run out/demo.bundle --source out/demo.mp4
