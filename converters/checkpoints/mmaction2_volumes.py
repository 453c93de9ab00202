"""What open-mmlab/mmaction2 builds of 3-D convolutions: SlowFast, SlowOnly, I3D."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from converters.architectures.resnet3d import Reading
from converters.checkpoints.beside import Hint
from converters.checkpoints.keys import Tensors
from converters.checkpoints.openmmlab import OF_CLIPS, steps
from converters.checkpoints.video_resnets import (
    Habit,
    Renamed,
    refuse_strangers,
    rename,
    topology_of,
)
from converters.recipe import Topology
from edge_tsm.errors import CheckpointError

HABIT = Habit(OF_CLIPS, Reading(), "strided", normed=False)
_LAYER = re.compile(
    r"^(?:(slow|fast)_path\.)?layer([1-4])\.(\d+)\.(?:conv([123])|(downsample))\.(conv|bn)\.(\w+)$"
)
_STEM = re.compile(r"^(?:(slow|fast)_path\.)?conv1\.(conv|bn)\.(\w+)$")
_LATERAL = re.compile(r"^slow_path\.(?:conv1|layer([1-3]))_lateral\.(conv)\.(\w+)$")
_I3D_STEM = 5
# Of the published I3D; nothing but the config tells them.
_I3D = {"stem_stride": 2, "pool_stride": 2, "pairs": True}


def recognizes(names: Tensors) -> bool:
    """Return whether names without `backbone.` are those of such a network."""
    stem = names.get("conv1.conv.weight")
    return "slow_path.conv1.conv.weight" in names or (stem is not None and stem.ndim == 5)


def read(
    names: Tensors, config: Mapping[str, Any], hints: Sequence[Hint], path: Path
) -> tuple[Topology, Tensors]:
    """Return what `Read` does.

    Args:
        names: a network's weights without `backbone.`.
        config: the assignments of the config in `meta`, where there is one.
        hints: what the file holds besides the config.
        path: the file.
    """
    refuse_strangers(names, path)
    found = rename(names, {n: ours for n in names if (ours := _name(n))}, head="cls_head.fc_cls")
    backbone = _dict(_dict(config.get("model")).get("backbone"))
    if found.two_pathways:
        found, single = _slow_first(found), {}
    else:
        single = _strides(found, backbone)
    own = ("config in `meta`", _hints(config, backbone, found)) if config else None
    every = [*((own,) if own else ()), *hints]
    return topology_of(found, HABIT, path, every, single), found.tensors


def _name(name: str) -> str | None:
    if match := _STEM.match(name):
        return f"{_path(match[1])}stem.{match[2]}.{match[3]}"
    if match := _LATERAL.match(name):
        return f"laterals.{match[1] or 0}.{match[2]}.{match[3]}"
    if match := _LAYER.match(name):
        path, stage, block, conv, _, part, kind = match.groups()
        layer = f"convs.{int(conv) - 1}" if conv else "shortcut"
        return f"{_path(path)}stages.{int(stage) - 1}.{block}.{layer}.{part}.{kind}"
    return name.replace("cls_head.fc_cls.", "head.", 1) if name.startswith("cls_head.") else None


def _path(name: str | None) -> str:
    return f"{name}." if name else ""


def _slow_first(found: Renamed) -> Renamed:
    """Return the classifier with the slow pathway's columns first; its own has the fast one's."""
    widest = re.compile(r"fast\.stages\.3\.0\.convs\.\d\.conv\.weight")
    last = max((name for name in found.tensors if widest.match(name)), default=None)
    if last is None:
        raise CheckpointError("its fast pathway has no last stage; not a whole SlowFast")
    fast = int(found.tensors[last].shape[0])
    weight = found.tensors["head.weight"]
    turned = torch.cat((weight[:, fast:], weight[:, :fast]), 1)
    return Renamed({**found.tensors, "head.weight": turned}, found.head)


def _strides(found: Renamed, backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Return the strides over time of a network of one pathway.

    Raises:
        CheckpointError: a stem that is no published network's, and no config.
    """
    stem = found.tensors["stem.conv.weight"].shape[2]
    if backbone.get("type") == "ResNet3dSlowOnly" or (not backbone and stem == 1):
        return {"pairs": bool(backbone.get("with_pool2", False))}
    if not backbone and stem == _I3D_STEM:
        return dict(_I3D)
    if backbone.get("type") != "ResNet3d":
        raise CheckpointError(
            f"its stem looks at {stem} frames, and how far apart is in no weight; keep the config "
            "in the file (`meta`), as mmaction2's training does"
        )
    names = {"stem_stride": "conv1_stride_t", "pool_stride": "pool1_stride_t"}
    found_ = {name: backbone.get(key, 1) for name, key in names.items()}
    return {**found_, "pairs": bool(backbone.get("with_pool2", True))}


def _hints(
    config: Mapping[str, Any], backbone: Mapping[str, Any], found: Renamed
) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for pipeline in ("test_pipeline", "val_pipeline", "train_pipeline"):
        kinds = ("SampleFrames", "UniformSampleFrames")
        frames = [s for s in steps(config, pipeline) if s.get("type") in kinds]
        if frames and isinstance(frames[0].get("clip_len"), int):
            hints["segments"] = frames[0]["clip_len"]
            hints["interval"] = frames[0].get("frame_interval", 1)
            break
    if found.two_pathways and isinstance(backbone.get("speed_ratio"), int):
        hints["alpha"] = backbone["speed_ratio"]
        if backbone.get("resample_rate", hints["alpha"]) != hints["alpha"]:
            raise CheckpointError(
                f"its config says resample_rate {backbone['resample_rate']} and speed_ratio "
                f"{hints['alpha']}; where the fast pathway skips frames too, sample them further "
                "apart and make both equal"
            )
    return hints


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
