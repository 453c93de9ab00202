"""Checkpoints of facebookresearch/TimeSformer, read and written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from converters.architectures.timesformer import TimeSformerClassifier
from converters.checkpoints.beside import Hint, told
from converters.checkpoints.keys import Reader, Tensors
from converters.checkpoints.settings import configuration, setting, triple
from converters.checkpoints.video_transformers import (
    FACEBOOK,
    INTERVALS,
    Naming,
    attention_hint,
    name_hints,
    read_network,
)
from converters.recipe import Topology
from edge_tsm.errors import CheckpointError

NAMING = Naming(FACEBOOK, lambda name: name, ("head",), INTERVALS)


def recognizes(keys: Iterable[str]) -> bool:
    """Return whether keys are named as Facebook names them; those of an image ViT are, too."""
    known = set(keys)
    whole = {"cls_token", "pos_embed", "blocks.0.attn.qkv.weight"} <= known
    return whole or "blocks.0.temporal_attn.qkv.weight" in known


def read(
    tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
) -> tuple[Topology, Tensors]:
    """See `Read`; `outer` may hold the configuration."""
    return read_network(tensors, NAMING, [*_config_hints(outer), *name_hints(path)])


def _config_hints(outer: Mapping[str, Any]) -> list[Hint]:
    """Return what a configuration says; weights tell the rest where it is damaged."""
    try:
        config = configuration(outer)
    except CheckpointError:
        return []
    hints: dict[str, Any] = {
        "attention": attention_hint(setting(config, "TIMESFORMER.ATTENTION_TYPE")),
        "segments": setting(config, "DATA.NUM_FRAMES"),
        "interval": setting(config, "DATA.SAMPLING_RATE"),
        "mean": triple(setting(config, "DATA.MEAN")),
        "std": triple(setting(config, "DATA.STD")),
    }
    if str(setting(config, "TRAIN.DATASET")).lower() == "ssv2":
        hints |= {"sampling": "parts", "dataset": "somethingv2"}
    return told("the checkpoint's `cfg`", hints)


READER = Reader(
    "timesformer",
    recognizes,
    read,
    "model.blocks.0.temporal_attn.qkv.weight, model.time_embed, model.head.weight",
)


def facebook_state(model: TimeSformerClassifier) -> Tensors:
    """Return a network's weights under Facebook's names, as `model_state` of its files holds them.

    What the reader has joined is apart again: `temporal_fc` is the identity.
    """
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    found: Tensors = {}
    for name, tensor in state.items():
        layer, part, kind = ("", "", "") if name.count(".") < 2 else name.rsplit(".", 2)
        if part == "q":
            rows = [state[f"{layer}.{each}.{kind}"] for each in "qkv"]
            found[f"model.{layer}.qkv.{kind}"] = torch.cat(rows)
        elif part not in ("k", "v"):
            found[f"model.{name.replace('patch_embed.', 'patch_embed.proj.')}"] = tensor
    width = model.head.in_features
    for block in {n.rpartition(".temporal_norm1.")[0] for n in found if ".temporal_norm1." in n}:
        found[f"{block}.temporal_fc.weight"] = torch.eye(width)
        found[f"{block}.temporal_fc.bias"] = torch.zeros(width)
    return found
