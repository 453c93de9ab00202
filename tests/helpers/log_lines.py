"""What the library logs, for tests that wait for a line of another thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Lines(logging.Handler):
    """Keeps messages, from INFO on."""

    def __init__(self) -> None:
        super().__init__()
        self._changed, self.lines = threading.Condition(), list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        with self._changed:
            self.lines.append(record.getMessage())
            self._changed.notify_all()

    def wait_for(self, text: str) -> None:
        """Wait for a line that holds this text."""
        with self._changed:
            is_there = self._changed.wait_for(lambda: any(text in line for line in self.lines), 15)
            assert is_there, self.lines


@contextmanager
def log_lines() -> Iterator[Lines]:
    logger, handler = logging.getLogger("edge_tsm"), Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
