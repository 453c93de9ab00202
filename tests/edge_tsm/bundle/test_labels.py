"""Label files in the forms people have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_tsm.bundle.labels import default_labels, read_labels
from edge_tsm.errors import InputError


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("category.txt", "Swiping Left\nNo gesture\n", ("Swiping Left", "No gesture")),
        ("bom.txt", "\ufeffa\r\nb\r\n", ("a", "b")),
        ("classInd.txt", "1 ApplyEyeMakeup\n2 Archery\n", ("ApplyEyeMakeup", "Archery")),
        ("zero.txt", "1 b\n0 a\n", ("a", "b")),
        ("names.txt", "3 cups\nno cup\n", ("3 cups", "no cup")),
        ("odd.txt", "2 cups\n3 cups\n", ("2 cups", "3 cups")),
        (
            "kinetics.csv",
            'id,name\n0,abseiling\n1,"air, drumming"\n',
            ("abseiling", "air, drumming"),
        ),
        (
            "v2-labels.json",
            '{"Approaching [x]":"0", "Bending":"1"}',
            ("Approaching [x]", "Bending"),
        ),
        ("index.json", '{"1":"b","0":"a"}', ("a", "b")),
        ("list.json", '["a", "b"]', ("a", "b")),
        # The data sets' own lists are in another order than upstream's training used.
        ("jester-v1-labels.csv", "Swiping Left\nNo gesture\n", ("No gesture", "Swiping Left")),
    ],
)
def test_forms(name: str, text: str, names: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_labels(tmp_path / name).names == names


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("empty.txt", "\n", "is empty"),
        ("blank.txt", "a\n\nb\n", "line 2 is blank"),
        ("twice.txt", "a\nb\na\n", "duplicate label 'a'"),
        ("gap.json", '{"a": 0, "b": 2}', "without gaps"),
        ("broken.json", "{", "not JSON"),
        ("other.json", "3", "expected a list"),
        ("rows.csv", "id,name\n0,a\nb\n", "id,name"),
        ("bytes.txt", b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_refusals(name: str, text: str | bytes, message: str, tmp_path: Path) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nope\.txt"):
        read_labels(tmp_path / "nope.txt")


def test_without_labels_classes_are_numbered() -> None:
    assert default_labels(3).names == ("class_0", "class_1", "class_2")
