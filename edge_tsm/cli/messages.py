"""What the library logs, as lines on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge_tsm.system.printable import printable
from edge_tsm.system.redact import redact


class Messages(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes each message as one line; on a terminal `lift` makes room for it first."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_Formatter("edge-tsm: %(message)s"))
        self._on_terminal = sys.stderr.isatty()
        self.lift: Callable[[], None] = lambda: None

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        if self._on_terminal:
            self.lift()
        super().emit(record)


class _Formatter(logging.Formatter):
    """Makes one line of a message, without secrets that a foreign one may quote."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(redact(super().formatMessage(record)))


@contextmanager
def messages_to_stderr() -> Iterator[Messages]:
    """Show what edge-tsm logs from INFO on."""
    handler = Messages()
    logger = logging.getLogger("edge_tsm")
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates
