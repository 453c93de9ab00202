"""Label files in the forms people have them: read right, or refused with the reason."""

from __future__ import annotations

import csv
import json
import random
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge_tsm.bundle.data_sets import DATA_SETS, SORTED_UPSTREAM, in_order, misordered, names_of
from edge_tsm.bundle.labels import default_labels, read_labels
from edge_tsm.errors import InputError

FIGHT = ("noFight", "fight")


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("category.txt", "Swiping Left\nNo gesture\n", ("Swiping Left", "No gesture")),
        ("bom.txt", "\ufeffa\r\nb\r\n", ("a", "b")),
        ("classInd.txt", "1 ApplyEyeMakeup\n2 Archery\n", ("ApplyEyeMakeup", "Archery")),
        ("zero.txt", "1 b\n0 a\n", ("a", "b")),
        ("names.txt", "3 cups\nno cup\n", ("3 cups", "no cup")),
        ("odd.txt", "2 cups\n3 cups\n", ("2 cups", "3 cups")),
        ("players.txt", "player 0\nplayer 1\n", ("player 0", "player 1")),
        ("tens.txt", "10 a\n20 b\n", ("10 a", "20 b")),
        ("quoted.txt", '"1 cup"\n"3 cups"\n', ("1 cup", "3 cups")),
        (
            "comma.txt",
            "Putting something, gently\nOpening\n",
            ("Putting something, gently", "Opening"),
        ),
        *(
            ("numbered.txt", text, FIGHT)
            for text in (
                "fight 1\nnoFight 0\n",
                "fight: 1\nnoFight: 0\n",
                "fight = 1\nnoFight = 0\n",
                "1. noFight\n2. fight\n",
                "1) noFight\n2) fight\n",
                "0: noFight\n1: fight\n",
                "[0] noFight\n[1] fight\n",
                "0 - noFight\n1 - fight\n",
                "0 -> noFight\n1 -> fight\n",
                "#1 noFight\n#2 fight\n",
                "00 noFight\n01 fight\n",
                "0\u3000noFight\n1\u3000fight\n",
                "0 noFight\n\n1 fight\n",
            )
        ),
        *(
            ("table.csv", text, FIGHT)
            for text in (
                "0,noFight\n1,fight\n",
                "noFight,0\nfight,1\n",
                "fight;1\nnoFight;0\n",
                "0\tnoFight\n1\tfight\n",
                "0|noFight\n1|fight\n",
                "0,noFight,\n1,fight,\n",
                "id,name\n0,noFight\n1,fight\n",
                "name,id\nfight,1\nnoFight,0\n",
                "class,name\n0,noFight\n1,fight\n",
                "label,name\n1,fight\n0,noFight\n",
                "label,class\nnoFight,0\nfight,1\n",
                "class,label\n0,noFight\n1,fight\n",
                ",name\n0,noFight\n1,fight\n",
                "id,name,extra\n0,noFight,x\n1,fight,y\n",
                "id,label,zh\n0,noFight,正常\n1,fight,打架\n",
                "0,noFight,x\n1,fight,x\n",
                "sep=;\nid;name\n0;noFight\n1;fight\n",
                "noFight,\nfight,\n",
                "'noFight',\n'fight'\n",
                "name\nnoFight\nfight\n",
                "name,meaning\nnoFight,calm\nfight,wild\n",
                "“noFight”\n“fight”\n",
                "# mine\n\nnoFight\nfight\n",
                "noFight\rfight\r",
                "noFight\u00a0\n\u200bfight\n",
            )
        ),
        (
            "kinetics.csv",
            'id,name\n0,abseiling\n1,"air, drumming"\n',
            ("abseiling", "air, drumming"),
        ),
        ("v2.json", '{"Approaching [x]":"0", "Bending":"1"}', ("Approaching [x]", "Bending")),
        *(
            ("data.json", text, FIGHT)
            for text in (
                '{"1":"fight","0":"noFight"}',
                '["noFight", "fight"]',
                '{"classes": ["noFight", "fight"]}',
                '{"names": {"0": "noFight", "1": "fight"}, "nc": 2}',
                '[{"id":2,"name":"fight"},{"id":1,"name":"noFight"}]',
                '[{"label":"noFight"},{"label":"fight"}]',
                '{"label2id":{"noFight":0,"fight":1},"id2label":{"0":"noFight","1":"fight"},"lr":1}',
            )
        ),
        ("dict.txt", "{0: 'noFight', 1: 'fight'}", FIGHT),
        ("dict.txt", "{'fight': 1, 'noFight': 0,}", FIGHT),
        ("classes.py", "CLASSES = (\n  'noFight',\n  'fight',\n)\n", FIGHT),
        ("data.yaml", "names:\n- noFight\n- fight\nnc: 2\n", FIGHT),
        ("data.yaml", "path: x\nnames: {0: noFight, 1: fight}\n", FIGHT),
        ("data.txt", "names:\n  0: noFight\n  1: fight\n", FIGHT),
        ("norway.yaml", "no: 0\non: 1\n", ("no", "on")),
        ("map.pbtxt", "item {\n id: 2\n name: 'fight'\n}\nitem { name: 'noFight' id: 1 }", FIGHT),
        # In the file's order: sorting is the code base's business, not the file name's.
        ("jester-v1-labels.csv", "Swiping Left\nNo gesture\n", ("Swiping Left", "No gesture")),
    ],
)
def test_forms(name: str, text: str, names: tuple[str, ...], tmp_path: Path) -> None:
    if name.endswith("yaml") or text.startswith("names:"):
        pytest.importorskip("yaml")
    (tmp_path / name).write_bytes(text.encode())
    assert read_labels(tmp_path / name).names == names


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("empty.txt", "\n", "is empty"),
        ("blank.txt", "a\n\nb\n", "line 2 is blank"),
        ("twice.txt", "a\nb\na\n", "line 3: duplicate label 'a', as .* line 1"),
        ("gap.json", '{"a": 0, "b": 2}', "without gaps"),
        ("twice.json", '{"a": 0, "a": 1}', "duplicate key 'a'"),
        ("broken.json", "{", "not JSON"),
        ("deep.json", "[" * 100_000, "not JSON"),
        ("other.json", "3", "expected a list"),
        ("numbers.json", '{"0": "1", "1": "0"}', "numbers on both sides"),
        (
            "both.json",
            '{"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}}',
            "read as",
        ),
        ("code.txt", "{0: __import__('os').system('x')}", "not a Python list"),
        ("code.py", "import os\nnames = ['a']", "not a Python list"),
        ("bomb.yaml", "a: &x [1]\nb: *x\n", "expected a list"),
        ("rows.csv", "id,name\n0,a\nb\n", r"line 3 has 1 cell, line 1 has 2 \('id,name'"),
        ("more.csv", "0,a\n1,b,c\n", "line 2 has 3 cells"),
        ("gap.csv", "id,name\n1,a\n3,b\n", "without gaps"),
        ("names.csv", "0,a,x\n1,b,y\n", "class 0 may be called 'a' or 'x'"),
        ("none.csv", "a,x\nb,y\n", "none counts the classes"),
        ("line.csv", "a,b\n", "one line with ','"),
        ("two.txt", "0 a 1\n1 b 0\n", "class 0 called 'a 1' or class 0 called '1 b'"),
        ("gap.txt", "0 a\n1 b\n3 d\n", "line 3: '3 d' should have the number 2"),
        ("one.txt", "0 a\nb\n2 c\n", "line 2: 'b' should have the number 1"),
        ("cups.txt", "1 cup\n3 spoons\n", "put quotes around them"),
        ("control.txt", "a\u0085b\u0001\nc\n", "not text"),
        ("bytes.txt", b"\xff\xfe\x00", "not text"),
        ("item.pbtxt", "item { id: 1 }", "item 1 has no name and id"),
        ("page.txt", "<!DOCTYPE html>\n<html>", "an HTML or XML page"),
    ],
)
def test_refusals(name: str, text: str | bytes, message: str, tmp_path: Path) -> None:
    if name.endswith("yaml"):
        pytest.importorskip("yaml")
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path / name)


