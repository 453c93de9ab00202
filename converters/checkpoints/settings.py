"""The configuration that PySlowFast and TimeSformer save with weights: YAML text or an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from converters.checkpoints.inert import Inert
from edge_tsm.errors import CheckpointError

_MOST_CHARS = 1 << 20
_MOST_LEVELS = 4
Config = Mapping[str, Any]


def configuration(outer: Mapping[str, Any]) -> Config:
    """Return the nested settings under `cfg`, none where there are none.

    The text is parsed as plain YAML, an object as it was pickled; nothing is imported or run.

    Raises:
        CheckpointError: a text that is no YAML of plain values, or longer than any.
    """
    value = outer.get("cfg")
    return _plain(_parsed(value) if isinstance(value, str) else value, _MOST_LEVELS)


def _parsed(text: str) -> Any:
    if len(text) > _MOST_CHARS:
        raise CheckpointError(f"its `cfg` has {len(text)} characters, more than any configuration")
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"its `cfg` is no YAML of plain values ({reason})") from error


def _plain(value: Any, levels: int) -> dict[str, Any]:
    fields = value.fields if isinstance(value, Inert) else value
    if not isinstance(fields, Mapping):
        return {}
    return {
        name: _plain(item, levels - 1) if levels and isinstance(item, Inert | Mapping) else item
        for name, item in fields.items()
        if isinstance(name, str)
    }


def setting(config: Config, name: str) -> Any:
    """Return a setting by its dotted name (`DATA.NUM_FRAMES`), None where there is none."""
    value: Any = config
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def triple(value: Any) -> tuple[float, float, float] | None:
    """Return three numbers, of which one may stand for all; None for anything else."""
    numbers = [value] * 3 if isinstance(value, int | float) else value
    if not isinstance(numbers, list | tuple) or len(numbers) != 3:
        return None
    if not all(type(number) in (int, float) for number in numbers):
        return None
    first, second, third = map(float, numbers)
    return first, second, third
