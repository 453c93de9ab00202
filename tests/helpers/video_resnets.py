"""Checkpoints of networks over clips as their frameworks leave them, whole or narrower."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from tests.helpers.goldens import arrays

NARROWER = 8


def write(
    golden: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    folder: Path,
    *,
    name: str | None = None,
    config: str | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Path:
    """Write weights in the outer form that a golden describes."""
    path = folder / (name or golden["suggested_file_name"])
    if golden["outer"]["type"] == "pickle dict":
        path.write_bytes(pickle.dumps(dict(weights), protocol=4))
        return path
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in weights.items()}
    outer: dict[str, Any] = {}
    for key, value in golden["outer"]["keys"].items():
        outer[key] = tensors if value == "<tensors>" else {} if "<torch" in str(value) else value
    if "cfg" in outer:
        outer["cfg"] = golden.get("config_yaml", "") if config is None else config
    if meta is not None:
        outer["meta"] = dict(meta)
    torch.save(outer, path)
    return path


def whole(golden: dict[str, Any], recipe: ModuleType) -> dict[str, np.ndarray]:
    """Return a golden's own weights."""
    return arrays(golden, recipe)


def narrow(golden: Mapping[str, Any], recipe: ModuleType) -> dict[str, np.ndarray]:
    """Return weights of a golden's names, with an eighth of its channels."""
    layout, classes = golden["linear_layout"], golden["config"]["num_class"]

    def fewer(shape: list[int]) -> list[int]:
        wide = [n if n in (3, classes) or n < NARROWER else n // NARROWER for n in shape[:2]]
        return [*wide, *shape[2:]]

    return {key: recipe.tensor(key, fewer(shape), layout) for key, shape, _ in golden["tensors"]}
