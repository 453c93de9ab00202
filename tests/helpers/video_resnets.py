"""Weights of networks over clips, whole or narrower."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from tests.helpers.goldens import arrays

NARROWER = 8


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
