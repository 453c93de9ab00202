"""The whole way from videos to lists, as a program calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_tsm.data.extract import Cut
from edge_tsm.data.frames import Selection, by_reason, write_frames, write_lists
from edge_tsm.errors import InputError, SourceError
from tests.helpers.videos import write_video


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two class folders, a broken video in one."""
    for name in ("run", "walk"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        write_video(tmp_path / "videos" / name / f"{name}.avi", 4)
    (tmp_path / "videos" / "run" / "broken.avi").write_text("no video")
    return tmp_path / "videos"


def test_videos_become_frames_and_lists(folder: Path, tmp_path: Path) -> None:
    done = list[tuple[int, int]]()
    target, selection = tmp_path / "out", Selection((folder,))

    def frames() -> tuple[int, int]:
        found = write_frames(
            selection, target, Cut(), workers=1, progress=lambda *at: done.append(at)
        )
        assert by_reason(found.skipped).keys() == {"cannot be read"}
        assert found.skipped_file.is_file()
        assert found.empty_classes == 0
        assert dict(found.written) == {"list.txt": 2, "labels.txt": 2}
        return found.listed, found.earlier

    assert frames() == (2, 0)
    assert done[-1] == (3, 3)
    lines = (target / "list.txt").read_text().splitlines()
    assert lines == ["run/run 4 0", "walk/walk 4 1"]
    assert frames() == (2, 2)


def test_lists_of_the_videos_themselves(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("walk\nswim\n")
    selection = Selection((folder,), labels=tmp_path / "labels.txt")
    found = write_lists(selection, tmp_path / "out")
    assert (found.listed, found.empty_classes, found.whole) == (1, 1, ())
    assert (tmp_path / "out" / "list.txt").read_text() == "../videos/walk/walk.avi 0\n"


def test_what_cannot_be_done_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose another folder"):
        write_frames(Selection((folder,)), folder, Cut(), workers=1)
    (tmp_path / "labels.txt").write_text("swim\n")
    selection = Selection((folder,), labels=tmp_path / "labels.txt")
    with pytest.raises(SourceError, match=r"3 class not among the labels; see .*skipped\.csv"):
        write_lists(selection, tmp_path / "out")
