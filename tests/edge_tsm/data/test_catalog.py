"""Which file a row means, and what is left out; the files here are never opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_tsm.data.catalog import Catalog, ListForm, hold_out, read_catalog
from edge_tsm.errors import InputError
from tests.helpers.paths import touch

HEADER = "label,youtube_id,time_start,time_end,split\n"


def summary(catalog: Catalog) -> list[tuple[str, int, str]]:
    return [(clip.name, clip.label, clip.split) for clip in catalog.clips]


def reasons(catalog: Catalog) -> list[tuple[str, str]]:
    return [(skipped.name, skipped.reason) for skipped in catalog.skipped]


def test_class_folders(tmp_path: Path) -> None:
    touch(tmp_path, "b c/2.mp4", "b c/1.AVI", "a/x/img_1.jpg", "a/x/note.txt", "a/._1.mp4")
    touch(tmp_path, "a/odd.doc", "loose.mp4", "LICENSE")
    catalog = read_catalog([tmp_path])
    assert catalog.labels == ("a", "b c")
    assert summary(catalog) == [("a/x", 0, ""), ("b_c/1", 1, ""), ("b_c/2", 1, "")]
    assert reasons(catalog) == [
        ("a/odd.doc", "not a video"),
        ("loose.mp4", "not in a class folder"),
    ]


def test_folders_of_splits(tmp_path: Path) -> None:
    touch(tmp_path, "train/b/1.mp4", "train/a/1.mp4", "val/a/1.mp4")
    found = [("train/a/1", 0, "train"), ("train/b/1", 1, "train"), ("val/a/1", 0, "val")]
    assert summary(read_catalog([tmp_path])) == found
    assert summary(read_catalog([tmp_path / "train", tmp_path / "val"])) == found


def test_a_link_back_and_frames_of_an_earlier_run_are_not_followed(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4", "cut/frames.json", "cut/a/1/img_00001.jpg")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    assert summary(read_catalog([tmp_path])) == [("a/1", 0, "")]


@pytest.mark.parametrize(
    "name",
    [
        "juggling/abc_000012_000022.mp4",
        "ice_skating/abc_12_22.webm",
        "abc_000012_000022.mkv",
        "train/ice skating/abc_000012_000022.mp4",
    ],
)
def test_kinetics_names(name: str, tmp_path: Path) -> None:
    touch(tmp_path, f"videos/{name}", "videos/x/other_000012_000022.mp4")
    (tmp_path / "k.csv").write_text(f"{HEADER}ice skating,abc,12,22,train\n")
    [clip] = read_catalog([tmp_path / "k.csv"], videos=tmp_path / "videos").clips
    assert clip.path == tmp_path / "videos" / name
    assert (clip.name, clip.span_s) == (name.replace(" ", "_").rpartition(".")[0], None)


def test_a_whole_recording_is_cut_to_the_row_s_seconds(tmp_path: Path) -> None:
    touch(tmp_path, "v/abc.mp4")
    (tmp_path / "k.csv").write_text(f"{HEADER}x,abc,12,22,train\ny,abc,40,50,val\n")
    catalog = read_catalog([tmp_path / "k.csv"])
    assert [(c.name, c.span_s) for c in catalog.clips] == [
        ("v/abc_000012_000022", (12, 22)),
        ("v/abc_000040_000050", (40, 50)),
    ]


def test_the_class_folder_decides_between_files_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path, "Bend it/7.webm", "Roll it/7.webm", "x/8.webm", "y/8.webm")
    (tmp_path / "train.csv").write_text("7;Roll it\n8;Bend it\n")
    catalog = read_catalog([tmp_path / "train.csv"])
    assert summary(catalog) == [("Roll_it/7", 1, "train")]
    assert reasons(catalog) == [("8", "several files of that name")]


def test_what_is_left_out_has_a_reason(tmp_path: Path) -> None:
    touch(tmp_path, "1.mp4", "2.mp4", "3.mp4", "a b.mp4", "a_b.mp4")
    rows = ["1;run", "1;run", "1;fall", "2;walk", "3", "4;run"]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    (tmp_path / "list.txt").write_text("a b.mp4 0\na_b.mp4 0\n../x.mp4 9\n")
    catalog = read_catalog([tmp_path / "train.csv"], labels=["fall", "run"])
    assert summary(catalog) == [("1", 1, "train")]
    assert reasons(catalog) == [
        ("1", "duplicate row"),
        ("1", "listed again with another class or split"),
        ("2", "class not among the labels"),
        ("3", "no class given"),
        ("4", "missing"),
    ]
    catalog = read_catalog([tmp_path / "list.txt"], labels=["a"])
    assert reasons(catalog) == [
        (str(tmp_path / "a_b.mp4"), "its name in the result is taken"),
        ("../x.mp4", "class not among the labels"),
    ]


def test_one_list_s_missing_folder_is_not_another_class_s(tmp_path: Path) -> None:
    touch(tmp_path, "running/0001/img_1.jpg")
    (tmp_path / "list.txt").write_text("running/0001 1 1\njumping/0001 1 0\n")
    assert reasons(read_catalog([tmp_path / "list.txt"])) == [("jumping/0001", "missing")]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("fight/a.mp4 1\ncalm/b.mp4 0\n", ("calm", "fight")),
        ("x/a.mp4 1\nx/b.mp4 0\n", ("class_0", "class_1")),
        ("fight/a.mp4 2\ncalm/b.mp4 0\n", ("class_0", "class_1", "class_2")),
    ],
)
def test_class_numbers_get_names_from_folders_that_go_with_them(
    text: str, labels: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "train.txt").write_text(text)
    assert read_catalog([tmp_path / "train.txt"]).labels == labels


def test_hmdb_clips_of_neither_split(tmp_path: Path) -> None:
    touch(tmp_path, "v/wave/a.avi", "v/wave/b.avi")
    (tmp_path / "wave_test_split1.txt").write_text("a.avi 2\nb.avi 0\n")
    catalog = read_catalog([tmp_path / "wave_test_split1.txt"], videos=tmp_path / "v")
    assert summary(catalog) == [("wave/a", 0, "test")]
    assert reasons(catalog) == [("b.avi", "in neither split")]


def test_held_out_clips_are_a_share_of_every_class(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{c}/{i}.mp4" for c in "ab" for i in range(20)))
    catalog = read_catalog([tmp_path])
    held = {seed: hold_out(catalog, 0.25, seed=seed) for seed in (0, 1)}
    for split in held.values():
        assert [c.label for c in split.clips if c.split == "val"] == [0] * 5 + [1] * 5
    assert held[0] == hold_out(catalog, 0.25)
    assert held[0] != held[1]
    with pytest.raises(InputError, match="its own splits"):
        hold_out(held[0], 0.25)


def test_folders_without_classes_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "1.mp4")
    with pytest.raises(InputError, match="holds no class folders"):
        read_catalog([tmp_path])
    (tmp_path / "x.txt").write_text("1.mp4 0\n")
    with pytest.raises(InputError, match="nope is not a folder"):
        read_catalog([tmp_path / "x.txt"], videos=tmp_path / "nope")


def test_classes_from_1_would_leave_class_0_empty(tmp_path: Path) -> None:
    touch(tmp_path, "fight/a.mp4", "calm/b.mp4")
    (tmp_path / "list.txt").write_text("fight/a.mp4 2\ncalm/b.mp4 1\n")
    with pytest.raises(InputError, match="run from 1 to 2, none is 0: pass --first-class 1"):
        read_catalog([tmp_path / "list.txt"])
    catalog = read_catalog([tmp_path / "list.txt"], form=ListForm(first_class=1))
    assert [(clip.name, clip.label) for clip in catalog.clips] == [("fight/a", 1), ("calm/b", 0)]
    assert catalog.labels == ("calm", "fight")
