"""Model folders of huggingface/transformers: TimeSformer.

A folder holds `model.safetensors` (or `pytorch_model.bin`), `config.json`, and usually
`preprocessor_config.json`. All of it is untrusted: JSON of bounded size, and weights as everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.checkpoints.beside import Hint
from converters.checkpoints.keys import Reader, Tensors
from converters.checkpoints.settings import setting, triple
from converters.checkpoints.video_transformers import (
    FACEBOOK,
    INTERVALS,
    Naming,
    attention_by,
    attention_hint,
    read_network,
    renamer,
)
from converters.recipe import Topology
from edge_tsm.bundle.card import Resize
from edge_tsm.errors import CheckpointError
from edge_tsm.system.files import read_bounded

CONFIG = "config.json"
_PREPROCESSOR = "preprocessor_config.json"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_MOST_BYTES = 1 << 23
_BILINEAR = 2  # Pillow's number of the filter
_PIL = Resize(224, "bilinear", antialias=True, aspect="keep", long_side="truncate")
_LAYER = r"^timesformer\.encoder\.layer\.(\d+)\."
NAMING = Naming(
    replace(FACEBOOK, name="transformers", resize=_PIL, crop_offset="floor"),
    renamer(
        {
            r"^timesformer\.embeddings\.position_embeddings$": "pos_embed",
            r"^timesformer\.embeddings\.time_embeddings$": "time_embed",
            r"^timesformer\.embeddings\.patch_embeddings\.projection\.": "patch_embed.proj.",
            r"^timesformer\.embeddings\.": "",
            r"^timesformer\.layernorm\.": "norm.",
            _LAYER + r"temporal_layernorm\.": r"blocks.\1.temporal_norm1.",
            _LAYER + r"temporal_attention\.attention\.": r"blocks.\1.temporal_attn.",
            _LAYER + r"temporal_attention\.output\.dense\.": r"blocks.\1.temporal_attn.proj.",
            _LAYER + r"temporal_dense\.": r"blocks.\1.temporal_fc.",
            _LAYER + r"layernorm_before\.": r"blocks.\1.norm1.",
            _LAYER + r"attention\.attention\.": r"blocks.\1.attn.",
            _LAYER + r"attention\.output\.dense\.": r"blocks.\1.attn.proj.",
            _LAYER + r"layernorm_after\.": r"blocks.\1.norm2.",
            _LAYER + r"intermediate\.dense\.": r"blocks.\1.mlp.fc1.",
            _LAYER + r"output\.dense\.": r"blocks.\1.mlp.fc2.",
        }
    ),
    ("classifier",),
    INTERVALS,
)


def weights_in(folder: Path) -> Path | None:
    """Return the file of weights in a model folder of transformers; None for any other folder."""
    if not (folder / CONFIG).is_file():
        return None
    return next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)


def recognizes(keys: Iterable[str]) -> bool:
    """Return whether keys are named as transformers names a TimeSformer's."""
    return "timesformer.embeddings.cls_token" in set(keys)


def read(
    tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
) -> tuple[Topology, Tensors]:
    """See `Read`; the configurations lie beside the file."""
    warnings: list[str] = []
    hints = [
        *_config_hints(_json_beside(path, CONFIG)),
        *_picture_hints(_json_beside(path, _PREPROCESSOR), warnings),
        ("names of the layers", {"attention": attention_by(tensors, NAMING)}),
    ]
    topology, canonical = read_network(tensors, NAMING, hints)
    return replace(topology, warnings=tuple(warnings)), canonical


def _json_beside(path: Path, name: str) -> Mapping[str, Any]:
    """Return what a JSON file beside the weights says; empty where there is none.

    Raises:
        CheckpointError: it is damaged, or too large for what it should be.
    """
    side = path.with_name(name)
    if not side.is_file():
        return {}
    try:
        data = json.loads(read_bounded(side, _MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{side} cannot be read: {error}") from error
    if not isinstance(data, Mapping):
        raise CheckpointError(f"{side} holds no JSON object")
    return data


def _config_hints(config: Mapping[str, Any]) -> list[Hint]:
    activation = config.get("hidden_act", "gelu")
    if activation != "gelu":
        raise CheckpointError(
            f"hidden_act is {activation!r} in {CONFIG}; edge-tsm converts TimeSformers with gelu"
        )
    hints = {
        "segments": config.get("num_frames"),
        "heads": config.get("num_attention_heads"),
        "epsilon": config.get("layer_norm_eps"),
        "attention": attention_hint(config.get("attention_type")),
        "labels": _labels(config.get("id2label")),
    }
    return [(CONFIG, {name: value for name, value in hints.items() if value is not None})]


def _labels(table: Any) -> tuple[str, ...] | None:
    """Return the classes in order; None where they are not named, or not all."""
    if not isinstance(table, Mapping) or not table:
        return None
    names = [table.get(str(i)) for i in range(len(table))]
    if not all(isinstance(name, str) for name in names):
        return None
    unnamed = all(name == f"LABEL_{i}" for i, name in enumerate(names))
    return None if unnamed else tuple(map(str, names))


def _picture_hints(config: Mapping[str, Any], warnings: list[str]) -> list[Hint]:
    if not config:
        warnings.append(
            f"no {_PREPROCESSOR} beside the weights: pictures are prepared as the published "
            "models' (mean 0.45, std 0.225)"
        )
        return []
    if config.get("resample", _BILINEAR) != _BILINEAR:
        warnings.append(
            f"{_PREPROCESSOR} resizes by filter {config['resample']!r} of Pillow, the bundle by "
            f"{_BILINEAR} (bilinear): pixels differ a little"
        )
    plain = config.get("do_normalize") is False
    factor = 1.0 if config.get("do_rescale") is False else config.get("rescale_factor", 1 / 255)
    hints: dict[str, Any] = {
        "mean": (0.0, 0.0, 0.0) if plain else triple(config.get("image_mean")),
        "std": (1.0, 1.0, 1.0) if plain else triple(config.get("image_std")),
        "scale": float(factor) if isinstance(factor, int | float) else None,
        **_sides(config),
    }
    return [(_PREPROCESSOR, {name: value for name, value in hints.items() if value is not None})]


def _sides(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the crop's side and the resized one, where both are told."""
    size, crop = config.get("size"), config.get("crop_size")
    short = setting(config, "size.shortest_edge") if isinstance(size, Mapping) else size
    side = setting(config, "crop_size.height") if isinstance(crop, Mapping) else crop
    if not isinstance(short, int) or not isinstance(side, int):
        return {}
    return {"size": side, "short_side": short}


READER = Reader(
    "transformers",
    recognizes,
    read,
    "timesformer.embeddings.cls_token, timesformer.encoder.layer.0.temporal_dense.weight",
)
