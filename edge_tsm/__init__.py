"""edge-tsm: Temporal Shift Module video classifiers on edge devices.

import edge_tsm
recognizer = edge_tsm.load("gestures.bundle")
print(recognizer(frames).label)      # frames: a list of (H, W, 3) uint8 BGR pictures
"""

from edge_tsm.backends import RuntimeOptions
from edge_tsm.bundle.card import Card
from edge_tsm.datatypes import Frame, Prediction
from edge_tsm.errors import (
    BackendError,
    CardError,
    ConversionError,
    EdgeTsmError,
    InputError,
    SinkError,
    SourceError,
)
from edge_tsm.inference.loading import load
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.sources import open_source

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "Card",
    "CardError",
    "ConversionError",
    "EdgeTsmError",
    "Frame",
    "InputError",
    "Pipeline",
    "Prediction",
    "Recognizer",
    "RuntimeOptions",
    "SinkError",
    "SourceError",
    "load",
    "open_source",
]
