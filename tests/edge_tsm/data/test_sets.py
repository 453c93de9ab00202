"""Lists whose clips have several classes, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_tsm.data.sets import SetDataset, classes_of, gives_sets, read_sets, truth_of
from edge_tsm.errors import InputError


def listed(folder: Path, text: str) -> Path:
    path = folder / "val.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.mp4 0,2\nb c.mp4 1\n", [("a.mp4", None, (0, 2)), ("b c.mp4", None, (1,))]),
        ("a 30 0,2\nb 12 1\n", [("a", 30, (0, 2)), ("b", 12, (1,))]),
        ("a.mp4 2;0;2\n", [("a.mp4", None, (0, 2))]),
        ("a.mp4 1|3\nb.mp4 -\n", [("a.mp4", None, (1, 3)), ("b.mp4", None, ())]),
        ('a.mp4,"0,2"\nb.mp4,1\n', [("a.mp4", None, (0, 2)), ("b.mp4", None, (1,))]),
        ("a.mp4;[0, 2]\nb.mp4;[]\n", [("a.mp4", None, (0, 2)), ("b.mp4", None, ())]),
        ("video\tlabels\na b\t0 2\nc\t1\n", [("a b", None, (0, 2)), ("c", None, (1,))]),
        ("labels,frames,path\n0|2,30,a\n,12,b\n", [("a", 30, (0, 2)), ("b", 12, ())]),
        ("a.mp4 1\na.mp4 0\nb.mp4 1\n", [("a.mp4", None, (0, 1)), ("b.mp4", None, (1,))]),
    ],
)
def test_classes_of_a_clip(text: str, expected: list[object], tmp_path: Path) -> None:
    dataset = read_sets(listed(tmp_path, text))
    assert isinstance(dataset, SetDataset)
    assert [(s.name, s.frames, classes_of(s)) for s in dataset] == expected
    assert dataset.samples[0].path == tmp_path / dataset.samples[0].name


def test_a_list_of_one_class_a_clip_is_read_as_ever(tmp_path: Path) -> None:
    path = listed(tmp_path, "a.mp4 0\nb.mp4 1\n")
    assert not gives_sets(path)
    assert not isinstance(read_sets(path), SetDataset)
    assert [classes_of(s) for s in read_sets(path)] == [(0,), (1,)]


@pytest.mark.parametrize("lines", ["a.mp4 0,1\nb.mp4 first\n", "c.mp4 2\nfirst\na.mp4 0,1\n"])
def test_a_line_of_another_form_is_named(lines: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"val\.txt line 2 is none of `path 1,4`"):
        read_sets(listed(tmp_path, lines))


def test_a_first_line_that_is_no_header_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"val\.txt line 1 is none of `path 1,4`"):
        read_sets(listed(tmp_path, "first\na.mp4 0,1\nb.mp4 1\n"))


def test_names_decide_and_not_their_order(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("x\ny\nz\n")
    dataset = read_sets(listed(tmp_path, "a.mp4 0,2\nb.mp4 -\n"))
    assert (dataset.labels, dataset.classes) == (("x", "y", "z"), 3)
    moved = dataset.of_classes(("z", "y", "x"))
    assert [sorted(classes_of(s)) for s in moved] == [[0, 2], []]
    assert truth_of(moved.samples, 3).tolist() == [[True, False, True], [False] * 3]
    with pytest.raises(InputError, match="is none of the model's labels"):
        dataset.of_classes(("p", "q"))


def test_a_class_that_the_model_lacks_is_named(tmp_path: Path) -> None:
    dataset = read_sets(listed(tmp_path, "a.mp4 0,7\n"))
    with pytest.raises(InputError, match=r"a\.mp4 is of class 7, the model has 0 to 2"):
        dataset.of_classes(("class_0", "class_1", "class_2"))
