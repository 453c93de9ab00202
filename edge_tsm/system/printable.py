"""Text of others as it may reach a terminal: what would control it is escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TextIO

# Controls of ASCII and Latin-1 (ESC and CSI among them), lone surrogates, line and paragraph
# separators, and what changes the direction of text or is not seen. The joiners U+200C and U+200D
# stay: scripts and emoji need them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_UNSAFE_IN_LINES = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))


def printable(text: str) -> str:
    r"""Return `text` as a part of one line: what controls a terminal, line ends too, as `\uXXXX`.

    >>> printable("wave\x1b]0;owned\x07\nedge-tsm: all is well")
    'wave\\u001b]0;owned\\u0007\\nedge-tsm: all is well'
    """
    return _UNSAFE.sub(_escaped, text)


class PrintableStream:
    """A text stream that escapes what controls a terminal in all that is written to it.

    Line ends and tabs are written as they are, and so is what `control` is given. The escapes are
    those of JSON, which therefore keeps its meaning. It has no `buffer`, which would be a way
    around it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding, self.errors = stream.encoding, stream.errors

    def write(self, text: str) -> int:
        """Write `text`, escaped; return its length."""
        self._stream.write(_UNSAFE_IN_LINES.sub(_escaped, text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of the lines, escaped."""
        for line in lines:
            self.write(line)

    def control(self, sequence: str) -> None:
        """Write a control sequence of our own as it is."""
        self._stream.write(sequence)

    def flush(self) -> None:
        """Flush what is written."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the file descriptor, for what asks for the size of a terminal."""
        return self._stream.fileno()

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._stream.closed

    def writable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return False."""
        return False


def write_control(stream: TextIO | PrintableStream, sequence: str) -> None:
    """Write a control sequence of our own to any stream."""
    if isinstance(stream, PrintableStream):
        stream.control(sequence)
    else:
        stream.write(sequence)


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1] if found[0] != "\x7f" else "\\u007f"
