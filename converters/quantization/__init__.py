"""Int8: calibration, the quantized graph, and its judgment on clips kept back."""

__all__ = ["calibration", "graph", "holdout", "int8", "observer", "qdq"]
