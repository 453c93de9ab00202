"""Files that are whole or not there: written under a temporary name, renamed at the end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_tsm.errors import SinkError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a new empty file beside `path` that takes its place when the block ends well.

    It has the suffix of `path`, by which libraries choose a format, and the permissions of an
    ordinary new file.

    Raises:
        SinkError: the folder or the disk does not take it.
    """
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
        )
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~umask())  # mkstemp keeps files to their owner
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, SinkError):
            raise
        raise SinkError(f"{path}: cannot be written ({error.strerror or error})") from error


def umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
