"""Annotation files as data sets ship them, told by content."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_tsm.data.annotations import Entry, read_annotation
from edge_tsm.errors import InputError


def kinetics(name: str, label: str | None, split: str, start: int = 12) -> Entry:
    names = (f"{name}_{start:06d}_{start + 10:06d}", f"{name}_{start}_{start + 10}")
    return Entry(names, label, split, name, (start, start + 10))


CASES = {
    "train.csv": (
        "kinetics-csv",
        "label,youtube_id,time_start,time_end,split,is_cc\n"
        'testifying,---QUuC4vJs,12,22,train,0\n"massaging, person\'s head",abc,0.0,10.0,val,0\n',
        [
            kinetics("---QUuC4vJs", "testifying", "train"),
            kinetics("abc", "massaging, person's head", "val", 0),
        ],
    ),
    "kinetics_test.csv": (
        "kinetics-csv",
        "youtube_id,time_start,time_end,split\nabc,12,22,test\n",
        [kinetics("abc", None, "test")],
    ),
    "validate.json": (
        "kinetics-json",
        '{"abc": {"annotations": {"label": "juggling", "segment": [12.0, 22.0]},'
        ' "duration": 10.0, "subset": "validate", "url": "…"}}',
        [kinetics("abc", "juggling", "val")],
    ),
    "something-something-v2-validation.json": (
        "something-v2",
        '[{"id": "74225", "label": "spinning cube", "template": "Spinning [something] quickly"},'
        ' {"id": 7}]',
        [Entry(("74225",), "Spinning something quickly", "val"), Entry(("7",), None, "val")],
    ),
    "jester-v1-train.csv": (
        "id-label",
        "34870;Drumming Fingers\n56557;Sliding Two Fingers Right\n129112\n",
        [
            Entry(("34870",), "Drumming Fingers", "train"),
            Entry(("56557",), "Sliding Two Fingers Right", "train"),
            Entry(("129112",), None, "train"),
        ],
    ),
    "trainlist01.txt": (
        "ucf101",
        "Archery/v_Archery_g08_c01.avi 3\nBiking/v_Biking_g01_c02.avi\n",
        [
            Entry(("Archery/v_Archery_g08_c01.avi", "v_Archery_g08_c01.avi"), "Archery", "train"),
            Entry(("Biking/v_Biking_g01_c02.avi", "v_Biking_g01_c02.avi"), "Biking", "train"),
        ],
    ),
    "brush_hair_test_split1.txt": (
        "hmdb51",
        "a_brush_hair_u_1.avi 1 \nb.avi 0 \nc.avi 2\n",
        [
            Entry(("a_brush_hair_u_1.avi",), "brush_hair", "train"),
            Entry(("b.avi",), "brush_hair", "unused"),
            Entry(("c.avi",), "brush_hair", "test"),
        ],
    ),
    "val_videofolder.txt": (
        "list",
        "fight/a clip.mp4 25 1\nframes/0001 17 0\n",
        [Entry(("fight/a clip.mp4",), 1, "val"), Entry(("frames/0001",), 0, "val")],
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dress", ["plain", "windows"])
def test_forms(name: str, dress: str, tmp_path: Path) -> None:
    """`windows`: a byte order mark, CRLF, and blank lines at the end."""
    kind, text, entries = CASES[name]
    if dress == "windows":
        text = "\ufeff" + text.replace("\n", "\r\n") + "\r\n\r\n"
    (tmp_path / name).write_bytes(text.encode())
    annotation = read_annotation(tmp_path / name)
    assert annotation.kind == kind
    assert list(annotation.entries) == entries
    assert annotation.malformed == ()


def test_rows_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("label,youtube_id,time_start,time_end\nx,abc,zero,10\nx,abc,0,10\nx\n")
    annotation = read_annotation(path)
    assert len(annotation.entries) == 1
    assert annotation.malformed == (f"{path} line 2", f"{path} line 4")


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("jester-v1-train.csv", "1;Swiping Left\n2;Swiping Left\nfoo;bar\n"),
        ("trainlist01.txt", "B/v_B_g01_c01.avi 1\nB/v_B_g01_c02.avi 1\nB/broken\n"),
        ("wave_test_split1.txt", "a.avi 1\nb.avi 2\nc.avi\n"),
    ],
)
def test_one_broken_row_does_not_hide_the_format(name: str, rows: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(rows)
    annotation = read_annotation(tmp_path / name)
    assert len(annotation.entries) == 2
    assert annotation.malformed == (f"{tmp_path / name} line 3",)


def test_the_format_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("12 3\n")
    assert read_annotation(tmp_path / "x.txt").entries == (Entry(("12",), 3),)
    with pytest.raises(InputError, match=r"no row of the form id-label .*line 1.*--format"):
        read_annotation(tmp_path / "x.txt", kind="id-label")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no clips"),
        ("just some words\n", "no class; add it"),
        ("[1, 2", "not JSON"),
        ("[1, 2]", "entry 1"),
        ("{}", "it is empty"),
        (b"\xff\xfe\x00", "not text"),
    ],
)
def test_refusals(text: str | bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=told):
        read_annotation(tmp_path / "x")


def test_class_names_beside_the_annotation_are_read(tmp_path: Path) -> None:
    (tmp_path / "testlist01.txt").write_text("B/v_B_g01_c01.avi\n")
    (tmp_path / "classInd.txt").write_text("1 B\n2 A\n")
    assert read_annotation(tmp_path / "testlist01.txt").labels == ("B", "A")


KINETICS = [
    "label,youtube_id,time_start,time_end,split,is_cc\nrun,AAAAAAAAf-1,0,2,val,0\n",
    "label\tyoutube_id\ttime_start\ttime_end\tsplit\nrun\tAAAAAAAAf-1\t0.0\t2.0\tvalidate\n",
    "youtube_id;label;time_start;time_end;split\nAAAAAAAAf-1;run;0;2;val\n",
    ",label,youtube_id,time_start,time_end,split\n0,run,AAAAAAAAf-1,0,2,val\n",
    "split,end,start,video_id,class\nval,2,0,AAAAAAAAf-1,run\n",
    "run,AAAAAAAAf-1,0,2,val,0\n",
    "AAAAAAAAf-1|run|0|2|validation\n",
]


@pytest.mark.parametrize("text", KINETICS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_kinetics_csv_in_any_dialect(text: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(text.encode(encoding))
    annotation = read_annotation(tmp_path / "x.csv")
    assert annotation.kind == "kinetics-csv"
    assert annotation.malformed == ()
    (entry,) = annotation.entries
    assert (entry.label, entry.split, entry.span_s) == ("run", "val", (0, 2))
    assert entry.names[0] == "AAAAAAAAf-1_000000_000002"


def test_every_shared_kinetics_file_is_read(shared: Path) -> None:
    folder = shared / "cases/kinetics"
    if not folder.is_dir():
        pytest.skip(f"no cases at {folder}")
    for path in sorted(folder.iterdir()):
        annotation = read_annotation(path)
        assert (annotation.kind, annotation.malformed) == ("kinetics-csv", ()), path.name
        labels = {entry.label for entry in annotation.entries}
        assert labels <= {"打架", "no fight (calm)", None}, path.name
        assert {e.split for e in annotation.entries} == {
            "val" if "val" in path.name else "test" if "test" in path.name else "train"
        }
