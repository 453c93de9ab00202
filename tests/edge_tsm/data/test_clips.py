"""Labeled clips: lists and class folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_tsm.data.clips import Dataset, Sample, clips_below, is_clip, read_dataset
from edge_tsm.errors import InputError
from tests.helpers.paths import touch


def test_both_forms_of_a_list(tmp_path: Path) -> None:
    path = tmp_path / "val.txt"
    path.write_bytes("\ufeffa clip.mp4 25 1\r\n\r\nframes/0001 17 0\r\n".encode())
    dataset = read_dataset(path)
    assert list(dataset) == [
        Sample(tmp_path / "a clip.mp4", 1, "a clip.mp4", 25),
        Sample(tmp_path / "frames/0001", 0, "frames/0001", 17),
    ]
    assert (len(dataset), dataset.classes, dataset.labels) == (2, 2, None)
    assert read_dataset(path, root=Path("/x")).samples[0].path == Path("/x/a clip.mp4")


@pytest.mark.parametrize(("names", "used"), [("a\nb\nc\n", True), ("a\nb\n", False)])
def test_labels_beside_a_list_are_its_own_if_they_suffice(
    names: str, used: bool, tmp_path: Path
) -> None:
    (tmp_path / "val.txt").write_text("x.mp4 2\n")
    (tmp_path / "labels.txt").write_text(names)
    dataset = read_dataset(tmp_path / "val.txt")
    assert dataset.labels == (("a", "b", "c") if used else None)
    assert dataset.classes == 3


def test_class_folders_hold_videos_and_frame_folders(tmp_path: Path) -> None:
    touch(tmp_path, "b/1.mp4", "b/readme.txt", "a/x/img_1.jpg", "a/y/notes.txt", ".git/z.mp4")
    dataset = read_dataset(tmp_path)
    assert [(s.name, s.label) for s in dataset] == [("a/x", 0), ("b/1.mp4", 1)]
    assert dataset.labels == ("a", "b")


def test_clips_below_a_folder_are_videos_and_frame_folders_and_the_rest_is_counted(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "z.MP4", "b/a.avi", "b/x/img_1.jpg", "b/x/info.txt", "b/odd.doc", "._e.mp4")
    clips, note = clips_below(tmp_path)
    assert [str(clip.relative_to(tmp_path)) for clip in clips] == ["b/a.avi", "b/x", "z.MP4"]
    assert note == "1 file ignored: b/odd.doc"
    assert clips_below(tmp_path / "b/x")[0] == [tmp_path / "b/x"]


def test_labels_beside_class_folders_give_the_order(tmp_path: Path) -> None:
    """`frames` wrote a_b for "a b", which sorts elsewhere."""
    touch(tmp_path, "aB/1.mp4", "a_b/1.mp4")
    (tmp_path / "labels.txt").write_text("a b\naB\n")
    dataset = read_dataset(tmp_path)
    assert [(s.name, s.label) for s in dataset] == [("aB/1.mp4", 1), ("a_b/1.mp4", 0)]
    assert dataset.labels == ("a b", "aB")
    (tmp_path / "labels.txt").write_text("other\nnames\n")
    assert read_dataset(tmp_path).labels == ("aB", "a_b")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\n", "holds no clips"),
        ("x.mp4\n", "line 1: 'x.mp4' is neither .* no class"),
        ("x.mp4 1\nx.mp4 -1\n", "line 2"),
    ],
)
def test_refused_lists(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(InputError, match=told):
        read_dataset(tmp_path / "x.txt")


def test_refused_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nope: cannot be read"):
        read_dataset(tmp_path / "nope")
    with pytest.raises(InputError, match=r"holds no class folders with clips in them$"):
        read_dataset(tmp_path)
    touch(tmp_path, "clip/img_1.jpg")
    with pytest.raises(InputError, match="clips without a class folder have no class: pass a list"):
        read_dataset(tmp_path)


def test_clips_beside_class_folders_are_counted_and_no_class(tmp_path: Path) -> None:
    touch(tmp_path, "b/1.mp4", "a/1.mp4", "loose.mp4", "frames/1.jpg", "train.txt")
    dataset = read_dataset(tmp_path)
    assert [(sample.name, sample.label) for sample in dataset] == [("a/1.mp4", 0), ("b/1.mp4", 1)]
    assert dataset.labels == ("a", "b")
    note = "2 clips beside the class folders left out (no class): frames, loose.mp4"
    assert dataset.notes == (note,)


def test_a_clip_is_a_video_or_a_folder_of_pictures(tmp_path: Path) -> None:
    touch(tmp_path, "x.mp4", "f.mp4/1.jpg", "c/cover.jpg", "c/1.mp4", "d/cover.jpg", "d/e/1.jpg")
    answers = {name: is_clip(tmp_path / name) for name in ("x.mp4", "f.mp4", "c", "d", "d/e")}
    assert answers == {"x.mp4": True, "f.mp4": True, "c": False, "d": False, "d/e": True}


def test_shared_lists_load(shared: Path) -> None:
    dataset = read_dataset(shared / "clips/surv_fight/train.txt")
    assert dataset.classes == 2
    assert all(sample.path.is_file() for sample in dataset)
    frames = read_dataset(shared / "clips/raivokoot_frames/demo_dataset")
    assert [s.label for s in frames] == [0, 0, 1, 1]


def test_names_decide_unless_the_model_has_none(tmp_path: Path) -> None:
    clips = Dataset((Sample(tmp_path, 0, "a"), Sample(tmp_path, 1, "b")), ("x", "y"))
    assert [s.label for s in clips.of_classes(("y", "z", "x"))] == [2, 0]
    assert [s.label for s in clips.of_classes(("class_0", "class_1"))] == [0, 1]
    with pytest.raises(InputError, match="'y' of the dataset is none"):
        clips.of_classes(("x", "z"))
    with pytest.raises(InputError, match="b is of class 1, the model has 0 to 0"):
        clips.of_classes(("class_0",))
