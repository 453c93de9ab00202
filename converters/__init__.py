"""From a checkpoint to a proven bundle. Needs torch; the runtime never imports this package.

The names below load torch and the engines when they are first used, not on `import converters`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from converters.builder import Settings, build, convert
    from converters.planning import Plan, plan
    from converters.quantization.calibration import ClipSet
    from converters.quantization.int8 import Int8
    from converters.recipe import Options

__all__ = ["ClipSet", "Int8", "Options", "Plan", "Settings", "build", "convert", "plan"]

_MODULES = {
    "ClipSet": "converters.quantization.calibration",
    "Int8": "converters.quantization.int8",
    "Options": "converters.recipe",
    "Plan": "converters.planning",
    "Settings": "converters.builder",
    "build": "converters.builder",
    "convert": "converters.builder",
    "plan": "converters.planning",
}

if not TYPE_CHECKING:  # a type checker would take any name for one that exists

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
