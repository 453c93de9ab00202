"""Residual networks over whole clips: Slow, I3D and C2D, and the pathways of SlowFast.

Sources: facebookresearch/SlowFast, `models/video_model_builder.py` and `resnet_helper.py`;
facebookresearch/pytorchvideo, `models/resnet.py`; open-mmlab/mmaction2, `backbones/resnet3d.py`.
The stride over pixels is that of the 3x3 convolution; kernels over time may differ by block.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from converters.architectures.network import (
    Blueprint,
    ClipNetwork,
    Evidence,
    Settled,
    refuse_online,
    settle_segments,
)
from converters.architectures.volumes import (
    Convolution,
    Frames,
    Joined,
    Kernel,
    NonLocal,
    PicturePool,
    Pooling,
    Relation,
    TimePool,
    Volume,
    VolumeClassifier,
    VolumeForms,
)
from converters.facts import Fact, one_of
from edge_tsm.errors import CheckpointError

STEM_POOL = "temporal_pool"
_THETA = "non_local.theta.weight"
_NO_RELATIONS: Mapping[int, Relation] = {}
_DEPTHS: dict[tuple[int, ...], str] = {
    (2, 2, 2, 2): "18",
    (3, 4, 6, 3): "50",
    (3, 4, 23, 3): "101",
    (3, 8, 36, 3): "152",
}


@dataclass(frozen=True)
class Block:
    """Two (basic) or three (bottleneck) convolutions, and whether one is on the identity path.

    A non-local block follows where there is a `relation`; its width is `inner`.
    """

    convs: tuple[Kernel, ...]
    shortcut: bool
    inner: int = 0
    relation: Relation | None = None


@dataclass(frozen=True)
class Pathway:
    """A residual network up to its last map, as its weights have it."""

    stem: Kernel
    stages: tuple[tuple[Block, ...], ...]

    @property
    def depth(self) -> str:
        """What a name says of it: 50, 101, …"""
        counts = tuple(len(stage) for stage in self.stages)
        basic = len(self.stages[0][0].convs) == 2
        found = "34" if basic and counts == (3, 4, 6, 3) else _DEPTHS.get(counts)
        return found or "-".join(map(str, counts))

    @property
    def features(self) -> int:
        """Width of the last map."""
        return self.stages[-1][-1].convs[-1].outputs

    @property
    def kernels(self) -> set[int]:
        """The frames that its blocks' kernels see."""
        convs = (conv for stage in self.stages for block in stage for conv in block.convs)
        return {conv.time for conv in convs}

    @property
    def relations(self) -> dict[str, Fact[Any]]:
        """What is shown of its non-local blocks."""
        found = [block.relation for stage in self.stages for block in stage if block.relation]
        if not found:
            return {}
        kind = "softmax" if found[0].softmax else "dot product"
        text = f"{len(found)} blocks, {kind}, pictures pooled by {found[0].pool}"
        return {"non-local": Fact(text, "weights and the checkpoint's `cfg`")}


