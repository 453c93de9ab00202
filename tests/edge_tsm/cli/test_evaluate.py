"""`edge-tsm evaluate` as a person types it."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_tsm.bundle.card import Card
from edge_tsm.cli.scores import as_text
from edge_tsm.data.clips import Sample
from edge_tsm.evaluation.evaluate import Evaluation
from edge_tsm.evaluation.journal import Outcome
from edge_tsm.evaluation.views import ViewProtocol
from edge_tsm.system.width import columns_of
from tests.helpers.command import edge_tsm
from tests.helpers.videos import write_video


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips, one of them missing; `--skip-missing` goes on without."""
    folder = tmp_path_factory.mktemp("clips")
    for name in ("a", "b"):
        write_video(folder / f"{name}.avi", 12)
    (folder / "val.txt").write_text("a.avi 12 0\nmissing.avi 12 1\nb.avi 12 1\n")
    return folder / "val.txt"


def test_help_fits_eighty_columns() -> None:
    done = edge_tsm("evaluate", "--help")
    assert done.returncode == 0
    assert "BUNDLE... LIST" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_two_artifacts_side_by_side_with_every_output(
    bundle: Path, listed: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    done = edge_tsm(
        *(
            "evaluate",
            bundle / "model.onnx",
            bundle / "model.xml",
            listed,
            "--weights",
            "1,0.5",
            "--skip-missing",
        ),
        *("--method", "both", "--json", "r.json", "--csv", "r.csv", "--html", "r.html"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "2 of 3 clips could be read" in done.stdout
    assert "missing.avi does not exist" in done.stderr
    assert "val.txt: UTF-8, spaces; path 'a.avi', frames '12', class '0'" in done.stderr
    assert "warning: 1 clip missing: 'missing.avi' (line 2)" in done.stderr
    data = json.loads((tmp_path / "r.json").read_text())
    assert [entry["clip"] for entry in data["unreadable"]] == ["missing.avi"]
    assert data["models"] == {
        f"{bundle.stem}/model.onnx": "model.onnx on onnxruntime cpu",
        f"{bundle.stem}/model.xml": "model.xml on openvino cpu",
    }
    columns = list(data["results"])
    assert columns[-2:] == ["ensemble", "ensemble voting"]
    assert data["results"]["ensemble"]["clips"] == 2
    with (tmp_path / "r.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == ["a.avi", "missing.avi", "b.avi"] * 6
    labels = Card.read(bundle).labels
    assert len(rows[0]["logits"].split()) == len(labels)
    assert rows[0]["prediction"] in labels
    assert rows[1]["error"]
    assert (tmp_path / "r.html").read_text().count("What is confused") == 6
    assert {path.name for path in tmp_path.iterdir()} == {"r.json", "r.csv", "r.html"}


@pytest.mark.parametrize("classes", [2, 6, 400])
def test_tables_fit_eighty_columns_whatever_the_names(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    columns = tuple(f"一个名字很长的模型 of ours {i}{m}" for i in "12" for m in ("", " voting"))
    rows = np.eye(classes, dtype=np.float32)
    outcomes = [
        Outcome(Sample(Path(str(i)), i, str(i)), dict.fromkeys(columns, row))
        for i, row in enumerate(rows)
    ]
    labels = tuple(f"类别 {i} 有一个很长很长的名字 as well" for i in range(classes))
    found = Evaluation(labels, columns, tuple(outcomes), ViewProtocol(methods=("video", "voting")))
    lines = list(as_text(found))
    assert max(map(columns_of, lines)) <= 80
    assert any("100.0 %" in line for line in lines)
    assert ("lowest of 400 classes" in "\n".join(lines)) == (classes == 400)


def test_the_same_command_goes_on(bundle: Path, listed: Path, tmp_path: Path) -> None:
    command = ("evaluate", bundle, listed, "--results", tmp_path / "r.jsonl", "--skip-missing")
    first, second = edge_tsm(*command), edge_tsm(*command)
    assert "resumed" not in first.stdout
    assert "engine busy" in first.stdout
    assert re.search(rf"^{bundle.stem}: model\S* on \w+ cpu$", first.stderr, re.MULTILINE)
    assert second.stdout.endswith("2 of 3 clips could be read, resumed 2 of 3\n")
    assert first.stdout.splitlines()[:4] == second.stdout.splitlines()[:4]
    other = edge_tsm(*command, "--crops", 3)
    assert other.returncode == 2
    assert "crops was 1, now 3" in other.stderr


def test_ctrl_c_ends_it_and_keeps_what_is_done(bundle: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "x.avi", 200)
    (tmp_path / "many.txt").write_text(f"{video.name} 0\n" * 5000)
    results = tmp_path / "r.jsonl"
    command = ["evaluate", bundle, tmp_path / "many.txt", "--results", results, "--json", "r.json"]
    running = subprocess.Popen(
        [sys.executable, "-m", "edge_tsm", *map(str, command)],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr
    assert " on " in running.stderr.readline()
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert told.endswith("edge-tsm: interrupted\n")
    assert "Traceback" not in told
    assert all(map(json.loads, results.read_text().splitlines()))
    assert {p.name for p in tmp_path.iterdir()} == {"x.avi", "many.txt", "r.jsonl"}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "Missing argument 'BUNDLE... LIST'"),
        (["B"], 2, "and then the list of clips"),
        (["L", "B"], 2, "is a bundle; the list of clips comes last"),
        (["B", "nope.txt"], 2, "nope.txt: cannot be read"),
        (["nope.bundle", "L"], 3, "nope.bundle does not exist"),
        (["B", "B", "L"], 2, "is given twice"),
        (["B", "L", "--variant", "model.trt"], 3, "no variant 'model.trt' serves here"),
        (["B", "L", "--weights", "1"], 2, "--weights 1: give one positive number per bundle"),
        (["B", "L", "--crops", "2"], 2, "is not one of"),
        (["B", "L", "--root", "/nowhere"], 4, "3 of 3 clips are missing: 'a.avi' .line 1.*--root"),
        (["B", "L"], 4, "1 of 3 clips is missing: 'missing.avi' .line 2.*--skip-missing"),
        (["B", "L", "--columns", "path,x"], 2, "path,frames,class"),
        (["B", "L", "--root", "/nowhere", "--skip-missing"], 4, "none of 3 clips could be read"),
        (["B", "L", "--json", "no/x.json"], 6, "cannot be written"),
        (["B", "L", "--csv", "L"], 6, "is the list of clips"),
        (["B", "L", "--results", "L"], 6, "is the list of clips"),
        (["B", "L", "--html", "L"], 6, "is the list of clips"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], code: int, told: str, bundle: Path, listed: Path, tmp_path: Path
) -> None:
    names = {"B": str(bundle), "L": str(listed)}
    before = listed.read_text()
    done = edge_tsm("evaluate", *(names.get(a, a) for a in arguments), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert re.search(told, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith(("edge-tsm: error:", "Error:"))
    assert list(tmp_path.iterdir()) == []
    assert listed.read_text() == before
