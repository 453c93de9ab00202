"""SlowFast: a pathway of few frames, a thin one of many, and what goes over between them.

Sources: Feichtenhofer et al., 2019, "SlowFast Networks for Video Recognition";
facebookresearch/SlowFast, `models/video_model_builder.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from converters.architectures.network import (
    Blueprint,
    ClipNetwork,
    Evidence,
    Scalar,
    Settled,
    refuse_online,
    settle_segments,
)
from converters.architectures.resnet3d import (
    WHOLE,
    Pathway,
    Reading,
    bottlenecks,
    read_pathway,
    stage_of,
)
from converters.architectures.volumes import (
    Convolution,
    Frames,
    Kernel,
    Pick,
    PicturePool,
    Pooling,
    Relation,
    VolumeClassifier,
    VolumeForms,
)
from converters.facts import Fact, integer
from edge_tsm.errors import CheckpointError

SlowFrames = Literal["linspace", "strided"]
_MOST_ALPHA = 32
_ALPHA_OF_KERNEL = {7: 4}  # that of 5 is 8 or 4


@dataclass(frozen=True)
class SlowFast(VolumeForms, ClipNetwork):
    """A network of two pathways.

    `laterals` lead from the fast to the slow one, with batch norm and ReLU if `normed`. Of `alpha`
    frames the slow one sees one, evenly spread from the first to the last (`linspace`) or the first
    of each `alpha` (`strided`); None where nothing tells.
    """

    slow: Pathway
    fast: Pathway
    laterals: tuple[Kernel, ...]
    normed: bool
    slow_frames: SlowFrames
    reading: Reading = WHOLE
    alpha: int | None = None
    family: ClassVar[str] = "slowfast"
    own_hints: ClassVar[frozenset[str]] = frozenset({"alpha", "window"})

    @property
    def name(self) -> str:
        """See `Network`: slowfast_r50, of two depths slowfast_r101_r50."""
        depths = dict.fromkeys(f"r{path.depth}" for path in (self.slow, self.fast))
        return "_".join(["slowfast", *depths])

    def settle(self, evidence: Evidence) -> Settled:
        """See `Network`."""
        refuse_online(self, evidence)
        alpha = self._alpha(evidence)
        segments = settle_segments(evidence)
        if segments.value % alpha.value:
            raise CheckpointError(
                f"segments is {segments.value} ({segments.source}), which alpha {alpha.value} "
                f"({alpha.source}) does not divide; pass --segments, the frames of the fast "
                f"pathway: {max(1, round(segments.value / alpha.value)) * alpha.value}"
            )
        reading, own = self.reading.settle(evidence)
        network = replace(self, alpha=alpha.value, reading=reading)
        own |= {
            "alpha": alpha,
            "slow frames": Fact(self.slow_frames, evidence.convention),
            "lateral kernel": Fact(self.laterals[0].time, "weights"),
            **self.slow.relations,
            **reading.shown(evidence.size),
        }
        arch: dict[str, Scalar] = {
            "backbone": self.name,
            "segments": segments.value,
            "alpha": alpha.value,
            "slow_frames": self.slow_frames,
            "lateral_kernel": self.laterals[0].time,
        }
        return Settled(network, segments, own, arch)

    def _alpha(self, evidence: Evidence) -> Fact[int]:
        claim, kernel = evidence.own("alpha"), self.laterals[0].time
        if claim is None and kernel in _ALPHA_OF_KERNEL:
            claim = Fact(_ALPHA_OF_KERNEL[kernel], f"lateral kernel of {kernel} frames")
        if claim is None:
            raise CheckpointError(
                "nothing tells how many fast frames there are for a slow one (alpha, a stride and "
                "no weight), neither the file nor its name; pass --fact alpha=8 (as in 4x16) or "
                "--fact alpha=4 (8x8, 16x8)"
            )
        return integer("alpha", claim, 1, _MOST_ALPHA)

    def chosen(self, segments: int) -> list[int]:
        """Return the frames that the slow pathway sees."""
        alpha = self.alpha or 1
        if self.slow_frames == "strided":
            return list(range(0, segments, alpha))
        # In f32, as upstream has it.
        spread = torch.linspace(0, segments - 1, segments // alpha or 1, device="cpu")
        return [int(place) for place in spread]

    def classifier(self, blueprint: Blueprint) -> nn.Module:
        """See `Network`."""
        return SlowFastNet(self, blueprint)


class _PathwayNet(nn.Module):
    """Stem and stages of a pathway, which `SlowFastNet` runs in turns with the other's."""

    def __init__(self, path: Pathway, frames: int) -> None:
        super().__init__()
        self.stem = Convolution(path.stem, frames, step=2)
        self.pool = PicturePool(frames)
        self.stages = nn.ModuleList(
            stage_of(blocks, number, frames) for number, blocks in enumerate(path.stages)
        )

    def step(self, number: int, x: Tensor) -> Tensor:
        """Run stem and pool (0) or a stage (1 to 4)."""
        result: Tensor = self.stages[number - 1](x) if number else self.pool(self.stem(x))
        return result


