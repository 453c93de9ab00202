"""Checkpoints of facebookresearch/SlowFast: `.pyth`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.checkpoints.facebook_slowfast import (
    HABIT,
    config_hints,
    plain_norms,
    reading_of,
    refuse_config,
    relations_in,
    renamed,
)
from converters.checkpoints.keys import Reader, Tensors
from converters.checkpoints.settings import configuration
from converters.checkpoints.video_resnets import refuse_strangers, topology_of
from converters.recipe import Topology


def recognizes(keys: Iterable[str]) -> bool:
    """Return whether keys are those of a residual network of PySlowFast."""
    return any(name.startswith("s1.pathway0_stem.") for name in keys)


def read(
    tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
) -> tuple[Topology, Tensors]:
    """See `Read`; `outer` holds `cfg`."""
    config = configuration(outer)
    related = {name for name in tensors if "_nonlocal" in name}
    relations = relations_in(config) if related else {}
    refuse_strangers(tensors.keys() - related if relations else tensors, path)
    refuse_config(config)
    found = renamed(plain_norms(tensors))
    habit = replace(HABIT, reading=reading_of(config), relations=relations)
    hints = config_hints(config, found)
    return topology_of(found, habit, path, hints, {}), found.tensors


READER = Reader(
    "slowfast", recognizes, read, "s1.pathway0_stem.conv.weight, head.projection.weight"
)
