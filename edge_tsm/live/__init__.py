"""From live sources to answers: threads, windows, reconnects."""

__all__ = ["assembler", "capture", "forms", "online", "pipeline", "timing", "worker"]