class SlowFastNet(VolumeClassifier):
    """(N, T*3, H, W), channel index `t*3 + c`, to logits (N, classes)."""

    def __init__(self, spec: SlowFast, blueprint: Blueprint) -> None:
        super().__init__()
        segments, chosen = blueprint.segments, spec.chosen(blueprint.segments)
        self.frames, self.pick = Frames(segments), Pick(segments, chosen)
        self.slow = _PathwayNet(spec.slow, len(chosen))
        self.fast = _PathwayNet(spec.fast, segments)
        self.laterals = nn.ModuleList(
            Convolution(
                kernel, segments, stride=spec.alpha or 1, norm=spec.normed, activation=spec.normed
            )
            for kernel in spec.laterals
        )
        self.pooling = Pooling(spec.reading.window, [len(chosen), segments])
        self.joined = spec.reading.joined
        self.head = nn.Linear(spec.slow.features + spec.fast.features, blueprint.classes)

    def features(self, x: Tensor) -> Tensor:
        """See `Classifier`."""
        fast = self.frames(x)
        slow = self.pick(fast)
        for number in range(len(self.laterals) + 1):
            slow, fast = self.slow.step(number, slow), self.fast.step(number, fast)
            if number < len(self.laterals):
                slow = torch.cat((slow, self.laterals[number](fast)), 1)
        seen: Tensor = self.pooling(slow, fast)
        return seen


def slowfast(
    width: int,
    counts: Sequence[int],
    *,
    alpha: int,
    thinner: int = 8,
    lateral: int = 5,
    reading: Reading = WHOLE,
) -> SlowFast:
    """Return a SlowFast as PySlowFast builds it by WIDTH_PER_GROUP, DEPTH, ALPHA and BETA_INV.

    Args:
        width: channels of the slow stem.
        counts: blocks of each stage, (3, 4, 6, 3) for depth 50.
        alpha: fast frames for a slow one.
        thinner: how many times fewer channels the fast pathway has.
        lateral: frames that the laterals see.
        reading: how the last map is read.
    """
    thin = width // thinner
    slow = bottlenecks(width, counts, (1, 1, 3, 3), beside=2 * thin)
    fast = bottlenecks(thin, counts, (3, 3, 3, 3), stem=5)
    widths = [fast.stem.outputs, *(stage[-1].convs[-1].outputs for stage in fast.stages[:3])]
    laterals = tuple(Kernel(channels, 2 * channels, lateral, 1) for channels in widths)
    return SlowFast(slow, fast, laterals, True, "linspace", reading, alpha)


def read_slowfast(
    tensors: Mapping[str, Tensor],
    *,
    normed: bool,
    slow_frames: SlowFrames,
    reading: Reading,
    relations: Mapping[int, Relation],
) -> SlowFast:
    """Return the network whose weights have the module's names; `read_pathway` has `relations`.

    Raises:
        CheckpointError: not a whole SlowFast.
    """
    laterals = []
    for number in range(4):
        weight = tensors.get(f"laterals.{number}.conv.weight")
        if weight is None or weight.ndim != 5:
            raise CheckpointError(f"lateral {number} from the fast to the slow pathway is missing")
        outputs, inputs, time, side, _ = map(int, weight.shape)
        laterals.append(Kernel(inputs, outputs, time, side))
    if len({kernel.time for kernel in laterals}) > 1:
        raise CheckpointError("lateral kernels of different lengths, which no code base builds")
    slow, fast = (read_pathway(tensors, f"{name}.", relations) for name in ("slow", "fast"))
    return SlowFast(slow, fast, tuple(laterals), normed, slow_frames, reading)