def test_a_missing_file_is_named_and_the_built_in_lists_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nope\.txt.*built-in lists are kinetics400"):
        read_labels(tmp_path / "nope.txt")


def test_without_labels_classes_are_numbered_and_a_fitting_list_is_offered() -> None:
    assert default_labels(3).names == ("class_0", "class_1", "class_2")
    assert default_labels(400).source == "default (pass --labels FILE or kinetics400)"


def test_how_the_file_was_read_is_shown(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes("# 类\n编号;name\n1;挥手\n2;打架\n".encode("gb18030"))
    labels = read_labels(tmp_path / "l.csv")
    assert (labels.names, labels.first) == (("挥手", "打架"), 1)
    assert str(labels.reading) == (
        "l.csv: GB18030, semicolon; 编号 '1', name '挥手'; 1 comment skipped; numbered from 1"
    )


def test_names_that_differ_in_case_only_are_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("Fight\nfight\n")
    labels = read_labels(tmp_path / "l.txt")
    assert labels.names == ("Fight", "fight")
    assert "differ in case only" in str(labels.reading)


# --- built-in lists ----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "classes"), DATA_SETS.items())
def test_built_in_lists_are_whole(name: str, classes: int) -> None:
    names = read_labels(name).names
    assert len(set(names)) == len(names) == classes
    assert all(name == name.strip() and name.isprintable() for name in names)


def test_orders_that_differ_between_code_bases() -> None:
    jester = names_of("jester")
    assert jester[:2] == ("Swiping Left", "Swiping Right")
    assert in_order(jester, "jester", SORTED_UPSTREAM)[:2] == (
        "Doing other things",
        "Drumming Fingers",
    )
    # The second version of Something-Something has the first one's names, sorted.
    assert tuple(sorted(names_of("something-v1"))) == names_of("something-v2")
    assert names_of("ucf101")[34:36] == ("Hammering", "HammerThrow")  # classInd.txt: 35, 36
    assert misordered(sorted(jester), SORTED_UPSTREAM) is None
    assert misordered(sorted(jester), frozenset()) == "jester"
    assert misordered(names_of("something-v2"), SORTED_UPSTREAM) is None


def test_only_the_code_base_sorts_an_official_list(tmp_path: Path) -> None:
    path = tmp_path / "jester-v1-labels.csv"
    path.write_text("\n".join(names_of("jester")))
    labels = read_labels(path)
    assert labels.names == names_of("jester") == labels.of_code_base("mmaction2", set()).names
    upstream = labels.of_code_base("mit", SORTED_UPSTREAM)
    assert upstream.names == tuple(sorted(names_of("jester")))
    assert upstream.source.endswith("sorted as mit sorts it")


# --- any dialect -------------------------------------------------------------------------------

# Without quotes a name cannot hold everything; a name with quotes around it, or a `#` in front, is
# not told from how files are written.
_PLAIN = st.from_regex(r"[a-zé挥](?:[a-z0-9é挥 ,;'()-]{0,6}[a-z挥)])?", fullmatch=True)
_WILD = st.text("abZ 019,;|\t'\"()-.:é挥手", min_size=1, max_size=8)


def _lists(names: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    tidied = names.map(lambda name: " ".join(name.split())).filter(
        lambda name: bool(name) and name[0] not in "'\""
    )
    return st.lists(tidied, min_size=2, max_size=6, unique_by=str.casefold)


_DIALECT = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from([None, ",", ";", "\t", "|", " ", ". ", ": "]),
        "header": st.booleans(),
        "order": st.sampled_from(["index name", "name index", "index name extra"]),
        "first": st.sampled_from([0, 1]),
        "end": st.sampled_from(["\n", "\r\n", "\r"]),
        "encoding": st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "gb18030"]),
        "quote": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        "seed": st.integers(0, 9),
    }
)


