"""What readers of TimeSformers share: Facebook's names and habits, and the end.

Facebook, mmaction2, PaddleVideo and transformers name the same layers differently. A reader gives
them Facebook's names; what is then joined or taken apart is in `_canonical`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from converters.architectures.timesformer import Attention, TimeSformer
from converters.checkpoints.beside import Hint
from converters.checkpoints.keys import Tensors, find_head, numbers
from converters.picture import TRAINED_PX
from converters.recipe import Convention, Topology
from edge_tsm.bundle.card import Resize
from edge_tsm.errors import CheckpointError

Rename = Callable[[str], str]
SPACE_ONLY_FRAMES = 8
SOMETHING_CLASSES = 174
FLOATS = Resize(224, "bilinear", antialias=False, aspect="keep", long_side="truncate")
DEFAULTS = {"color": "rgb"}
FACEBOOK = Convention(
    "TimeSformer",
    None,
    "start",
    FLOATS,
    DEFAULTS,
    crop_offset="ceil",
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
    rate=30.0,
)
INTERVALS = {8: 32, 16: 16, 96: 4}  # of Facebook's networks, by the frames of a clip
_QKV = re.compile(r"^(.*)\.(?:qkv\.|in_proj_)(weight|bias)$")
_FRAMES_NAME = re.compile(r"(?<![\dA-Za-z])(\d{1,3})x(\d{1,3})(?![\dx])")
_KINDS: dict[str, Attention] = {
    "divided_space_time": "divided",
    "joint_space_time": "joint",
    "space_only": "space_only",
}
_KINDS_NAMED: dict[str, Attention] = {
    "divst": "divided",
    "jointst": "joint",
    "spaceonly": "space_only",
}


@dataclass(frozen=True)
class Naming:
    """How a code base names the layers, and what it always does.

    `rename` gives Facebook's names; `heads` are names of the classifier; `transposed` says that
    linear layers hold [inputs, outputs]. `intervals` are those of the published networks, by the
    frames of a clip.
    """

    convention: Convention
    rename: Rename
    heads: tuple[str, ...]
    intervals: Mapping[int, int]
    transposed: bool = False


def read_network(tensors: Tensors, naming: Naming, hints: list[Hint]) -> tuple[Topology, Tensors]:
    """Return the topology and the canonical weights of a TimeSformer.

    `hints` are what lies beside the weights, in order of trust; what the weights themselves and the
    published networks say follows.

    Raises:
        CheckpointError: not a whole TimeSformer.
    """
    named = {naming.rename(name): tensor for name, tensor in tensors.items()}
    if len(named) != len(tensors):
        raise CheckpointError("two weights have names of one layer")
    if naming.transposed:
        named = {n: t.transpose(0, 1) if t.ndim == 2 else t for n, t in named.items()}
    head, classes, named = find_head(named, naming.heads)
    canonical = _canonical(named)
    network = _spec(canonical)
    return Topology(
        network,
        classes,
        f"{head}.weight",
        [*hints, *_shown(network, classes, naming)],
        naming.convention,
        shift_source=None,
    ), canonical


def attention_of(names: Iterable[str]) -> Attention:
    """Return what attends to what, by Facebook's names."""
    known = set(names)
    if any(name.startswith("blocks.0.temporal_") for name in known):
        return "divided"
    return "joint" if "time_embed" in known else "space_only"


def attention_hint(kind: Any) -> Attention | None:
    """Return what a configuration's `attention_type` says; None for what no code base has."""
    return _KINDS.get(kind) if isinstance(kind, str) else None


def name_hints(path: Path) -> list[Hint]:
    """Read kind, frames and interval (`divST_8x32`) in the name of the file, else of its folder."""
    for which, name in (("file", path.name), ("folder", path.absolute().parent.name)):
        hints: dict[str, Any] = {}
        kind = next((k for word, k in _KINDS_NAMED.items() if word in name.lower()), None)
        frames = _FRAMES_NAME.search(name) or re.search(r"(?<=-)(\d+)x(\d+)x1(?!\d)", name)
        if kind is not None:
            hints["attention"] = kind
        if frames is not None:
            hints["segments"], hints["interval"] = int(frames[1]), int(frames[2])
        if "ssv2" in name.lower():
            hints["sampling"], hints["dataset"] = "parts", "somethingv2"
        if hints:
            return [(f"name of the {which}", hints)]
    return []


def attention_by(tensors: Tensors, naming: Naming) -> Attention:
    """Return what attends to what, by the names of a code base that names no image network so."""
    return attention_of(map(naming.rename, tensors))


