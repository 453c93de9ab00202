"""Checkpoints rebuilt from golden files: weights by the shared recipe, outer form as described."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from converters.recipe import Options

HERE = Path(__file__).resolve().parent.parent / "goldens"


def load_golden(name: str, shared: Path) -> dict[str, Any]:
    """Read a golden of the shared data, or one made the same way for this project."""
    own = HERE / f"{name}.json"
    path = own if own.exists() else shared / f"golden/public/{name}.json"
    golden: dict[str, Any] = json.loads(path.read_text())
    return golden


def options_for(golden: dict[str, Any]) -> Options:
    """What a user would have to say, as the file alone does not."""
    config = golden["config"]
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
