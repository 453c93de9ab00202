"""JSON as RFC 8259 has it: Python's own writes `NaN` and `Infinity`, which other readers refuse."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return a JSON-ready value as text, numbers that are not finite as null.

    >>> to_json({"label": "ünï", "drift": float("inf"), "seen": (1, 2.5)})
    '{"label": "ünï", "drift": null, "seen": [1, 2.5]}'
    """
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=indent)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
