"""What readers of SlowFast networks share: the names, habits and configuration of PySlowFast.

A file of facebookresearch/SlowFast holds its whole configuration (`cfg`); pytorchvideo and
PaddleVideo took over its networks.
"""

from __future__ import annotations

import re
from typing import Any

from converters.architectures.resnet3d import STEM_POOL, Reading
from converters.architectures.volumes import Relation, VolumeClassifier
from converters.checkpoints.beside import Hint, told
from converters.checkpoints.keys import Tensors
from converters.checkpoints.settings import Config, setting, triple
from converters.checkpoints.video_resnets import Habit, Renamed, rename
from converters.recipe import Convention
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
_PAIRS = {"c2d": True, "i3d": True} | dict.fromkeys(("2d", "slow", "slow_c2d", "slow_i3d"), False)
_STEM = re.compile(r"^s1\.pathway([01])_stem\.(conv|bn)\.(\w+)$")
_BLOCK = re.compile(r"^s([2-5])\.pathway([01])_res(\d+)\.branch([12])(?:\.([abc]))?(_bn)?\.(\w+)$")
_RELATION = re.compile(
    r"^s([2-5])\.pathway([01])_nonlocal(\d+)\.(?:conv_(theta|phi|g|out)|(?:norm|bn))\.(\w+)$"
)
_FUSE = re.compile(r"^s([1-4])_fuse\.(?:conv_f2s|(bn))\.(\w+)$")
HEAD = "head.projection"


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
    if match := _RELATION.match(name):
        stage, pathway, block, layer, kind = match.groups()
        place = f"{paths[int(pathway)]}stages.{int(stage) - 2}.{block}"
        return f"{place}.non_local.{layer or 'bn'}.{kind}"
    return re.sub(rf"^{re.escape(HEAD)}\.", "head.", name) if name.startswith(HEAD) else None


def facebook_state(model: VolumeClassifier) -> Tensors:
    """Return a network's weights as `model_state` of PySlowFast's files holds them.

    The inverse of `renamed`.
    """
    return {_facebook(name): tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _facebook(name: str) -> str:
    path, _, rest = name.partition(".")
    if path == "head":
        return f"{HEAD}.{rest}"
    if path == "laterals":
        number, part, kind = rest.split(".")
        return f"s{int(number) + 1}_fuse.{'conv_f2s' if part == 'conv' else 'bn'}.{kind}"
    if path not in ("slow", "fast"):
        path, rest = "slow", name
    pathway = f"pathway{('slow', 'fast').index(path)}"
    if rest.startswith("stem."):
        return f"s1.{pathway}_{rest}"
    _, stage, block, layer, *index, part, kind = rest.split(".")
    branch = f"branch2.{'abc'[int(index[0])]}" if layer == "convs" else "branch1"
    norm = "_bn" if part == "bn" else ""
    return f"s{int(stage) + 2}.{pathway}_res{block}.{branch}{norm}.{kind}"


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


def refuse_config(config: Config) -> None:
    """Refuse what the weights do not show and edge-tsm does not convert.

    Raises:
        CheckpointError: it names the key of the configuration.
    """
    if setting(config, "DETECTION.ENABLE") is True:
        raise CheckpointError(
            "its `cfg` says DETECTION.ENABLE: a network that answers regions of a picture (RoI "
            "head, AVA), which edge-tsm does not convert; convert its classification form"
        )
    if setting(config, "RESNET.STRIDE_1X1") is True:
        raise CheckpointError("its `cfg` says RESNET.STRIDE_1X1, a network that is not converted")
    for name, usual in (("SPATIAL_STRIDES", (1, 2, 2, 2)), ("SPATIAL_DILATIONS", (1, 1, 1, 1))):
        stages = setting(config, f"RESNET.{name}")
        if isinstance(stages, list) and any(
            set(_listed(stage)) - {number} for stage, number in zip(stages, usual, strict=False)
        ):
            raise CheckpointError(
                f"its `cfg` says RESNET.{name} {stages}, a network that is not converted; {usual} "
                "by stage are"
            )


def relations_in(config: Config) -> dict[int, Relation]:
    """Return how the non-local blocks of each stage relate positions; nothing where it is not told.

    Raises:
        CheckpointError: in a way that edge-tsm does not compute.
    """
    kind, pools = setting(config, "NONLOCAL.INSTANTIATION"), setting(config, "NONLOCAL.POOL")
    if kind not in ("softmax", "dot_product") or not isinstance(pools, list):
        return {}
    groups = setting(config, "NONLOCAL.GROUP")
    odd = [pool for stage in pools for pool in _listed(stage) if not _is_pool(pool)]
    if odd or str(groups).strip("[]1, ") not in ("", "None"):
        raise CheckpointError(
            f"its `cfg` says NONLOCAL.POOL {pools}, GROUP {groups}; pools of pixels, the same for "
            "both pathways, and whole clips are converted"
        )
    return {
        number: Relation(softmax=kind == "softmax", pool=stage[0][1])
        for number, stage in enumerate(pools)
        if stage and all(pool == stage[0] for pool in stage)
    }


def _is_pool(pool: object) -> bool:
    return isinstance(pool, list) and len(pool) == 3 and pool[0] == 1 and pool[1] == pool[2]


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def reading_of(config: Config) -> Reading:
    """Return how the last map is read."""
    crop = setting(config, "DATA.TRAIN_CROP_SIZE")
    window = crop // 32 if isinstance(crop, int) and 0 < crop <= 512 else HABIT.reading.window
    if setting(config, "MULTIGRID.SHORT_CYCLE") is True:
        window = 0  # pools of any size
    act = setting(config, "MODEL.HEAD_ACT")
    return Reading(window, "logits" if act == "none" else HABIT.reading.joined)


def config_hints(config: Config, found: Renamed) -> list[Hint]:
    """Return what a configuration says that the weights do not show."""
    data = {
        "segments": "NUM_FRAMES",
        "interval": "SAMPLING_RATE",
        "size": "TRAIN_CROP_SIZE",
        "rate": "TARGET_FPS",
    }
    hints = {name: setting(config, f"DATA.{key}") for name, key in data.items()}
    if isinstance(hints["rate"], int):
        hints["rate"] = float(hints["rate"])
    for name, key in (("mean", "MEAN"), ("std", "STD")):
        hints[name] = triple(setting(config, f"DATA.{key}"))
    if setting(config, "DATA.REVERSE_INPUT_CHANNEL") is True:
        hints["color"] = "bgr"
    if setting(config, "DATA.USE_OFFSET_SAMPLING") is True:
        hints["sampling"] = "center"
    if (act := setting(config, "MODEL.HEAD_ACT")) in ("softmax", "sigmoid"):
        hints["activation"] = act
    arch = setting(config, "MODEL.ARCH")
    if found.two_pathways:
        hints["alpha"] = setting(config, "SLOWFAST.ALPHA")
    elif isinstance(arch, str):
        hints[STEM_POOL] = _PAIRS.get(arch)
    return told("the checkpoint's `cfg`", hints)
