"""TimeSformer: "Is Space-Time Attention All You Need for Video Understanding?" (Bertasius, 2021).

A vision transformer whose tokens are patches of frames. What attends to what has three kinds:
divided (over the frames of one patch, then over the patches of one frame), joint (all tokens) and
space_only (the patches of one frame; frames meet in a mean at the end).

Written for engines without shapes that are computed: tokens stay rows of one matrix, so that every
linear layer is a Gemm. Two products are made once instead of for every clip: the scale of the
scores goes into the query's weights, and of the last block only the class token is computed, since
nothing else of it is read. The reader joins `temporal_attn.proj` and `temporal_fc`, with nothing
between them, into one layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters.architectures.network import (
    Blueprint,
    Classifier,
    ClipNetwork,
    Evidence,
    Settled,
    refuse_online,
    settle_segments,
)
from converters.facts import Fact, integer, one_of
from edge_tsm.errors import CheckpointError, InputError

Attention = Literal["divided", "joint", "space_only"]
KINDS: tuple[Attention, ...] = get_args(Attention)
HEAD = 64  # numbers of a token that one head sees, in every published model
MOST_HEADS = 64
EPSILON = 1e-6  # of the norms, in every published model


@dataclass(frozen=True)
class TimeSformer(ClipNetwork):
    """The spec: what names and shapes of the weights show, and the heads, which they do not.

    `patches` is the grid's side, `patch` that of one patch in pixels. `frames` are those that the
    weights know (their time table), None where there is no such table. `heads` is None until it is
    settled. `biased` says whether q, k and v have a bias (PP-TimeSformer's have none).
    """

    attention: Attention
    depth: int
    width: int
    hidden: int
    patch: int
    patches: int
    frames: int | None
    biased: bool = True
    heads: int | None = None
    epsilon: float = EPSILON

    family: ClassVar[str] = "timesformer"
    own_hints: ClassVar[frozenset[str]] = frozenset({"heads", "attention", "epsilon"})

    @property
    def name(self) -> str:
        """See `Network`."""
        return f"timesformer_{self.attention}"

    @property
    def size_px(self) -> int:
        """The side of the pictures, which the table of positions fixes."""
        return self.patch * self.patches

    @property
    def order_sensitive(self) -> bool:
        """See `Network`."""
        return self.attention != "space_only"

    def settle(self, evidence: Evidence) -> Settled:
        """Settle frames and heads; see `Network`."""
        refuse_online(self, evidence)
        if evidence.size.value != self.size_px:
            raise CheckpointError(
                f"size is {evidence.size.value} ({evidence.size.source}), but the weights have "
                f"{self.patches} x {self.patches} positions of {self.patch} pixels; pass --size "
                f"{self.size_px}"
            )
        self._check_kind(evidence)
        segments, heads = self._segments(evidence), self._heads(evidence)
        network = replace(self, heads=heads.value, epsilon=self._epsilon(evidence))
        shown = {
            "attention": self.attention,
            "depth": self.depth,
            "width": self.width,
            "patch": self.patch,
        }
        return Settled(
            network,
            segments,
            own={n: Fact(v, "weights") for n, v in shown.items()} | {"heads": heads},
            arch={
                "backbone": self.name,
                "segments": segments.value,
                **shown,
                "heads": heads.value,
                "qkv_bias": self.biased,
            },
        )

    def _check_kind(self, evidence: Evidence) -> None:
        """Refuse a claim that the weights contradict, and an image network that nobody claims."""
        claim = evidence.own("attention")
        if claim is None and self.attention == "space_only":
            raise CheckpointError(
                "this is a vision transformer (ViT), by its names an image network: edge-tsm "
                "converts TimeSformers; pass --fact attention=space_only if it is one that sees "
                "frames one by one"
            )
        if claim is not None and one_of("attention", claim, KINDS).value != self.attention:
            raise CheckpointError(
                f"attention is {claim.value} ({claim.source}), but the weights are of "
                f"{self.attention}"
            )

    def _epsilon(self, evidence: Evidence) -> float:
        claim = evidence.own("epsilon") or Fact(EPSILON, "default")
        value = claim.value
        if not isinstance(value, float) or not 0 < value < 1:
            raise CheckpointError(f"epsilon is {value!r} ({claim.source}); it must be 0 to 1")
        return value

    def _segments(self, evidence: Evidence) -> Fact[int]:
        segments = settle_segments(evidence)
        if self.frames is None or segments.value == self.frames:
            return segments
        raise CheckpointError(
            f"segments is {segments.value} ({segments.source}), but the weights have "
            f"{self.frames} times; pass --segments {self.frames}"
        )

    def _heads(self, evidence: Evidence) -> Fact[int]:
        claim = evidence.own("heads")
        if claim is None:
            if self.width % HEAD:
                raise CheckpointError(
                    f"nothing tells the heads of the attention, and tokens of {self.width} numbers "
                    f"are none of {HEAD} for each; pass --fact heads=N"
                )
            claim = Fact(self.width // HEAD, f"width / {HEAD}, as in every published model")
        heads = integer("heads", claim, 1, MOST_HEADS)
        if self.width % heads.value:
            raise CheckpointError(
                f"heads is {heads.value} ({heads.source}), which does not divide the tokens' "
                f"{self.width} numbers"
            )
        return heads

    def classifier(self, blueprint: Blueprint) -> nn.Module:
        """See `Network`."""
        heads = self.heads or max(1, self.width // HEAD)
        frames = self.frames or blueprint.segments
        return TimeSformerClassifier(self, blueprint.classes, frames=frames, heads=heads)


class TimeSformerClassifier(Classifier):
    """(N, T*3, S, S), channel `t*3 + c`, to logits (N, classes)."""

    def __init__(self, spec: TimeSformer, classes: int, *, frames: int, heads: int) -> None:
        super().__init__()
        width, count = spec.width, spec.patches**2
        self.frames, self.spec, self.patches = frames, spec, count
        self.patch_embed = nn.Conv2d(3, width, spec.patch, spec.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + count, width))
        if spec.frames is not None:
            self.time_embed = nn.Parameter(torch.zeros(1, frames, width))
        layout = _LAYOUTS[spec.attention](frames, count)
        self.blocks = nn.ModuleList(
            Block(spec, heads, layout, last=i == spec.depth - 1) for i in range(spec.depth)
        )
        self.norm = nn.LayerNorm(width, eps=spec.epsilon)
        self.head = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the normalized class token of N clips, (N, D)."""
        cls, tokens = self.tokens(x)
        for block in self.blocks:
            cls, tokens = block(cls, tokens)
        # Where frames did not meet, there is a class token for each.
        result: Tensor = self.norm(cls.mean(1))
        return result

    def average(self, logits: Tensor, *, clips: int) -> Tensor:
        """Return the logits as they are: there is one row for each clip."""
        return logits

    def tokens(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return class tokens (N, 1 or T, D) and the patches' (N, T, P, D), with their places.

        A patch has a place in the frame and, unless frames never meet, one in time; the class
        token has the first place in the frame and none in time.
        """
        side = self.spec.size_px
        maps = self.patch_embed(x.reshape(-1, 3, side, side))
        tokens = (
            maps.reshape(-1, self.spec.width, self.patches).transpose(1, 2) + self.pos_embed[:, 1:]
        )
        tokens = tokens.reshape(-1, self.frames, self.patches, self.spec.width)
        cls = self.cls_token + self.pos_embed[:, :1]
        if self.spec.frames is not None:
            tokens = tokens + self.time_embed[:, :, None]
        if self.spec.attention == "space_only":
            cls = cls.expand(-1, self.frames, -1)
        return (cls if x.shape[0] == 1 else cls.expand(x.shape[0], -1, -1)), tokens


class Layout:
    """Which tokens attend to each other: rows of sequences, made of class and patch tokens."""

    def __init__(self, frames: int, patches: int) -> None:
        self.frames, self.patches = frames, patches

    def join(self, cls: Tensor, tokens: Tensor) -> Tensor:
        """Return sequences (N, groups, 1 + tokens, D), the class token first."""
        raise NotImplementedError

    def cls_of(self, sequences: Tensor) -> Tensor:
        """Return what sequences hold in the place of the class token, (N, classes' tokens, D)."""
        raise NotImplementedError


class OfFrames(Layout):
    """Patches of one frame, with a class token of each frame's own."""

    def join(self, cls: Tensor, tokens: Tensor) -> Tensor:
        """See `Layout`."""
        return torch.cat([cls[:, :, None], tokens], dim=2)

    def cls_of(self, sequences: Tensor) -> Tensor:
        """See `Layout`."""
        return sequences[:, :, 0]


class OfFramesTogether(OfFrames):
    """Patches of one frame, with a copy of the clip's class token; the copies' mean is taken."""

    def join(self, cls: Tensor, tokens: Tensor) -> Tensor:
        """See `Layout`."""
        return super().join(torch.cat([cls] * self.frames, dim=1), tokens)

    def cls_of(self, sequences: Tensor) -> Tensor:
        """See `Layout`."""
        return super().cls_of(sequences).mean(1, keepdim=True)


class OfClips(Layout):
    """All patches of a clip, with its class token."""

    def join(self, cls: Tensor, tokens: Tensor) -> Tensor:
        """See `Layout`."""
        rows = tokens.reshape(-1, 1, self.frames * self.patches, _sizes(tokens)[-1])
        return torch.cat([cls[:, None], rows], dim=2)

    def cls_of(self, sequences: Tensor) -> Tensor:
        """See `Layout`."""
        return sequences[:, 0, :1]


_LAYOUTS: Mapping[Attention, type[Layout]] = {
    "divided": OfFramesTogether,
    "joint": OfClips,
    "space_only": OfFrames,
}


class Block(nn.Module):
    """Attention over time, where it is divided, then over a layout's sequences, then an MLP.

    The last one returns the class tokens alone.
    """

    def __init__(self, spec: TimeSformer, heads: int, layout: Layout, *, last: bool) -> None:
        super().__init__()
        self.layout, self.last, width = layout, last, spec.width
        self.divided = spec.attention == "divided"
        if self.divided:
            self.temporal_norm1 = nn.LayerNorm(width, eps=spec.epsilon)
            self.temporal_attn = SelfAttention(width, heads, biased=spec.biased)
        self.norm1 = nn.LayerNorm(width, eps=spec.epsilon)
        self.attn = SelfAttention(width, heads, biased=spec.biased)
        self.norm2 = nn.LayerNorm(width, eps=spec.epsilon)
        self.mlp = Mlp(width, spec.hidden)

    def forward(self, cls: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Take and return class tokens (N, C, D) and patch tokens (N, T, P, D)."""
        if self.divided:
            tokens = tokens + self.temporal_attn.over_time(self.temporal_norm1(tokens))
        sequences = self.norm1(self.layout.join(cls, tokens))
        found = self.attn(sequences, first_only=self.last)
        cls = cls + self.layout.cls_of(found)
        if self.last:
            return cls + self.mlp(self.norm2(cls)), tokens
        tokens = tokens + found[:, :, 1:].reshape(-1, *_sizes(tokens))
        return self._mixed(cls, tokens)

    def _mixed(self, cls: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return class and patch tokens after the MLP, which sees them as one matrix."""
        count, (frames, patches, width) = _sizes(cls)[0], _sizes(tokens)
        x = torch.cat([cls, tokens.reshape(-1, frames * patches, width)], dim=1)
        x = x + self.mlp(self.norm2(x))
        return x[:, :count], x[:, count:].reshape(-1, frames, patches, width)


class SelfAttention(nn.Module):
    """Softmax attention of `heads` heads."""

    def __init__(self, width: int, heads: int, *, biased: bool) -> None:
        super().__init__()
        self.heads, self.each = heads, width // heads
        self.q = nn.Linear(width, width, bias=biased)
        self.k = nn.Linear(width, width, bias=biased)
        self.v = nn.Linear(width, width, bias=biased)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, *, first_only: bool = False) -> Tensor:
        """Let the rows of (N, G, S, D) attend to those of their group.

        With `first_only` only the first of each group asks; (N, G, 1, D) is returned.
        """
        asked = x[:, :, :1] if first_only else x
        q, k, v = (part.permute(0, 1, 3, 2, 4) for part in self._parts(asked, x))
        found = self._attend(q, k, v).permute(0, 1, 3, 2, 4)
        return self._projected(found, _sizes(asked))

    def over_time(self, x: Tensor) -> Tensor:
        """Let the frames of each patch of (N, T, P, D) attend to each other."""
        q, k, v = (part.permute(0, 2, 3, 1, 4) for part in self._parts(x, x))
        found = self._attend(q, k, v).permute(0, 3, 1, 2, 4)
        return self._projected(found, _sizes(x))

    def _parts(self, asked: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q of `asked`, k and v of x, each (N, A, B, heads, D / heads)."""
        scale = 1 / math.sqrt(self.each)
        bias = None if self.q.bias is None else self.q.bias * scale
        width, split = self.heads * self.each, (self.heads, self.each)
        q = F.linear(asked.reshape(-1, width), self.q.weight * scale, bias)
        rows, places = x.reshape(-1, width), (*_sizes(x)[:2], *split)
        return (
            q.reshape(-1, *_sizes(asked)[:2], *split),
            self.k(rows).reshape(-1, *places),
            self.v(rows).reshape(-1, *places),
        )

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.transpose(-2, -1)).softmax(-1) @ v

    def _projected(self, found: Tensor, sizes: list[int]) -> Tensor:
        result: Tensor = self.proj(found.reshape(-1, self.heads * self.each))
        return result.reshape(-1, *sizes)


class Mlp(nn.Module):
    """Two linear layers with a GELU (of erf) between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (N, S, D)."""
        sizes = _sizes(x)
        result: Tensor = self.fc2(F.gelu(self.fc1(x.reshape(-1, sizes[-1]))))
        return result.reshape(-1, *sizes)


def _sizes(x: Tensor) -> list[int]:
    """Return all sizes but the batch's, as numbers: a graph is not to compute them."""
    return [int(size) for size in x.shape[1:]]


def initialize_tokens(model: TimeSformerClassifier, *, seed: int) -> None:
    """Give linear layers (Glorot) and tables of places fresh weights, to train from scratch.

    Upstream begins with 0.02 everywhere, as an image network of 768 numbers a token goes on from;
    with few numbers that leaves attention even, and places are lost beside what is seen.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith(("_embed", "cls_token")):
            nn.init.normal_(parameter, std=0.3, generator=generator)
        elif parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter, generator=generator)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)


def begin_as_shift(model: TimeSformerClassifier, *, seed: int) -> None:
    """Give fresh weights by which two heads of the first attention over time are a temporal shift.

    The first looks one frame back, the second one ahead, by sines and cosines of time, which have
    numbers of a token to themselves, as places in the frame have. From even attention a small
    network is at chance after thousands of steps: that frames have an order is learned late.

    Raises:
        InputError: the network has no attention over time, or too few heads or numbers a token.
    """
    spec, count = model.spec, model.spec.width // 16  # frequencies, up to a quarter turn a frame
    if spec.attention != "divided" or spec.frames is None:
        raise InputError("only divided attention, of a fixed number of frames, looks along time")
    attention = cast("Block", model.blocks[0]).temporal_attn
    if attention.heads < 2 or count % 2 or not 0 < 2 * count <= attention.each:
        raise InputError(
            f"{attention.heads} heads of {spec.width} numbers in all cannot begin as a shift"
        )
    initialize_tokens(model, seed=seed)
    turns = torch.pi / 2 * (torch.arange(count) + 1) / count
    time = torch.arange(model.frames)[:, None] * turns
    seen = spec.width - 4 * count  # then time, then places
    with torch.no_grad():
        for parameter in model.patch_embed.parameters():
            parameter[seen:] = 0
        model.time_embed.zero_()
        model.time_embed[0, :, seen : seen + 2 * count] = torch.cat([time.sin(), time.cos()], 1)
        model.pos_embed.mul_(0.3)
        model.pos_embed[:, :, seen : seen + 2 * count] = 0
        model.pos_embed[0, 1:, seen + 2 * count :] = _waves_in_frame(spec.patches, 2 * count)
        for head, step in enumerate((-1, 1)):
            _look(attention, head, turns * step, seen)


def _waves_in_frame(side: int, width: int) -> Tensor:
    """Return (side * side, width): sines and cosines along the rows, then along the columns."""
    line = torch.pi * (torch.arange(side) + 0.5)[:, None] / side * (torch.arange(width // 4) + 1)
    waves = torch.cat([line.sin(), line.cos()], 1)
    both = (waves[:, None].expand(side, side, -1), waves[None].expand(side, side, -1))
    return torch.cat(both, 2).reshape(side * side, width)


def _look(attention: SelfAttention, head: int, turns: Tensor, start: int) -> None:
    """Let a head look where time's waves, from number `start` of a token on, are turned so far.

    The gain makes the frame asked for win by far, after the norm before.
    """
    gain, count = 3.0, len(turns)
    first = head * attention.each
    sines, cosines = start + torch.arange(count), start + count + torch.arange(count)
    one, other = first + torch.arange(count), first + count + torch.arange(count)
    for weight in (attention.q.weight, attention.k.weight):
        weight[first : first + 2 * count] = 0
        weight[first + 2 * count : first + attention.each] *= 0.1
    attention.k.weight[one, sines] = attention.k.weight[other, cosines] = gain
    attention.q.weight[one, sines] = attention.q.weight[other, cosines] = gain * turns.cos()
    attention.q.weight[one, cosines] = gain * turns.sin()
    attention.q.weight[other, sines] = -gain * turns.sin()
