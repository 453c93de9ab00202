"""Files written whole or not at all: under a temporary name, renamed at the end.

Pictures may show people: what holds them is for its owner alone, whatever the umask says.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from edge_tsm.errors import SinkError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a new empty file beside `path` that replaces it when the block ends without an error.

    Raises:
        SinkError: the file cannot be written.
    """
    temporary = temporary_beside(path)
    try:
        yield temporary
        publish(temporary, path)
    except OSError as error:
        if isinstance(error, SinkError):
            raise
        raise SinkError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """Return a new empty file in the folder of `path`, with its suffix (libraries go by that).

    Raises:
        SinkError: the folder cannot be written to.
    """
    import tempfile  # slow to import, and reading needs none

    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
        )
    except OSError as error:
        raise SinkError(f"{path}: cannot be written ({error.strerror})") from error
    os.close(handle)
    return Path(name)


def publish(temporary: Path, path: Path, *, private: bool = False) -> None:
    """Give a finished file its name and the permissions of any new file, or its owner's alone.

    It is on the disk before it has the name: a power cut leaves the old file or the new one.

    Raises:
        OSError: the disk is full, or the file cannot be written to it.
    """
    if not private:
        temporary.chmod(0o666 & ~umask())  # mkstemp keeps files to their owner
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: missing, larger, or a device or pipe, which may have no end.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if status.st_size > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes:,} bytes", str(path))
    with path.open("rb") as stream:
        return stream.read(most_bytes)


def private_folder(path: Path) -> None:
    """Make a folder for its owner alone; one that exists keeps the permissions it was given.

    Raises:
        OSError: it cannot be made, or a file has its name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def private_file(path: Path, mode: str = "wb") -> IO[Any]:
    """Open a file to write (`w`, `x`, `a`; text is UTF-8); a new one is its owner's alone.

    Raises:
        OSError: it cannot be written.
    """
    encoding = None if "b" in mode else "utf-8"
    return open(path, mode, encoding=encoding, opener=_open_private)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
