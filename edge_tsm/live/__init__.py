"""From live sources to answers: threads, windows, reconnects."""

__all__ = [
    "arrivals",
    "assembler",
    "asynchronous",
    "capture",
    "forms",
    "health",
    "lifecycle",
    "online",
    "pipeline",
    "reader",
    "scheduler",
    "timing",
    "worker",
]
