"""Clips and recordings that two lists share."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_tsm.data.clips import Dataset, Sample
from edge_tsm.data.overlap import overlap, recording_of


def named(*names: str, folder: Path = Path("nowhere"), classes: int = 2) -> Dataset:
    samples = (Sample(folder / name, i % classes, name) for i, name in enumerate(names))
    return Dataset(tuple(samples))


@pytest.mark.parametrize(
    ("name", "recording"),
    [
        ("v_ApplyEyeMakeup_g08_c01.avi", "v_ApplyEyeMakeup_g08"),
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01", "v_ApplyEyeMakeup_g08"),
        ("train/-3B32lodo2M_000059_000069.mp4", "-3B32lodo2M"),
        ("April_09_brush_hair_u_nm_np1_ba_goo_2.avi", "April_09_brush_hair_u_nm_np1_ba_goo"),
        ("yard-part3.mp4", "yard"),
        ("garden.clip4.mkv", "garden"),
        ("door_10_20.mp4", "door"),
        ("a\\b\\door_7.mp4", "door"),
        ("74225.webm", None),
        ("0001", None),
        ("fi001.mp4", None),
        ("holiday.mp4", None),
    ],
)
def test_names_tell_the_recording(name: str, recording: str | None) -> None:
    assert recording_of(name) == recording


def test_parts_of_a_recording_in_both_lists_are_told() -> None:
    train = named("v_Run_g01_c01.avi", "v_Run_g02_c01.avi", "v_Jump_g01_c01.avi")
    [note] = overlap(train, named("v_Run_g01_c04.avi", "v_Jump_g02_c01.avi"))
    assert note.startswith("1 clip to validate by is of recordings that are trained on")
    assert "v_Run_g01_c04.avi" in note
    assert overlap(train, named("v_Run_g03_c01.avi", "v_Jump_g02_c01.avi")) == ()


def test_a_name_and_a_number_are_a_recording_only_where_names_are_many() -> None:
    numbered = named("wave_1.mp4", "nod_1.mp4", "wave_2.mp4", "nod_2.mp4")
    assert overlap(numbered, named("wave_3.mp4", "nod_3.mp4")) == ()
    cameras = named(
        *(f"{place}_{i}.mp4" for place in ("a1", "yard", "door", "hall", "shop") for i in (1, 2))
    )
    [note] = overlap(cameras, named("yard_9.mp4", "roof_1.mp4"))
    assert "yard_9.mp4" in note


def test_a_clip_in_both_lists_is_told() -> None:
    [note] = overlap(named("a.mp4", "b.mp4"), named("b.mp4", "c.mp4"))
    assert note == "1 clip in both lists, as 'b.mp4': the validation flatters"


def test_the_same_video_under_another_name_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x" * 200_000)
    (tmp_path / "copy.mp4").write_bytes(b"x" * 200_000)
    (tmp_path / "other.mp4").write_bytes(b"x" * 199_999 + b"y")
    train = named("a.mp4", folder=tmp_path)
    [note] = overlap(train, named("copy.mp4", "other.mp4", folder=tmp_path))
    assert note.startswith("1 clip to validate by is also trained on under another name")
    assert overlap(train, named("other.mp4", folder=tmp_path)) == ()


def test_the_same_frames_in_another_folder_are_found(tmp_path: Path) -> None:
    for folder, last in (("a", b"2"), ("b", b"2"), ("c", b"3")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "img_00001.jpg").write_bytes(b"1")
        (tmp_path / folder / "img_00002.jpg").write_bytes(last)
    train = named("a", folder=tmp_path)
    assert len(overlap(train, named("b", folder=tmp_path))) == 1
    assert overlap(train, named("c", folder=tmp_path)) == ()
