"""Checkpoints of open-mmlab/mmaction2: TimeSformer (divided, joint, space only)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.checkpoints.beside import Hint, told
from converters.checkpoints.keys import Reader, Tensors
from converters.checkpoints.openmmlab import (
    OF_CLIPS,
    class_hints,
    config_in,
    picture_hints,
    steps,
)
from converters.checkpoints.settings import setting, triple
from converters.checkpoints.video_transformers import (
    INTERVALS,
    Naming,
    attention_by,
    attention_hint,
    name_hints,
    read_network,
    renamer,
)
from converters.recipe import Topology

_LAYER = r"^backbone\.transformer_layers\.layers\.(\d+)\."
_DIVIDED = {
    r"attentions\.0\.norm\.": "temporal_norm1.",
    r"attentions\.0\.attn\.out_proj\.": "temporal_attn.proj.",
    r"attentions\.0\.attn\.": "temporal_attn.",
    r"attentions\.0\.temporal_fc\.": "temporal_fc.",
    r"attentions\.1\.norm\.": "norm1.",
    r"attentions\.1\.attn\.out_proj\.": "attn.proj.",
    r"attentions\.1\.attn\.": "attn.",
    r"ffns\.0\.norm\.": "norm2.",
}
_WHOLE = {
    r"attentions\.0\.attn\.out_proj\.": "attn.proj.",
    r"attentions\.0\.attn\.": "attn.",
    r"norms\.0\.": "norm1.",
    r"norms\.1\.": "norm2.",
}
_MLP = {r"ffns\.0\.layers\.0\.0\.": "mlp.fc1.", r"ffns\.0\.layers\.1\.": "mlp.fc2."}
_OUTER = {r"^backbone\.patch_embed\.projection\.": "patch_embed.proj.", r"^backbone\.": ""}
CONVENTION = replace(OF_CLIPS, scale=1.0, mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5))


def _naming(layers: Mapping[str, str]) -> Naming:
    inside = {_LAYER + theirs: rf"blocks.\1.{ours}" for theirs, ours in {**layers, **_MLP}.items()}
    rename = renamer({**inside, **_OUTER})
    return Naming(CONVENTION, rename, ("cls_head.fc_cls",), INTERVALS)


def recognizes(keys: Iterable[str]) -> bool:
    """Return whether keys are named as mmaction2 names a TimeSformer's."""
    return any(re.match(_LAYER, name) for name in keys)


def read(
    tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
) -> tuple[Topology, Tensors]:
    """See `Read`; `outer` holds `meta`. Where a block has two attentions, one is over time."""
    names = {n: t for n, t in tensors.items() if not n.startswith("data_preprocessor.")}
    divided = any(".attentions.1." in name for name in names)
    naming = _naming(_DIVIDED if divided else _WHOLE)
    kind = attention_by(names, naming)
    hints = [
        *_config_hints(outer),
        *class_hints(outer),
        *name_hints(path),
        ("names of the layers", {"attention": kind}),
    ]
    return read_network(names, naming, hints)


def _config_hints(outer: Mapping[str, Any]) -> list[Hint]:
    config = config_in(outer)
    tested = steps(config, "val_pipeline") or steps(config, "test_pipeline")
    frames = next((step for step in tested if step.get("type") == "SampleFrames"), {})
    hints: dict[str, Any] = {
        "segments": setting(config, "model.backbone.num_frames"),
        "attention": attention_hint(setting(config, "model.backbone.attention_type")),
        "heads": setting(config, "model.backbone.num_heads"),
        "interval": frames.get("frame_interval"),
        "mean": triple(setting(config, "model.data_preprocessor.mean")),
        "std": triple(setting(config, "model.data_preprocessor.std")),
        **picture_hints(config),
    }
    return told("config in `meta`", hints)


READER = Reader(
    "mmaction2-timesformer",
    recognizes,
    read,
    "backbone.transformer_layers.layers.0.attentions.0.attn.in_proj_weight, cls_head.fc_cls.weight",
)
