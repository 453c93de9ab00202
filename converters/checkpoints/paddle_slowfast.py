"""PaddleVideo's SlowFast: PySlowFast's names and habits, Paddle's layers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from converters.checkpoints import facebook_slowfast
from converters.checkpoints.keys import Tensors
from converters.checkpoints.video_resnets import refuse_strangers, topology_of
from converters.recipe import PIL_RESIZE, Topology

CONVENTION = replace(
    facebook_slowfast.CONVENTION, name="PaddleVideo SlowFast", resize=PIL_RESIZE, crop_offset="even"
)
HABIT = replace(facebook_slowfast.HABIT, convention=CONVENTION)
_LAYERS = {"._mean": ".running_mean", "._variance": ".running_var"}


def read(tensors: Tensors, path: Path) -> tuple[Topology, Tensors]:
    """Return what `Read` does."""
    refuse_strangers(tensors, path)
    plain = {_plain(name): t.transpose(0, 1) if t.ndim == 2 else t for name, t in tensors.items()}
    found = facebook_slowfast.renamed(plain)
    return topology_of(found, HABIT, path, [], {}), found.tensors


def _plain(name: str) -> str:
    """Return a name as PySlowFast has it."""
    name = re.sub(r"\._(mean|variance)$", lambda m: _LAYERS[m[0]], name.removeprefix("backbone."))
    return re.sub(r"\._(conv|bn|conv_f2s)\.", r".\1.", name)
