"""Files that are whole, new, or their owner's alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_tsm.system.files import (
    private_file,
    private_folder,
    publish,
    temporary_beside,
)


@pytest.fixture(autouse=True)
def _generous_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_folder_and_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "pictures"
    private_folder(folder)
    private_folder(folder)
    with private_file(folder / "1.jpg") as stream:
        stream.write(b"x")
    with private_file(folder / "list", "a") as stream:
        stream.write("ü")
    assert [mode(path) for path in (folder, folder / "1.jpg", folder / "list")] == [
        *(0o700, 0o600, 0o600)
    ]
    assert (folder / "list").read_text(encoding="utf-8") == "ü"


def test_a_folder_that_somebody_shares_stays_shared(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o750)
    private_folder(tmp_path / "shared")
    assert mode(tmp_path / "shared") == 0o750


def test_published_files_have_the_permissions_asked_for(tmp_path: Path) -> None:
    publish(temporary_beside(tmp_path / "open"), tmp_path / "open")
    publish(temporary_beside(tmp_path / "own"), tmp_path / "own", private=True)
    assert [mode(tmp_path / name) for name in ("open", "own")] == [0o666, 0o600]
