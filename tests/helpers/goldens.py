"""Checkpoints rebuilt from golden files: weights by the shared recipe, outer form as described."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from converters.recipe import Options

HERE = Path(__file__).resolve().parent.parent / "goldens"


def load_golden(name: str, shared: Path) -> dict[str, Any]:
    """Read a golden of the shared data, or one made the same way for this project."""
    own = HERE / f"{name}.json"
    path = own if own.exists() else shared / f"golden/public/{name}.json"
    golden: dict[str, Any] = json.loads(path.read_text())
    return golden


def sees_clips(golden: Mapping[str, Any]) -> bool:
    """Whether it is of a network that sees a clip as a whole (SlowFast, TimeSformer, …)."""
    return "size" in golden["config"]


def clips_of(golden: Mapping[str, Any], recipe: ModuleType) -> np.ndarray:
    """The clips that a golden's logits answer, (K, T*3, S, S)."""
    config, count = golden["config"], len(golden["logits"])
    frames, size = config["num_segments"], config.get("size") or 224
    return np.concatenate([recipe.clip(i, frames, size) for i in range(count)])


def tolerance(golden: Mapping[str, Any]) -> float:
    """A thousandth of the range, and a tenth of what reversing time changes.

    With the latter a shift the wrong way round cannot pass. Some networks do not feel time.
    """
    bound = 1e-3 * float(np.ptp(np.asarray(golden["logits"])))
    reversal = min(golden["sensitivity"]["max_abs_diff_if_time_reversed"])
    return min(bound, 0.1 * reversal) if reversal > 1e-5 else bound


def options_for(golden: dict[str, Any]) -> Options:
    """What a user would have to say, as the file alone does not."""
    config = golden["config"]
    if sees_clips(golden):
        own = {} if "Paddle" not in golden["framework"] else {"alpha": config.get("alpha")}
        if not own or own["alpha"] is None:
            return Options(size=config["size"])
        frames = config["num_segments"]
        return Options(size=config["size"], segments=frames, interval=2, own=own)
    mode = (config.get("non_local_cfg") or {}).get("mode")
    return Options(
        segments=config["num_segments"],
        shift_segments=config.get("backbone_num_segments"),
        non_local_mode=None if mode == "gaussian" else mode,
    )


def arrays(golden: dict[str, Any], recipe: ModuleType) -> dict[str, np.ndarray]:
    """The tensors of a golden, as stored."""
    found = recipe.state_dict(golden)
    for suffix, factor in golden.get("recipe_overrides", {}).get("scale", {}).items():
        for name in (name for name in found if name.endswith(suffix)):
            scaled = found[name].astype(np.float64) * factor
            found[name] = scaled.astype(found[name].dtype)
    return found


def write_golden(golden: dict[str, Any], recipe: ModuleType, folder: Path) -> Path:
    """Write the checkpoint that a golden describes, as its framework leaves it."""
    found = arrays(golden, recipe)
    if sees_clips(golden):
        return write_weights(golden, found, folder)
    if golden["linear_layout"] == "in_out":
        path = folder / "model.pdparams"
        names = {key: f"param_{i}" for i, key in enumerate(found)}
        content = {**found, "StructuredToParameterName@@": names}
        path.write_bytes(pickle.dumps(content, protocol=4))
        return path
    tensors = OrderedDict((key, torch.from_numpy(np.asarray(v))) for key, v in found.items())
    run = golden.get("training_run_path", "model.pth")
    path = folder / run
    path.parent.mkdir(parents=True, exist_ok=True)
    if "keys" in golden["outer"] and "arch" in golden["outer"]["keys"]:
        outer = dict(golden["outer"]["keys"], state_dict=tensors, optimizer={"state": {}})
    else:
        outer = {"meta": {}, "state_dict": tensors}
    torch.save(outer, path)
    return path


def write_weights(
    golden: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    folder: Path,
    *,
    name: str | None = None,
    config: str | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Path:
    """Write weights of a network over clips in the outer form that a golden describes."""
    path = folder / (name or golden["suggested_file_name"])
    path.parent.mkdir(parents=True, exist_ok=True)
    if golden["outer"]["type"] == "pickle dict":
        path.write_bytes(pickle.dumps(dict(weights), protocol=4))
        return path
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in weights.items()}
    if golden["outer"]["type"] == "safetensors":
        save_file(tensors, path)
        (path.parent / "config.json").write_text(json.dumps(golden["config"]["hf_config"]))
        return path
    outer: dict[str, Any] = {}
    for key, value in golden["outer"]["keys"].items():
        outer[key] = tensors if value == "<tensors>" else {} if "<torch" in str(value) else value
    if "cfg" in outer:
        outer["cfg"] = golden.get("config_yaml", "") if config is None else config
    if meta is not None:
        outer["meta"] = dict(meta)
    torch.save(outer, path)
    return path
