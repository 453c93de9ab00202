"""Files written whole or not at all: under a temporary name, renamed at the end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    temporary.chmod(0o666 & ~umask())  # mkstemp keeps files to their owner
    temporary.replace(path)


def publish_new(temporary: Path, path: Path) -> None:
    """Give a finished file its name, unless another file has it.

    Raises:
        FileExistsError: one has.
    """
    temporary.chmod(0o666 & ~umask())
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a memory card's FAT has no hard links
        path.touch(exist_ok=False)
        temporary.replace(path)
    else:
        temporary.unlink()


def umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
