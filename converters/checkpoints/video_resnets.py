"""What readers of residual networks over clips share: what is known and refused, and the end.

A reader gives weights the names of the modules (`resnet3d`, `slowfast`), then `topology_of` makes
the network of their shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from converters.architectures.network import Network
from converters.architectures.resnet3d import Reading, ResNet3d, read_pathway
from converters.architectures.slowfast import SlowFrames, read_slowfast
from converters.architectures.volumes import Relation
from converters.checkpoints import clip_names
from converters.checkpoints.beside import Hint
from converters.checkpoints.keys import Tensors, refuse_duplicates, refuse_stem
from converters.recipe import Convention, Topology
from edge_tsm.errors import CheckpointError

# By what some name holds: what it is, and the way out.
_REFUSED: dict[str, tuple[str, str]] = {
    r"(?:^|\.)(?:s0_roi|detection_head|roi_head|bbox_head)\.|^head\.s\d_": (
        "a network that answers regions of a picture (RoI head, AVA)",
        "convert its classification form, as trained on Kinetics",
    ),
    r"nonlocal|\.nln\.|non_local_block": (
        "a network with non-local blocks over clips, whose kind (softmax or dot product, pooled or "
        "not) is in no weight, but in PySlowFast's `cfg`",
        "convert the one without (NLN in its name), or a file of PySlowFast that holds its `cfg`",
    ),
    r"(?:^|\.)conv_xy\.|conv\.conv_t\.|head\.lin_5\.|norm_b\.1\.block": (
        "an X3D",
        "Slow, I3D, C2D and SlowFast are converted",
    ),
    r"conv_b\.(?:conv_t|conv_xy)|branch2\.conv_b\.conv\.": (
        "an R(2+1)D network",
        "Slow, I3D, C2D and SlowFast are converted",
    ),
    r"attn\.(?:pool_[qkv]|norm_[qkv])\.": ("an MViT", "Slow, I3D, C2D and SlowFast are converted"),
}
_AVA = re.compile(r"(?<![A-Za-z])ava(?![A-Za-z])", re.IGNORECASE)


def refuse_strangers(names: Iterable[str], path: Path) -> None:
    """Refuse what these code bases build and edge-tsm does not convert.

    Raises:
        CheckpointError: it names the network and the way out.
    """
    names = list(names)
    for mark, (kind, advice) in _REFUSED.items():
        if any(re.search(mark, name) for name in names):
            raise CheckpointError(f"this is {kind}, which edge-tsm does not convert; {advice}")
    if _AVA.search(path.name):
        raise CheckpointError(
            f"{path.name} names AVA, whose networks answer regions of a picture (RoI head), which "
            "edge-tsm does not convert; rename the file if it is none of these"
        )


@dataclass(frozen=True)
class Renamed:
    """Weights under the modules' names, the classifier as `head.weight`, `head.bias`.

    `head` is what the file calls the classifier's weight.
    """

    tensors: Tensors
    head: str

    @property
    def two_pathways(self) -> bool:
        """Whether it is a SlowFast."""
        return any(name.startswith("fast.") for name in self.tensors)


def rename(names: Tensors, renamed: dict[str, str], *, head: str) -> Renamed:
    """Return the weights of `names` under other names; what has none there keeps its own.

    Raises:
        CheckpointError: two get the same name, or there is no classifier.
    """
    tensors = {renamed.get(name, name): tensor for name, tensor in names.items()}
    refuse_duplicates(names, tensors, "a wrapper's name")
    weight = tensors.get("head.weight")
    if weight is None or weight.ndim < 2 or not weight.shape[0]:
        raise CheckpointError(f"no classifier: {head} is missing or no matrix")
    if weight.ndim > 2:  # a 1x1x1 convolution, as Caffe2 has it
        tensors["head.weight"] = weight.flatten(1)
    tensors.setdefault("head.bias", torch.zeros(weight.shape[0]))
    return Renamed(tensors, head)


@dataclass(frozen=True)
class Habit:
    """What a code base's networks do alike and their weights do not show."""

    convention: Convention
    reading: Reading
    slow_frames: SlowFrames
    normed: bool = True
    relations: Mapping[int, Relation] = field(default_factory=dict)


def topology_of(
    found: Renamed, habit: Habit, path: Path, hints: Sequence[Hint], single: Mapping[str, Any]
) -> Topology:
    """Return the topology of weights; `single` are further values of a network of one pathway.

    Raises:
        CheckpointError: not a whole network of these families.
    """
    tensors = found.tensors
    for name in ("stem", "slow.stem", "fast.stem"):
        if (weight := tensors.get(f"{name}.conv.weight")) is not None:
            refuse_stem(f"{name}.conv.weight", int(weight.shape[1]))
    network: Network
    if found.two_pathways:
        network = read_slowfast(
            tensors,
            normed=habit.normed,
            slow_frames=habit.slow_frames,
            reading=habit.reading,
            relations=habit.relations,
        )
        named = clip_names.slowfast(path)
    else:
        network = ResNet3d(read_pathway(tensors, "", habit.relations), habit.reading, **single)
        named = clip_names.single_pathway(path)
    classes = int(tensors["head.weight"].shape[0])
    hints = [*hints, *named]
    return Topology(network, classes, found.head, hints, habit.convention, shift_source=None)