@dataclass(frozen=True)
class Reading:
    """How a code base reads the last map: windows of so many pixels (0: all), joined so."""

    window: int = 0
    joined: Joined = "logits"

    def settle(self, evidence: Evidence) -> tuple[Reading, dict[str, Fact[Any]]]:
        """Return it as hints have it, and the fact where several windows are seen."""
        claim = evidence.own("window")
        found = self if claim is None else replace(self, window=_window(claim))
        if found.joined == "logits":
            return found, {}
        sigmoid = next((h.activation for h in evidence.sources if h.activation), None)
        if sigmoid is not None and sigmoid.value == "sigmoid":
            found = replace(found, joined="sigmoid")
        return found, {}

    def shown(self, size: Fact[int]) -> dict[str, Fact[Any]]:
        """Return what is told where the map is larger than a window."""
        side = -(-size.value // 32)
        if not self.window or side <= self.window:
            return {}
        count = (side - self.window + 1) ** 2
        text = f"mean of {self.joined} over {count} windows of {self.window}x{self.window}"
        return {"head": Fact(text, f"a map of {side}x{side} at {size.value} pixels")}


WHOLE = Reading()


def _window(claim: Fact[object]) -> int:
    if isinstance(claim.value, int) and 0 <= claim.value <= 16:
        return claim.value
    raise CheckpointError(f"window is {claim.value!r} ({claim.source}); it must be 0 to 16")


@dataclass(frozen=True)
class ResNet3d(VolumeForms, ClipNetwork):
    """A network of one pathway.

    `stem_stride` and `pool_stride` keep every so many-th frame in the stem and at its pool; `pairs`
    says whether pairs of frames are pooled after the first stage, None where nothing tells.
    """

    pathway: Pathway
    reading: Reading = WHOLE
    stem_stride: int = 1
    pool_stride: int = 1
    pairs: bool | None = None
    family: ClassVar[str] = "resnet3d"
    own_hints: ClassVar[frozenset[str]] = frozenset({STEM_POOL, "window"})

    @property
    def name(self) -> str:
        """See `Network`: slow_r50, i3d_r50, c2d_r50."""
        return f"{self.kind}_r{self.pathway.depth}"

    @property
    def kind(self) -> str:
        """What the field calls such kernels."""
        if self.pathway.stem.time > 1:
            return "i3d"
        return "slow" if self.pathway.kernels != {1} else "c2d"

    @property
    def order_sensitive(self) -> bool:
        """See `Network`: pairs of frames are other pairs in reverse only if they are odd."""
        return self.kind != "c2d"

    def settle(self, evidence: Evidence) -> Settled:
        """See `Network`."""
        refuse_online(self, evidence)
        segments = settle_segments(evidence)
        pairs = self._pairs(evidence)
        reading, own = self.reading.settle(evidence)
        network = replace(self, pairs=pairs.value, reading=reading)
        self._refuse_short(segments, pairs)
        kernels = sorted(self.pathway.kernels | {self.pathway.stem.time})
        own |= {
            "temporal kernels": Fact(", ".join(map(str, kernels)), "weights"),
            "temporal pool": pairs,
            **self.pathway.relations,
            **reading.shown(evidence.size),
        }
        arch = {
            "backbone": self.name,
            "segments": segments.value,
            "temporal_kernels": own["temporal kernels"].value,
            "temporal_pool": pairs.value,
        }
        return Settled(network, segments, own, arch)

    def _pairs(self, evidence: Evidence) -> Fact[bool]:
        """Settle whether pairs of frames are pooled: an I3D's are, a Slow's are not."""
        claim = evidence.own(STEM_POOL)
        if self.pairs is not None:
            return Fact(self.pairs, "weights")
        if claim is not None:
            value = {"yes": True, "no": False}.get(str(claim.value), claim.value)
            return one_of(STEM_POOL, Fact(value, claim.source), (True, False))
        if self.kind == "c2d":
            raise CheckpointError(
                "a C2D pools pairs of frames after its first stage (c2d) or does not (2d, "
                f"C2D_NOPOOL), and the weights do not tell; pass --fact {STEM_POOL}=yes or =no"
            )
        return Fact(self.kind == "i3d", "weights (I3D: its stem looks along time)")

    def _refuse_short(self, segments: Fact[int], pairs: Fact[bool]) -> None:
        if self._frames(segments.value, pairs=pairs.value)[-1] < 1:
            raise CheckpointError(
                f"segments is {segments.value} ({segments.source}); pooling leaves no frame of them"
            )

    def _frames(self, segments: int, *, pairs: bool) -> tuple[int, int, int]:
        """Return how many frames the stem, its pool and the pool of pairs leave."""
        stem = -(-segments // self.stem_stride)
        pooled = -(-stem // self.pool_stride)
        return stem, pooled, pooled // 2 if pairs else pooled

    def classifier(self, blueprint: Blueprint) -> nn.Module:
        """See `Network`."""
        return VideoResNet(self, blueprint)


class VideoResNet(VolumeClassifier):
    """(N, T*3, H, W), channel index `t*3 + c`, to logits (N, classes)."""

    def __init__(self, spec: ResNet3d, blueprint: Blueprint) -> None:
        super().__init__()
        segments, path = blueprint.segments, spec.pathway
        stem, pooled, last = spec._frames(segments, pairs=bool(spec.pairs))
        self.frames = Frames(segments)
        self.stem = Convolution(path.stem, segments, stride=spec.stem_stride, step=2)
        self.pool = PicturePool(stem, spec.pool_stride)
        early = path.stem.time == spec.stem_stride == spec.pool_stride == 1
        for layer in (self.frames, self.stem, self.pool):
            layer.early = early
        self.volume = Volume(pooled, early=early)
        self.pairs: nn.Module = TimePool(pooled) if spec.pairs else nn.Identity()
        counts = (pooled, last, last, last)
        self.stages = nn.ModuleList(
            stage_of(blocks, number, counts[number]) for number, blocks in enumerate(path.stages)
        )
        self.pooling, self.joined = Pooling(spec.reading.window, [last]), spec.reading.joined
        self.head = nn.Linear(path.features, blueprint.classes)

    def features(self, x: Tensor) -> Tensor:
        """See `Classifier`."""
        x = self.volume(self.pool(self.stem(self.frames(x))))
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number == 0:
                x = self.pairs(x)
        seen: Tensor = self.pooling(x)
        return seen


class Residual(nn.Module):
    """A block on (N, C, T, H, W)."""

    def __init__(self, block: Block, step: int, frames: int) -> None:
        super().__init__()
        last, strided = len(block.convs) - 1, len(block.convs) - 2
        self.convs = nn.ModuleList(
            Convolution(
                kernel, frames, step=step if index == strided else 1, activation=index != last
            )
            for index, kernel in enumerate(block.convs)
        )
        identity = Kernel(block.convs[0].inputs, block.convs[-1].outputs, 1, 1)
        self.shortcut: nn.Module = (
            Convolution(identity, frames, step=step, activation=False)
            if block.shortcut
            else nn.Identity()
        )
        self.non_local: nn.Module = (
            NonLocal(block.convs[-1].outputs, block.inner, block.relation, frames)
            if block.relation
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        y = x
        for conv in self.convs:
            y = conv(y)
        result: Tensor = self.non_local(F.relu(y + self.shortcut(x)))
        return result


def stage_of(blocks: Sequence[Block], number: int, frames: int) -> nn.Sequential:
    """Return a stage; from the second on the first block keeps every second pixel."""
    steps = [2 if number and not index else 1 for index in range(len(blocks))]
    return nn.Sequential(
        *(Residual(block, step, frames) for block, step in zip(blocks, steps, strict=True))
    )


def bottlenecks(
    width: int, counts: Sequence[int], times: Sequence[int], *, stem: int = 1, beside: int = 0
) -> Pathway:
    """Return a ResNet as PySlowFast builds it by WIDTH_PER_GROUP and DEPTH.

    Args:
        width: channels of the stem.
        counts: blocks of each stage, (3, 4, 6, 3) for depth 50.
        times: frames that the first convolution of a stage's blocks sees.
        stem: frames that the stem sees.
        beside: channels that a lateral lays beside the stem's.
    """
    stages = []
    for number, (count, time) in enumerate(zip(counts, times, strict=True)):
        inner, entering = width << number, (width + beside) * (2 << number if number else 1)
        widths = [entering] + [4 * inner] * (count - 1)
        stages.append(
            tuple(
                Block(
                    (
                        Kernel(inputs, inner, time, 1),
                        Kernel(inner, inner, 1, 3),
                        Kernel(inner, 4 * inner, 1, 1),
                    ),
                    shortcut=index == 0,
                )
                for index, inputs in enumerate(widths)
            )
        )
    return Pathway(Kernel(3, width, stem, 7), tuple(stages))


# --- from weights --------------------------------------------------------------------------------


def read_pathway(
    tensors: Mapping[str, Tensor], prefix: str, relations: Mapping[int, Relation] = _NO_RELATIONS
) -> Pathway:
    """Return the pathway whose weights have the module's names after `prefix`.

    `relations` say by stage, counted from 0, how its non-local blocks relate positions.

    Raises:
        CheckpointError: not a whole residual network over clips.
    """
    stem = _kernel(tensors, f"{prefix}stem")
    stages = tuple(
        _stage(tensors, f"{prefix}stages.{number}", relations.get(number)) for number in range(4)
    )
    pathway = Pathway(stem, stages)
    _refuse_groups(pathway)
    return pathway


def _stage(
    tensors: Mapping[str, Tensor], prefix: str, relation: Relation | None
) -> tuple[Block, ...]:
    count = _count(tensors, prefix)
    if not count:
        raise CheckpointError(f"{prefix} has no weights; the file does not hold the whole network")
    return tuple(_block(tensors, f"{prefix}.{index}", relation) for index in range(count))


def _block(tensors: Mapping[str, Tensor], prefix: str, relation: Relation | None) -> Block:
    count = _count(tensors, f"{prefix}.convs")
    if count not in (2, 3):
        raise CheckpointError(f"{prefix} has {count} convolutions; a residual block has 2 or 3")
    convs = tuple(_kernel(tensors, f"{prefix}.convs.{index}") for index in range(count))
    shortcut, theta = f"{prefix}.shortcut.conv.weight" in tensors, tensors.get(f"{prefix}.{_THETA}")
    if theta is None or relation is None:
        return Block(convs, shortcut)
    return Block(convs, shortcut, int(theta.shape[0]), relation)


def _count(tensors: Iterable[str], prefix: str) -> int:
    """Return how many numbered parts there are, one after the other from 0."""
    parts = {
        rest.partition(".")[0]
        for rest in (n[len(prefix) + 1 :] for n in tensors if n.startswith(f"{prefix}."))
    }
    return next(i for i in range(len(parts) + 1) if str(i) not in parts)


def _kernel(tensors: Mapping[str, Tensor], name: str) -> Kernel:
    weight = tensors.get(f"{name}.conv.weight")
    if weight is None or weight.ndim != 5 or 0 in weight.shape:
        found = "missing" if weight is None else f"{tuple(weight.shape)}"
        raise CheckpointError(
            f"{name}.conv.weight is {found}; the file does not hold the whole network"
        )
    outputs, inputs, time, high, wide = map(int, weight.shape)
    if high != wide or not (high % 2 and time % 2):
        raise CheckpointError(
            f"{name} has a kernel of {time}x{high}x{wide}, which no code base builds"
        )
    return Kernel(inputs, outputs, time, high)


def _refuse_groups(pathway: Pathway) -> None:
    """Refuse convolutions in groups (CSN, ResNeXt), whose weights have fewer inputs."""
    for stage in pathway.stages:
        for block in stage:
            for one, other in pairwise(block.convs):
                if other.inputs != one.outputs:
                    raise CheckpointError(
                        "this is a CSN or a ResNeXt over clips (convolutions in groups), which "
                        "edge-tsm does not convert; Slow, I3D, C2D and SlowFast are"
                    )
