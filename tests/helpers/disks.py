"""Small real file systems, which fill up."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, *, size: str = "1m") -> Iterator[Path]:
    """A file system of its own in memory; the test is skipped where it cannot be mounted."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Write a file until there is no room, then make room for so many bytes."""
    path = folder / "filler"
    try:
        with path.open("ab", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))
    except OSError:
        pass
    if leave:
        with path.open("r+b") as stream:
            stream.truncate(path.stat().st_size - leave)
    return path
