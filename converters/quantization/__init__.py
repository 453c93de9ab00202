"""Int8: calibration, the quantized graph, refined, and its judgment on clips kept back."""

__all__ = [
    "calibration",
    "channels",
    "choice",
    "equalize",
    "evidence",
    "graph",
    "holdout",
    "int8",
    "judgment",
    "nodes",
    "observer",
    "qdq",
    "refine",
    "sensitivity",
]