def _shown(network: TimeSformer, classes: int, naming: Naming) -> list[Hint]:
    """Return what the weights show of the clip, and what the published networks share."""
    frames = network.frames or SPACE_ONLY_FRAMES
    side = network.size_px * naming.convention.resize.short_side_px // TRAINED_PX
    shown: dict[str, Any] = {"size": network.size_px, "short_side": side}
    if network.frames is not None:
        shown["segments"] = network.frames
    usual = {"segments": frames, "interval": naming.intervals.get(frames)}
    hints: list[Hint] = [("weights", shown)]
    if classes == SOMETHING_CLASSES:
        data = {"sampling": "parts", "dataset": "somethingv2"}
        hints.append((f"{classes} classes, as Something-Something V2 has", data))
    return [*hints, (f"as published for {frames} frames", usual)]


def _spec(canonical: Tensors) -> TimeSformer:
    patch = _of(canonical, "patch_embed.weight", 4)
    position = _of(canonical, "pos_embed", 3)
    grid = math.isqrt(position.shape[1] - 1)
    if grid**2 != position.shape[1] - 1 or not grid:
        raise CheckpointError(
            f"pos_embed has {position.shape[1]} places, which are not those of a square of patches "
            "and a class token"
        )
    times = canonical.get("time_embed")
    if patch.shape[2] != patch.shape[3] or patch.shape[1] != 3:
        raise CheckpointError(f"patches of {tuple(patch.shape)} are no squares of RGB pictures")
    return TimeSformer(
        attention=attention_of(canonical),
        depth=len(numbers(canonical, "blocks.")),
        width=int(patch.shape[0]),
        hidden=int(_of(canonical, "blocks.0.mlp.fc1.weight", 2).shape[0]),
        patch=int(patch.shape[2]),
        patches=grid,
        frames=None if times is None else int(_of(canonical, "time_embed", 3).shape[1]),
        biased="blocks.0.attn.q.bias" in canonical,
    )


def _of(names: Tensors, name: str, rank: int) -> Tensor:
    tensor = names.get(name)
    if tensor is None or tensor.ndim != rank or 0 in tensor.shape:
        shape = "missing" if tensor is None else f"{tuple(tensor.shape)}, not of rank {rank}"
        raise CheckpointError(f"not a whole TimeSformer: {name} is {shape}")
    return tensor


def _canonical(named: Tensors) -> Tensors:
    """Take q, k and v apart, which are three equal slices, and join the temporal projections."""
    found: Tensors = {}
    for name, tensor in named.items():
        match = _QKV.match(name)
        if match is None:
            found[name.replace("patch_embed.proj.", "patch_embed.")] = tensor
            continue
        if tensor.shape[0] % 3:
            raise CheckpointError(f"{name} {tuple(tensor.shape)} is not q, k and v")
        parts = zip("qkv", tensor.chunk(3), strict=True)
        found |= {f"{match[1]}.{part}.{match[2]}": rows.clone() for part, rows in parts}
    for block in sorted({n.split(".temporal_fc.")[0] for n in found if ".temporal_fc." in n}):
        _join(found, f"{block}.temporal_attn.proj", f"{block}.temporal_fc")
    return found


def _join(names: Tensors, first: str, second: str) -> None:
    """Make one linear layer, called `first`, of two that follow each other."""
    keys = [f"{layer}.{kind}" for layer in (first, second) for kind in ("weight", "bias")]
    if not all(key in names and names[key].is_floating_point() for key in keys):
        raise CheckpointError(f"not a whole TimeSformer: {first} or {second} is incomplete")
    one, bias, two, second_bias = (names.pop(key).to(torch.float64) for key in keys)
    if one.ndim != 2 or two.ndim != 2 or two.shape[1] != one.shape[0] != bias.shape[0]:
        raise CheckpointError(f"{first} {tuple(one.shape)} does not fit {second}")
    names[f"{first}.weight"] = (two @ one).to(torch.float32)
    names[f"{first}.bias"] = (two @ bias + second_bias).to(torch.float32)


def renamer(rules: Mapping[str, str]) -> Rename:
    """Return what renames by (pattern at the start, replacement) pairs, the first that fits."""
    compiled = [(re.compile(pattern), ours) for pattern, ours in rules.items()]

    def rename(name: str) -> str:
        for pattern, ours in compiled:
            if pattern.match(name):
                return pattern.sub(ours, name, count=1)
        return name

    return rename
