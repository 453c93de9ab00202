"""Checkpoints of facebookresearch/SlowFast: `.pyth`, and the model zoo's Caffe2 `.pkl`.

A `.pyth` holds its whole configuration as a YAML text (`cfg`), which is parsed, never run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from converters.architectures.resnet3d import STEM_POOL, Reading
from converters.checkpoints.beside import Hint
from converters.checkpoints.keys import UNUSED, Reader, Tensors
from converters.checkpoints.video_resnets import (
    Habit,
    Renamed,
    refuse_strangers,
    rename,
    topology_of,
)
from converters.recipe import Convention, Topology
from edge_tsm.bundle.card import Resize
from edge_tsm.errors import CheckpointError

CONVENTION = Convention(
    name="PySlowFast",
    shift_direction=None,
    sampling="start",
    resize=Resize(256, "bilinear", antialias=False, aspect="keep", long_side="truncate"),
    crop_offset="ceil",
    defaults={"color": "rgb"},
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
    rate=30.0,
)
HABIT = Habit(CONVENTION, Reading(window=7, joined="softmax"), "linspace")
MOST_CONFIG_CHARS = 1 << 20
_PAIRS = {"c2d": True, "i3d": True} | dict.fromkeys(("2d", "slow", "slow_c2d", "slow_i3d"), False)
_STEM = re.compile(r"^s1\.pathway([01])_stem\.(conv|bn)\.(\w+)$")
_BLOCK = re.compile(r"^s([2-5])\.pathway([01])_res(\d+)\.branch([12])(?:\.([abc]))?(_bn)?\.(\w+)$")
_FUSE = re.compile(r"^s([1-4])_fuse\.(?:conv_f2s|(bn))\.(\w+)$")
HEAD = "head.projection"


def recognizes(keys: Iterable[str]) -> bool:
    """Return whether keys are those of a residual network of PySlowFast."""
    return any(name.startswith("s1.pathway0_stem.") for name in keys)


def read(
    tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
) -> tuple[Topology, Tensors]:
    """See `Read`; `outer` holds `cfg`."""
    config = config_of(outer)
    refuse_strangers(tensors, path)
    refuse_config(config)
    found = renamed(plain_norms(tensors))
    habit = replace(HABIT, reading=reading_of(config))
    hints = config_hints(config, found)
    return topology_of(found, habit, path, hints, {}), found.tensors


def renamed(tensors: Tensors) -> Renamed:
    """Return weights in PySlowFast's names under the modules'."""
    two = any(name.startswith("s1.pathway1_stem.") for name in tensors)
    names = {name: ours for name in tensors if (ours := _name(name, two=two))}
    return rename(tensors, names, head=f"{HEAD}.weight")


def _name(name: str, *, two: bool) -> str | None:
    paths = ("slow.", "fast.") if two else ("", "")
    if match := _STEM.match(name):
        return f"{paths[int(match[1])]}stem.{match[2]}.{match[3]}"
    if match := _FUSE.match(name):
        return f"laterals.{int(match[1]) - 1}.{match[2] or 'conv'}.{match[3]}"
    if match := _BLOCK.match(name):
        stage, pathway, block, branch, letter, norm, kind = match.groups()
        if (branch == "2") != (letter is not None):
            return None
        layer = f"convs.{'abc'.index(letter)}" if letter else "shortcut"
        place = f"{paths[int(pathway)]}stages.{int(stage) - 2}.{block}"
        return f"{place}.{layer}.{'bn' if norm else 'conv'}.{kind}"
    return re.sub(rf"^{re.escape(HEAD)}\.", "head.", name) if name.startswith(HEAD) else None


def plain_norms(tensors: Tensors) -> Tensors:
    """Return batch norms of multigrid training (`.bn.bn.`, `.split_bn.`) as plain ones.

    Source: slowfast/utils/checkpoint.py, `sub_to_normal_bn`.
    """
    plain: Tensors = {}
    for name, tensor in tensors.items():
        if ".split_bn." in name:
            continue
        if re.search(r"bn\.(?:weight|bias)$", name) and tensor.ndim > 1:
            tensor = tensor.flatten()
        plain[re.sub(r"bn\.bn\.(running_\w+)$", r"bn.\1", name)] = tensor
    return plain


# --- the configuration ---------------------------------------------------------------------------


def config_of(outer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration that a file holds as YAML, nothing where there is none.

    Raises:
        CheckpointError: it is no YAML of plain values.
    """
    text = outer.get("cfg")
    if not isinstance(text, str) or not text.strip():
        return {}
    if len(text) > MOST_CONFIG_CHARS:
        raise CheckpointError(f"its `cfg` has {len(text)} characters, more than any configuration")
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"its `cfg` is no YAML of plain values ({reason})") from error
    return found if isinstance(found, Mapping) else {}


