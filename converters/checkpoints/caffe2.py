"""Checkpoints of facebookresearch/SlowFast's model zoo as Caffe2 left them: `.pkl`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.architectures.resnet3d import STEM_POOL
from converters.checkpoints.beside import Hint
from converters.checkpoints.facebook_slowfast import HABIT, renamed
from converters.checkpoints.keys import UNUSED, Reader, Tensors
from converters.checkpoints.video_resnets import Renamed, refuse_strangers, topology_of
from converters.recipe import Topology

_RULES = (
    (r"^t_pool1_subsample_bn_(.*)$", r"s1_fuse.bn.\1"),
    (r"^t_pool1_subsample_(.*)$", r"s1_fuse.conv_f2s.\1"),
    (r"^t_res(\d)_\d+_branch2c_bn_subsample_bn_(.*)$", r"s\1_fuse.bn.\2"),
    (r"^t_res(\d)_\d+_branch2c_bn_subsample_(.*)$", r"s\1_fuse.conv_f2s.\2"),
    (r"^res(\d)_(\d+)_branch(\d)([a-z])_(.*)$", r"s\1.pathway0_res\2.branch\3.\4_\5"),
    (r"^res(\d)_(\d+)_branch(\d)_(.*)$", r"s\1.pathway0_res\2.branch\3_\4"),
    (r"^t_res(\d)_(\d+)_branch(\d)([a-z])_(.*)$", r"s\1.pathway1_res\2.branch\3.\4_\5"),
    (r"^t_res(\d)_(\d+)_branch(\d)_(.*)$", r"s\1.pathway1_res\2.branch\3_\4"),
    (r"^(?:res_)?conv1_bn_(.*)$", r"s1.pathway0_stem.bn.\1"),
    (r"^(?:res_)?conv1_(.*)$", r"s1.pathway0_stem.conv.\1"),
    (r"^t_(?:res_)?conv1_bn_(.*)$", r"s1.pathway1_stem.bn.\1"),
    (r"^t_(?:res_)?conv1_(.*)$", r"s1.pathway1_stem.conv.\1"),
    (r"^pred_(.*)$", r"head.projection.\1"),
)
_KINDS = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var", "w": "weight"}


def recognizes(keys: Iterable[str]) -> bool:
    """Return whether keys are those of the model zoo's Caffe2 files."""
    names = set(keys)
    return "pred_w" in names and bool({"conv1_w", "res_conv1_w"} & names)


def read(
    tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
) -> tuple[Topology, Tensors]:
    """See `Read`; what the optimizer left (`_momentum`, `lr`) is not used.

    Source: slowfast/utils/c2_model_loading.py.
    """
    refuse_strangers(tensors, path)
    names = {name: _name(name) for name in tensors}
    found = renamed({ours: tensors[name] for name, ours in names.items()})
    head = Renamed(found.tensors, "pred_w")
    return topology_of(head, HABIT, path, _name_hints(path), {}), found.tensors


def _name_hints(path: Path) -> Sequence[Hint]:
    """Return what the model zoo's names say of a C2D: c2d pools pairs of frames, NOPOOL none."""
    if not path.name.upper().startswith("C2D"):
        return []
    pairs = "NOPOOL" not in path.name.upper()
    return [(f"{path.name}", {STEM_POOL: pairs})]


def _name(name: str) -> str:
    for theirs, ours in _RULES:
        if re.match(theirs, name) and not name.endswith("_momentum"):
            stem, _, kind = re.sub(theirs, ours, name).replace("_bn_", "_bn.").rpartition(".")
            if kind not in _KINDS:  # `branch2.a_w`: the last part is behind the underscore
                stem, _, kind = re.sub(theirs, ours, name).rpartition("_")
            if kind in _KINDS:
                return f"{stem}.{_KINDS[kind]}"
    return f"{UNUSED}{name}"


READER = Reader("caffe2", recognizes, read, "conv1_w, res2_0_branch2a_w, pred_w")
