"""What the library logs, as lines on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def messages_to_stderr() -> Iterator[None]:
    """Show what edge-tsm logs from INFO on, each as one line; on a terminal over the live line."""
    start = "\r\033[K" if sys.stderr.isatty() else ""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{start}edge-tsm: %(message)s"))
    logger = logging.getLogger("edge_tsm")
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates
