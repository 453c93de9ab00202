"""Checkpoints of PaddlePaddle/PaddleVideo: TimeSformer, and PP-TimeSformer, whose q, k and v have
no bias and whose pictures are not normalized.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.checkpoints.keys import Reader, Tensors
from converters.checkpoints.video_transformers import (
    FACEBOOK,
    Naming,
    attention_by,
    name_hints,
    read_network,
    renamer,
)
from converters.recipe import Topology

CONVENTION = replace(FACEBOOK, name="PaddleVideo TimeSformer", crop_offset="floor")
PP = replace(
    CONVENTION, name="PaddleVideo PP-TimeSformer", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
)
NAMING = Naming(
    CONVENTION,
    renamer({r"^backbone\.": ""}),
    ("head.fc",),
    {8: 32, 16: 32},  # both configs sample every 32nd frame
    transposed=True,
)
_QKV = "backbone.blocks.0.attn.qkv"


def recognizes(keys: Iterable[str]) -> bool:
    """Return whether keys are named as PaddleVideo names a TimeSformer's."""
    return {f"{_QKV}.weight", "head.fc.weight"} <= set(keys)


def read(
    tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
) -> tuple[Topology, Tensors]:
    """See `Read`; what the file holds besides weights says little."""
    biased = f"{_QKV}.bias" in tensors
    naming = NAMING if biased else replace(NAMING, convention=PP)
    kind = attention_by(tensors, naming)
    hints = [*name_hints(path), ("names of the layers", {"attention": kind})]
    return read_network(tensors, naming, hints)


READER = Reader(
    "paddle-timesformer",
    recognizes,
    read,
    "backbone.blocks.0.temporal_attn.qkv.weight, backbone.time_embed, head.fc.weight",
)