def value_of(config: Mapping[str, Any], *names: str) -> Any:
    """Return a value of nested mappings, None where there is none."""
    value: Any = config
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def refuse_config(config: Mapping[str, Any]) -> None:
    """Refuse what the weights do not show and edge-tsm does not convert.

    Raises:
        CheckpointError: it names the key of the configuration.
    """
    if value_of(config, "DETECTION", "ENABLE") is True:
        raise CheckpointError(
            "its `cfg` says DETECTION.ENABLE: a network that answers regions of a picture (RoI "
            "head, AVA), which edge-tsm does not convert; convert its classification form"
        )
    if value_of(config, "RESNET", "STRIDE_1X1") is True:
        raise CheckpointError("its `cfg` says RESNET.STRIDE_1X1, a network that is not converted")
    for name, usual in (("SPATIAL_STRIDES", (1, 2, 2, 2)), ("SPATIAL_DILATIONS", (1, 1, 1, 1))):
        stages = value_of(config, "RESNET", name)
        if isinstance(stages, list) and any(
            set(_listed(stage)) - {number} for stage, number in zip(stages, usual, strict=False)
        ):
            raise CheckpointError(
                f"its `cfg` says RESNET.{name} {stages}, a network that is not converted; {usual} "
                "by stage are"
            )


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def reading_of(config: Mapping[str, Any]) -> Reading:
    """Return how the last map is read."""
    crop = value_of(config, "DATA", "TRAIN_CROP_SIZE")
    window = crop // 32 if isinstance(crop, int) and 0 < crop <= 512 else HABIT.reading.window
    if value_of(config, "MULTIGRID", "SHORT_CYCLE") is True:
        window = 0  # pools of any size
    act = value_of(config, "MODEL", "HEAD_ACT")
    return Reading(window, "logits" if act == "none" else HABIT.reading.joined)


def config_hints(config: Mapping[str, Any], found: Renamed) -> list[Hint]:
    """Return what a configuration says that the weights do not show."""
    data = {
        "segments": "NUM_FRAMES",
        "interval": "SAMPLING_RATE",
        "size": "TRAIN_CROP_SIZE",
        "rate": "TARGET_FPS",
    }
    hints = {name: value_of(config, "DATA", key) for name, key in data.items()}
    if isinstance(hints["rate"], int):
        hints["rate"] = float(hints["rate"])
    for name, key in (("mean", "MEAN"), ("std", "STD")):
        hints[name] = _three(value_of(config, "DATA", key))
    if value_of(config, "DATA", "REVERSE_INPUT_CHANNEL") is True:
        hints["color"] = "bgr"
    if value_of(config, "DATA", "USE_OFFSET_SAMPLING") is True:
        hints["sampling"] = "center"
    if (act := value_of(config, "MODEL", "HEAD_ACT")) in ("softmax", "sigmoid"):
        hints["activation"] = act
    arch = value_of(config, "MODEL", "ARCH")
    if found.two_pathways:
        hints["alpha"] = value_of(config, "SLOWFAST", "ALPHA")
    elif isinstance(arch, str):
        hints[STEM_POOL] = _PAIRS.get(arch)
    return [("the checkpoint's `cfg`", {n: v for n, v in hints.items() if v is not None})]


def _three(value: object) -> tuple[float, ...] | None:
    """Return three numbers that a file has as such."""
    numbers = isinstance(value, list) and len(value) == 3
    if not numbers or not all(isinstance(n, int | float) for n in _listed(value)):
        return None
    return tuple(float(n) for n in _listed(value))


# --- Caffe2 --------------------------------------------------------------------------------------

_CAFFE2 = (
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


def recognizes_caffe2(keys: Iterable[str]) -> bool:
    """Return whether keys are those of the model zoo's Caffe2 files."""
    names = set(keys)
    return "pred_w" in names and bool({"conv1_w", "res_conv1_w"} & names)


def read_caffe2(
    tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
) -> tuple[Topology, Tensors]:
    """See `Read`; what the optimizer left (`_momentum`, `lr`) is not used.

    Source: slowfast/utils/c2_model_loading.py.
    """
    refuse_strangers(tensors, path)
    names = {name: _caffe2_name(name) for name in tensors}
    found = renamed({ours: tensors[name] for name, ours in names.items()})
    head = Renamed(found.tensors, "pred_w")
    return topology_of(head, HABIT, path, _caffe2_hints(path), {}), found.tensors


def _caffe2_hints(path: Path) -> Sequence[Hint]:
    """Return what the model zoo's names say of a C2D: c2d pools pairs of frames, NOPOOL none."""
    if not path.name.upper().startswith("C2D"):
        return []
    pairs = "NOPOOL" not in path.name.upper()
    return [(f"{path.name}", {STEM_POOL: pairs})]


def _caffe2_name(name: str) -> str:
    for theirs, ours in _CAFFE2:
        if re.match(theirs, name) and not name.endswith("_momentum"):
            stem, _, kind = re.sub(theirs, ours, name).replace("_bn_", "_bn.").rpartition(".")
            if kind not in _KINDS:  # `branch2.a_w`: the last part is behind the underscore
                stem, _, kind = re.sub(theirs, ours, name).rpartition("_")
            if kind in _KINDS:
                return f"{stem}.{_KINDS[kind]}"
    return f"{UNUSED}{name}"


READER = Reader(
    "slowfast", recognizes, read, "s1.pathway0_stem.conv.weight, head.projection.weight"
)
CAFFE2 = Reader("caffe2", recognizes_caffe2, read_caffe2, "conv1_w, res2_0_branch2a_w, pred_w")
