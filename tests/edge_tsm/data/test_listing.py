"""Lists of clips in the dialects people have: read right, or refused with the way out."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_tsm.data.clips import read_dataset
from edge_tsm.data.listing import parse_columns
from edge_tsm.errors import InputError
from tests.helpers.paths import touch
from tests.helpers.videos import write_video

Told = list[tuple[str, int | None, int]]
TWO: Told = [("a b.mp4", None, 1), ("c.mp4", None, 0)]
THREE: Told = [("a b.mp4", 53, 1), ("c.mp4", 60, 0)]


def told(path: Path) -> Told:
    return [(s.path.name, s.frames, s.label) for s in read_dataset(path)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b.mp4 1\nc.mp4 0\n", TWO),
        ("a b.mp4\t1\nc.mp4\t0\n", TWO),
        ("a b.mp4,1\nc.mp4,0\n", TWO),
        ("a b.mp4; 1\nc.mp4; 0\n", TWO),
        ("a b.mp4|1|\nc.mp4|0|\n", TWO),
        ("1,a b.mp4\n0,c.mp4\n", TWO),
        ('"a b.mp4" 1\n"c.mp4" 0\n', TWO),
        ("'a b.mp4',1\n'c.mp4',0\n", TWO),
        ("a b.mp4 1.0\nc.mp4 0.0\n", TWO),
        ("# mine\n\n  a b.mp4   1  \n c.mp4 0\u00a0\n", TWO),
        ("a b.mp4 1\rc.mp4 0\r", TWO),
        ("path,label\na b.mp4,1\nc.mp4,0\n", TWO),
        ("label;video_path;split\n1;a b.mp4;val\n0;c.mp4;val\n", TWO),
        (",video,class_id\n0,a b.mp4,1\n1,c.mp4,0\n", TWO),
        ("a b.mp4 53 1\nc.mp4 60 0\n", THREE),
        ("a b.mp4,53,1\nc.mp4,60,0\n", THREE),
        ("path\tnum_frames\tlabel\na b.mp4\t53\t1\nc.mp4\t60\t0\n", THREE),
        ("label,n_frames,filename\n1,53,a b.mp4\n0,60,c.mp4\n", THREE),
        ("a b 1\nc 0\n", TWO),
        (".\\a b.mp4 1\n.\\c.mp4 0\n", TWO),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_dialects(text: str, expected: Told, encoding: str, tmp_path: Path) -> None:
    touch(tmp_path, "a b.mp4", "c.mp4")
    (tmp_path / "val.txt").write_bytes(text.encode(encoding))
    assert told(tmp_path / "val.txt") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no clips"),
        ("a.mp4\nb.mp4\n", "line 1: 'a.mp4' .* no class"),
        ("a.mp4 1\nb.mp4 -1\n", "line 2: .* class -1 is below 0"),
        ("a.mp4 1\nb.mp4 0.5\n", "line 2: .* class 0.5 is no whole number"),
        ("a.mp4 53 1\nb.mp4 60\n", "line 1: .* 2 numbers after its path, line 2 has 1"),
        ("a.mp4 1 0\nb.mp4 0\n", "one class a clip"),
        ("a.mp4 1\nb.mp4\n", "line 2: 'b.mp4' has 0 numbers"),
        ("a.mp4 1\nb.mp4 0\na.mp4 0\n", "line 3: 'a.mp4' is of another class in line 1"),
        ("a.mp4,1\nb.mp4,fight\n", "by name|by number"),
        ("a.mp4,53,1,x\nb.mp4,60,0,x\n", "4 columns .comma.*--columns"),
        ("a.mp4 1 # note\n", "no class"),
        ("x/../a.mp4 1\na.mp4 0\n", "of another class"),
        ('[{"path": "a.mp4", "label": 1}]', "JSON of no known form"),
        ("clip,score\na.mp4,1\nb.mp4,0\n", "no header|by n"),
    ],
)
def test_refusals(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_dataset(tmp_path / "val.txt")


def test_two_numbers_are_decided_by_the_clips_frames(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", 12)
    write_video(tmp_path / "b.avi", 9)
    (tmp_path / "usual.txt").write_text("a.avi 12 1\nb.avi 9 0\n")
    (tmp_path / "other.txt").write_text("a.avi 1 12\nb.avi 0 9\n")
    assert told(tmp_path / "usual.txt") == [("a.avi", 12, 1), ("b.avi", 9, 0)]
    assert told(tmp_path / "other.txt") == [("a.avi", 12, 1), ("b.avi", 9, 0)]


def test_what_the_clips_do_not_decide_is_refused_with_both_readings(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", 12)
    path = tmp_path / "val.txt"
    path.write_text("a.avi 1 0\n")
    with pytest.raises(
        InputError, match=r"frames '1', class '0' or as .*it has 12 frames"
    ) as caught:
        read_dataset(path)
    assert "--columns path,frames,class or --columns path,class,frames" in str(caught.value)
    columns = parse_columns("path,class,-")
    assert [s.label for s in read_dataset(path, columns=columns)] == [1]


@pytest.mark.parametrize("text", ["path,x", "path", "path,class,class", "frames,class"])
def test_columns_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="path,frames,class"):
        parse_columns(text)


def test_classes_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.mp4", "34870/img_1.jpg", "34871/img_1.jpg")
    path = tmp_path / "val.txt"
    path.write_text("x/a.mp4,no fight,1\n")
    assert [(s.label, s.frames) for s in read_dataset(path)] == [(0, None)]
    path.write_text('x/a.mp4 "3 cups"\n')
    assert read_dataset(path).labels == ("3 cups",)
    path.write_text("x/a.mp4 no fight\n")
    assert read_dataset(path).labels == ("no fight",)
    path.write_text("34870;Thumb Up\n34871;Drumming Fingers\n")
    dataset = read_dataset(path)
    assert dataset.labels == ("Drumming Fingers", "Thumb Up")
    moved = dataset.of_classes(("Thumb Up", "Drumming_Fingers"))
    assert [sample.label for sample in moved] == [0, 1]
    with pytest.raises(InputError, match="the model has no names"):
        dataset.of_classes(("class_0", "class_1"))
    (tmp_path / "labels.txt").write_text("Thumb Up\nDrumming Fingers\n")
    ordered = read_dataset(path).of_classes(("class_0", "class_1"))
    assert [sample.label for sample in ordered] == [0, 1]


def test_classes_that_count_from_1(tmp_path: Path) -> None:
    path = tmp_path / "val.txt"
    path.write_text("a.mp4 2\nb.mp4 1\n")
    with pytest.raises(InputError, match=r"run from 1 to 2, .* 0 to 1: .*--first-class 1"):
        read_dataset(path).of_classes(("x", "y"))
    assert [s.label for s in read_dataset(path, first_class=1)] == [1, 0]
    (tmp_path / "labels.txt").write_text("1 x\n2 y\n")
    dataset = read_dataset(path)
    assert [s.label for s in dataset] == [1, 0]
    assert dataset.notes == ("classes count from 1, as labels.txt does",)
    path.write_text("a.mp4 0\nb.mp4 1\n")
    with pytest.raises(InputError, match="a class 0"):
        read_dataset(path, first_class=1)


def test_paths_of_other_machines_and_without_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "fight/a.mp4", "calm/b.avi", "calm/c/img_1.jpg")
    path = tmp_path / "val.txt"
    path.write_text("C:\\data\\videos\\fight\\a.mp4 1\nC:\\data\\videos\\calm\\b.avi 0\n")
    dataset = read_dataset(path)
    assert all(sample.path.exists() for sample in dataset)
    assert "'C:\\\\data\\\\videos' are taken below" in dataset.notes[0]
    path.write_text("/ssd/fight/a 1\n/ssd/calm/c 0\n")
    assert [s.path.name for s in read_dataset(path)] == ["a.mp4", "c"]
    touch(tmp_path, "fight/a.mkv")
    with pytest.raises(InputError, match=r"may be a\.mkv, a\.mp4"):
        read_dataset(path)


def test_lines_twice_are_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("a.mp4 1\na.mp4 1\n")
    dataset = read_dataset(tmp_path / "val.txt")
    assert (len(dataset), dataset.notes) == (2, ("1 line repeated, as line 2",))


def test_how_a_list_was_read_is_shown(tmp_path: Path) -> None:
    (tmp_path / "val.csv").write_bytes("# x\n打架/a.mp4;53;1\n".encode("gb18030"))
    assert str(read_dataset(tmp_path / "val.csv").reading) == (
        "val.csv: GB18030, semicolon; path '打架/a.mp4', frames '53', class '1'; 1 comment skipped"
    )


# --- any dialect -------------------------------------------------------------------------------

_STEM = st.from_regex(r"[a-zé][a-z0-9é (),;]{0,6}[a-z)]", fullmatch=True)
_ROWS = st.lists(
    st.tuples(_STEM, st.integers(0, 30)), min_size=1, max_size=5, unique_by=lambda r: r[0]
)


@given(
    rows=_ROWS,
    delimiter=st.sampled_from([" ", "\t", ",", ";", "|"]),
    columns=st.permutations(["path", "frames", "class"]),
    frames=st.booleans(),
    header=st.booleans(),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]),
)
def test_what_is_read_is_what_was_written_or_it_is_refused(
    rows: list[tuple[str, int]],
    delimiter: str,
    columns: list[str],
    frames: bool,
    header: bool,
    quoting: int,
    encoding: str,
) -> None:
    if delimiter == " ":
        columns, header = ["path", "frames", "class"], False
    kept = [column for column in columns if frames or column != "frames"]
    cells = [
        {"path": f"{stem}.mp4", "frames": str(40 + i), "class": str(label)}
        for i, (stem, label) in enumerate(rows)
    ]
    stream = StringIO()
    if delimiter == " ":
        stream.write("".join(" ".join(row[c] for c in kept) + "\n" for row in cells))
    else:
        writer = csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator="\n")
        writer.writerows(([kept] if header else []) + [[row[c] for c in kept] for row in cells])
    with TemporaryDirectory() as name:
        folder = touch(Path(name), *(row["path"] for row in cells))
        (folder / "list.txt").write_bytes(stream.getvalue().encode(encoding))
        try:
            dataset = read_dataset(folder / "list.txt")
        except InputError:
            return
    found = [(sample.name, sample.label, sample.frames) for sample in dataset]
    assert found == [
        (row["path"], int(row["class"]), int(row["frames"]) if frames else None) for row in cells
    ]


# --- the shared cases --------------------------------------------------------------------------

CASES = {
    "dup.txt": "of another class",
    "empty.txt": "holds no clips",
    "kin.csv": "form kinetics-csv.*edge-tsm frames",
    "sth.json": "form something-v2.*edge-tsm frames",
    "multi.txt": "one class a clip",
    "weird847.txt": "same columns",
    "neg.txt": "below 0",
    "nolabel.txt": "no class",
}
ABSENT = {"all_missing.txt", "mixed_missing.txt", "quoted.txt", "space.txt"}


def test_every_shared_case_is_read_right_or_refused(shared: Path) -> None:
    folder, clips = shared / "cases/lists", shared / "clips/surv_fight"
    if not folder.is_dir():
        pytest.skip(f"no cases at {folder}")
    for path in sorted(folder.iterdir()):
        if path.name in CASES:
            with pytest.raises(InputError, match=CASES[path.name]):
                read_dataset(path, root=clips)
            continue
        dataset = read_dataset(
            path, root=clips, first_class=1 if path.name == "from1.txt" else None
        )
        right = ("noFight", "fight") if dataset.labels is None else dataset.labels
        for sample in dataset:
            assert sample.path.exists() or path.name in ABSENT, path.name
            assert sample.path.parent.name in (right[sample.label], "x", "with space"), path.name
