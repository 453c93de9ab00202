"""edge-tsm: Temporal Shift Module video classifiers on edge devices.

What stands in `__all__` is what semantic versioning covers, beside the documented submodules
(`demo`, `sources`, `sinks`, `live`, `events`, `data`, `evaluation`, `scanning`, `diagnostics`).
Names are imported when they are first used: `import edge_tsm` alone loads no engine, no OpenCV and
no numpy.

>>> import numpy as np
>>> import edge_tsm
>>> from edge_tsm import demo
>>> recognizer = edge_tsm.load(demo.bundle())
>>> frames = [np.full((240, 320, 3), 8 * t, np.uint8) for t in range(16)]  # (H, W, 3) uint8 BGR
>>> recognizer(frames).label in recognizer.card.labels
True
>>> recognizer.close()
"""

from typing import TYPE_CHECKING

from edge_tsm.system.lazy import lazily

__version__ = "0.2.0"

if TYPE_CHECKING:
    from edge_tsm.actions.decider import Decider
    from edge_tsm.actions.rules import Rules, Threshold, read_rules
    from edge_tsm.actions.tracker import ActionTracker
    from edge_tsm.backends import Backend, RuntimeOptions
    from edge_tsm.bundle.card import Card
    from edge_tsm.datatypes import (
        Decision,
        Event,
        Frame,
        Media,
        Prediction,
        Score,
        StateChange,
        Window,
    )
    from edge_tsm.errors import (
        BackendError,
        CardError,
        ConversionError,
        EdgeTsmError,
        InputError,
        SinkError,
        SourceError,
    )
    from edge_tsm.events.store import EventStore
    from edge_tsm.inference.loading import load
    from edge_tsm.inference.recognizer import Recognizer
    from edge_tsm.inference.streaming import Stream
    from edge_tsm.live.capture import CaptureOptions, Retry
    from edge_tsm.live.pipeline import Pipeline
    from edge_tsm.live.worker import SourceInput
    from edge_tsm.scanning.scan import scan
    from edge_tsm.sinks import Dispatcher, Route
    from edge_tsm.sinks.callback import Callback
    from edge_tsm.sinks.jsonlines import JsonLines
    from edge_tsm.sources import PushSource, SourceOptions, open_source

_HOMES = {
    "actions.decider": ("Decider",),
    "actions.rules": ("Rules", "Threshold", "read_rules"),
    "actions.tracker": ("ActionTracker",),
    "backends": ("Backend", "RuntimeOptions"),
    "bundle.card": ("Card",),
    "datatypes": (
        "Decision",
        "Event",
        "Frame",
        "Media",
        "Prediction",
        "Score",
        "StateChange",
        "Window",
    ),
    "errors": (
        *("BackendError", "CardError", "ConversionError", "EdgeTsmError", "InputError"),
        *("SinkError", "SourceError"),
    ),
    "events.store": ("EventStore",),
    "inference.loading": ("load",),
    "inference.recognizer": ("Recognizer",),
    "inference.streaming": ("Stream",),
    "live.capture": ("CaptureOptions", "Retry"),
    "live.pipeline": ("Pipeline",),
    "live.worker": ("SourceInput",),
    "scanning.scan": ("scan",),
    "sinks": ("Dispatcher", "Route"),
    "sinks.callback": ("Callback",),
    "sinks.jsonlines": ("JsonLines",),
    "sources": ("PushSource", "SourceOptions", "open_source"),
}
__all__ = [*sorted(name for names in _HOMES.values() for name in names), "__version__"]


if not TYPE_CHECKING:  # a type checker would take any name for one that exists
    __getattr__ = lazily(__name__, _HOMES)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