def _written(names: list[str], dialect: dict[str, object]) -> str:
    """Return a label file in a dialect, its rows in any order where they carry indices."""
    delimiter, end = dialect["delimiter"], str(dialect["end"])
    if delimiter is None:
        return end.join([*names, ""])
    rows = [
        {"index": str(i + int(str(dialect["first"]))), "name": name, "extra": "x"}
        for i, name in enumerate(names)
    ]
    random.Random(int(str(dialect["seed"]))).shuffle(rows)
    columns = str(dialect["order"]).split()
    if len(str(delimiter)) > 1 or delimiter == " ":
        return end.join([*(f"{row['index']}{delimiter}{row['name']}" for row in rows), ""])
    stream = StringIO()
    writer = csv.writer(
        stream, delimiter=str(delimiter), lineterminator=end, quoting=int(str(dialect["quote"]))
    )
    writer.writerows(
        ([columns] if dialect["header"] else []) + [[r[c] for c in columns] for r in rows]
    )
    return stream.getvalue()


@given(plain=_lists(_PLAIN), wild=_lists(_WILD), dialect=_DIALECT)
def test_what_is_read_is_what_was_written_or_it_is_refused(
    plain: list[str], wild: list[str], dialect: dict[str, object]
) -> None:
    names = wild if dialect["delimiter"] in (",", ";", "\t", "|") else plain
    if dialect["encoding"] == "gb18030":
        names = [name.replace("é", "手") for name in names]  # Chinese is told by Chinese
        assume(len(set(names)) == len(names))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "labels.txt"
        path.write_bytes(_written(names, dialect).encode(str(dialect["encoding"])))
        try:
            found = read_labels(path)
        except InputError:
            return
    assert list(found.names) == names, (found.reading, path)


@given(names=_lists(_WILD))
def test_json_is_read_as_written(names: list[str]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "labels.json"
        path.write_text(json.dumps(names))
        assert list(read_labels(path).names) == names


# --- the shared cases --------------------------------------------------------------------------

CASES = {
    "blank_mid.txt": "line 2 is blank",
    "dup_case.txt": "duplicate label 'fight'",
    "gbk.txt": ("挥手", "打架"),
    "quoted.csv": ("noFight", "fight, hit"),
}


def test_every_shared_case_is_read_right_or_refused(shared: Path) -> None:
    pytest.importorskip("yaml")
    folder = shared / "cases/labels"
    if not folder.is_dir():
        pytest.skip(f"no cases at {folder}")
    for path in sorted(folder.iterdir()):
        expected = names_of("jester") if "jester" in path.name else CASES.get(path.name, FIGHT)
        if isinstance(expected, str):
            with pytest.raises(InputError, match=expected):
                read_labels(path)
        else:
            assert read_labels(path).names == expected, path.name
