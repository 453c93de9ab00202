"""What readers of mmaction2's networks share: the config and class names in `meta`, its pictures.

The config's text is parsed, never evaluated.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from converters.checkpoints.beside import Hint
from converters.checkpoints.keys import literal
from converters.recipe import Convention
from edge_tsm.bundle.card import Resize

RESIZE = Resize(256, "bilinear", antialias=False, aspect="keep", long_side="round")  # by OpenCV
# Of networks that see a clip as a whole.
OF_CLIPS = Convention(
    name="mmaction2",
    shift_direction=None,
    sampling="loop",
    resize=RESIZE,
    crop_offset="floor",
    defaults={"color": "rgb"},
)
_MOST_CONFIG_CHARS = 1 << 20
_CROPS = ("CenterCrop", "ThreeCrop", "TenCrop")


def config_in(outer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the assignments of the config's text in `meta`; none where there is no text."""
    meta = outer.get("meta")
    config = (meta.get("cfg") or meta.get("config")) if isinstance(meta, Mapping) else None
    if not isinstance(config, str) or len(config) >= _MOST_CONFIG_CHARS:
        return {}
    return _assignments(config)


def class_hints(outer: Mapping[str, Any]) -> list[Hint]:
    """Return the names of the classes in `meta`."""
    meta = outer.get("meta")
    if not isinstance(meta, Mapping):
        return []
    known = meta.get("dataset_meta")
    names = known.get("classes") if isinstance(known, Mapping) else meta.get("CLASSES")
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return [("`meta`", {"labels": tuple(names)})]
    return []


def picture_hints(config: Mapping[str, Any]) -> dict[str, Any]:
    """Take the crop, and the resize before it, of the pipeline that validates, else of the test's.

    Its three and ten crops are as large as its center crop; a resize by two sides says too little.
    """
    for name in ("val_pipeline", "test_pipeline"):
        found = steps(config, name)
        crop = next(
            (s["crop_size"] for s in found if s.get("type") in _CROPS and "crop_size" in s), 0
        )
        if isinstance(crop, int) and crop:
            scales = [s.get("scale") for s in found if s.get("type") == "Resize"]
            sides = [s[1] for s in map(_list, scales) if len(s) == 2 and s[0] == -1]
            return {"size": crop, "short_side": sides[0] if sides else None}
    return {}


def steps(config: Mapping[str, Any], pipeline: str) -> list[dict[str, Any]]:
    """Return the steps of a pipeline."""
    return [step for step in _list(config.get(pipeline)) if isinstance(step, dict)]


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _assignments(config: str) -> dict[str, Any]:
    """Return the top-level names of a config and their values, where these are literals."""
    try:
        tree = ast.parse(config)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    return {
        node.targets[0].id: literal(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
