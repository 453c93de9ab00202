"""From frames to an answer, in one thread: sampling, preprocessing, engine, postprocessing."""

__all__ = [
    "loading",
    "opening",
    "postprocess",
    "preprocess",
    "recognizer",
    "runner",
    "sampling",
    "streaming",
    "trials",
    "variants",
]
