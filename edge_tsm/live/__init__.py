"""From live sources to answers: threads, windows, reconnects."""
