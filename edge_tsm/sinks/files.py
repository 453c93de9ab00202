"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from edge_tsm.errors import SinkError


def temporary_beside(path: Path) -> Path:
    """Return a new empty file in the folder of `path`, with its suffix (OpenCV goes by that).

    Raises:
        SinkError: the folder cannot be written to.
    """
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
        )
    except OSError as error:
        raise SinkError(f"{path}: cannot be written ({error.strerror})") from error
    os.close(handle)
    return Path(name)


def publish(temporary: Path, path: Path) -> None:
    """Give a finished file its name and the permissions of any new file."""
    temporary.chmod(0o666 & ~_umask())  # mkstemp keeps files to their owner
    temporary.replace(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
