"""Checkpoints of facebookresearch/pytorchvideo's hub: Slow, I3D, C2D, SlowFast."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.architectures.resnet3d import STEM_POOL, Reading
from converters.checkpoints import facebook_slowfast
from converters.checkpoints.keys import Reader, Tensors, numbers
from converters.checkpoints.settings import configuration
from converters.checkpoints.video_resnets import (
    Habit,
    Renamed,
    refuse_strangers,
    rename,
    topology_of,
)
from converters.recipe import Topology

CONVENTION = replace(
    facebook_slowfast.CONVENTION, name="pytorchvideo", sampling="subsample", crop_offset="even"
)
HABIT = Habit(CONVENTION, Reading(window=7), "linspace")
_MULTI = re.compile(r"^blocks\.(\d)\.multipathway_blocks\.([01])\.(.+)$")
_FUSION = re.compile(r"^blocks\.(\d)\.multipathway_fusion\.(?:conv_fast_to_slow|(norm))\.(\w+)$")
_SINGLE = re.compile(r"^blocks\.(\d)\.(.+)$")
_BLOCK = re.compile(
    r"^res_blocks\.(\d+)\.(?:branch1_(conv|norm)|branch2\.(conv|norm)_([abc]))\.(\w+)$"
)
_STEM = re.compile(r"^(conv|norm)\.(\w+)$")
_PARTS = {"conv": "conv", "norm": "bn"}


def recognizes(keys: Iterable[str]) -> bool:
    """Return whether keys are those of a residual network of pytorchvideo."""
    pattern = re.compile(r"blocks\.0\.(?:multipathway_blocks\.0\.)?(?:conv|norm)\.")
    return any(pattern.match(name) for name in keys)


def read(
    tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
) -> tuple[Topology, Tensors]:
    """See `Read`; `outer` holds `cfg` where PySlowFast trained the network."""
    refuse_strangers(tensors, path)
    config = configuration(outer)
    facebook_slowfast.refuse_config(config)
    found = _renamed(facebook_slowfast.plain_norms(tensors))
    window = facebook_slowfast.reading_of(config).window if config else HABIT.reading.window
    habit = replace(HABIT, reading=Reading(window))
    hints = [
        (source, {n: v for n, v in values.items() if n != STEM_POOL})
        for source, values in facebook_slowfast.config_hints(config, found)
    ]
    # A pool of pairs of frames is a block of its own, without weights.
    single = {"pairs": 2 not in numbers(tensors, "blocks.")}
    return topology_of(found, habit, path, hints, single), found.tensors


def _renamed(tensors: Tensors) -> Renamed:
    two = any(".multipathway_blocks." in name for name in tensors)
    stages = sorted(
        {int(m[1]) for m in map(re.compile(r"^blocks\.(\d)\..*res_blocks\.").match, tensors) if m}
    )
    last = max(numbers(tensors, "blocks."), default=0)
    names: dict[str, str] = {}
    for name in tensors:
        if ours := _name(name, stages, two=two):
            names[name] = ours
        elif name.startswith(f"blocks.{last}.proj."):
            names[name] = name.replace(f"blocks.{last}.proj.", "head.", 1)
    return rename(tensors, names, head=f"blocks.{last}.proj.weight")


def _name(name: str, stages: list[int], *, two: bool) -> str | None:
    if match := _FUSION.match(name):
        return f"laterals.{match[1]}.{'bn' if match[2] else 'conv'}.{match[3]}"
    match = (_MULTI if two else _SINGLE).match(name)
    if match is None:
        return None
    path = ("slow.", "fast.")[int(match[2])] if two else ""
    number, rest = int(match[1]), match[match.lastindex or 0]
    if stem := _STEM.match(rest):
        return f"{path}stem.{_PARTS[stem[1]]}.{stem[2]}" if number == 0 else None
    block = _BLOCK.match(rest)
    if block is None or number not in stages:
        return None
    index, shortcut, part, letter, kind = block.groups()
    layer = "shortcut" if shortcut else f"convs.{'abc'.index(letter)}"
    place = f"{path}stages.{stages.index(number)}.{index}.{layer}"
    return f"{place}.{_PARTS[shortcut or part]}.{kind}"


READER = Reader("pytorchvideo", recognizes, read, "blocks.0.conv.weight, blocks.5.proj.weight")
