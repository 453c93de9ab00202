"""Lists are checked whole before work starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_tsm.data.checks import check_files
from edge_tsm.data.clips import read_dataset
from edge_tsm.errors import SourceError
from tests.helpers.paths import touch


def test_missing_clips_are_named_unless_they_may_be_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "val.txt").write_text("a.mp4 0\nb.mp4 1\nc.mp4 1\n")
    dataset = read_dataset(tmp_path / "val.txt")
    missing = r"2 of 3 clips are missing: 'b.mp4' \(line 2\), 'c.mp4' \(line 3\).*--root.*--skip"
    with pytest.raises(SourceError, match=missing):
        check_files(dataset)
    assert check_files(dataset, skip_missing=True) == (
        "2 clips missing: 'b.mp4' (line 2), 'c.mp4' (line 3)",
    )


def test_frame_folders_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, *(f"a/img_{i:05d}.jpg" for i in range(1, 13)))
    touch(
        tmp_path, *(f"b/{kind}_{i}.jpg" for kind in ("img", "flow_x", "flow_y") for i in range(9))
    )
    touch(tmp_path, "a/._img_00001.jpg", "a/Thumbs.db")
    (tmp_path / "val.txt").write_text("a 10 0\nb 9 1\n")
    dataset = read_dataset(tmp_path / "val.txt")
    other, differ = check_files(dataset)
    assert "img_#.jpg (9) taken, flow_x_#.jpg (9), flow_y_#.jpg (9) left" in other
    assert "1 clip with another frame count than listed, as 'a': 10 listed, 12 found" in differ
    sample = dataset.samples[0]
    assert sample.within(lambda count: [count])(12) == [10]  # the listed ones, as upstream


def test_a_folder_that_is_no_clip_ends_it_unless_it_may_be_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "a/img_1.jpg", "b/left_1.jpg", "b/right_1.jpg")
    (tmp_path / "val.txt").write_text("a 0\nb 1\n")
    dataset = read_dataset(tmp_path / "val.txt")
    with pytest.raises(SourceError, match="several clips"):
        check_files(dataset)
    (note,) = check_files(dataset, skip_missing=True)
    assert "several clips" in note


def test_classes_that_seem_to_count_from_1_are_pointed_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "val.txt").write_text("a.mp4 1\nb.mp4 2\n")
    (note,) = check_files(read_dataset(tmp_path / "val.txt"))
    assert "pass --first-class 1" in note
    (tmp_path / "val.txt").write_text("a.mp4 1\nb.mp4 0\n")
    assert check_files(read_dataset(tmp_path / "val.txt")) == ()


def test_files_that_are_no_clips_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4", "a/2.xyz", "b/1.DAV", "b/.hidden", "b/Thumbs.db", "b/2.vob")
    (tmp_path / "a/3").write_bytes(b"\0\0\0\x18ftypmp42 and more")
    dataset = read_dataset(tmp_path)
    assert [s.name for s in dataset] == ["a/1.mp4", "a/3", "b/1.DAV", "b/2.vob"]
    assert check_files(dataset) == ("1 file ignored: a/2.xyz",)
