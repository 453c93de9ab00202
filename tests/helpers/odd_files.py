"""Checkpoints in odd forms, as small files: each tensor is one number repeated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zlib import crc32

import torch
from torch import Tensor

from converters.architectures.classifier import COUNTER, VideoClassifier
from converters.architectures.shift import Shift
from converters.architectures.topologies import topology
from converters.checkpoints.writer import upstream_names


def light_state(arch: str = "resnet18", *, classes: int = 5, salt: str = "") -> dict[str, Tensor]:
    """Return a whole network under upstream's names; `salt` changes the numbers."""
    network = topology(arch)
    with torch.device("meta"):
        model = VideoClassifier(network, classes, Shift(segments=8, div=8))
    return {
        name.removeprefix("module."): _repeated(crc32((salt + name).encode()) / 2**32, tensor.shape)
        for name, tensor in upstream_names(network, model.state_dict()).items()
        if not name.endswith(COUNTER)
    }


def _repeated(value: float, shape: torch.Size) -> Tensor:
    return torch.full([1] * len(shape), value).expand(shape)


def write_cases(shared: Path, folder: Path) -> Path:
    """Run the shared script that writes odd checkpoints, about 1.1 GB."""
    script = shared / "cases/checkpoints/make.py"
    subprocess.run([sys.executable, script, folder], check=True, timeout=300, capture_output=True)
    return folder
