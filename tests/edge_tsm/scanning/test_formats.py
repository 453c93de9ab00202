"""Timelines as files, and the command that writes them."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_tsm import demo
from edge_tsm.actions.rules import Rules
from edge_tsm.datatypes import Event
from edge_tsm.errors import InputError, SinkError
from edge_tsm.live.assembler import Pace
from edge_tsm.scanning.formats import FORMATS, Output
from edge_tsm.scanning.timeline import Scanned, Timeline
from tests.helpers.command import edge_tsm
from tests.helpers.videos import write_film

LABELS = ("wave", "a & b\n<i>")
ACTIONS = (
    Event("end", 0, "wave", start_s=1.04, told_s=3.5, score=0.9),
    Event("end", 1, LABELS[1], start_s=3725.5, told_s=3725.5, score=0.75),
)
ANSWERS = [(1.0, np.zeros(2, np.float32))]
TIMELINE = Timeline(
    *("x on y cpu", LABELS, "softmax", Pace(2.0, 0.5), Rules()),
    files=(
        Scanned(Path("a.mp4"), ANSWERS, ACTIONS, duration_s=3800.0, fps=25.0),
        Scanned(Path("b.mp4"), error="b.mp4 is empty"),
    ),
)


def text(name: str) -> str:
    return FORMATS[name].text(TIMELINE)


def test_json_holds_every_recording_and_what_is_wrong_with_it() -> None:
    good, bad = json.loads(text("json"))["files"]
    assert (good["windows"], good["duration_s"]) == (1, 3800.0)
    assert good["actions"][0] == {
        "index": 0,
        "label": "wave",
        "start_s": 1.04,
        "end_s": 3.5,
        "score": 0.9,
    }
    assert bad["error"] == "b.mp4 is empty"


def test_a_row_of_csv_and_a_cue_of_webvtt_per_action() -> None:
    rows = list(csv.DictReader(text("csv").splitlines(keepends=True)))
    assert [row["label"] for row in rows] == list(LABELS)
    assert (rows[0]["start_s"], rows[0]["duration_s"]) == ("1.040", "2.460")
    assert text("vtt").splitlines() == [
        *("WEBVTT", "", "00:00:01.040 --> 00:00:03.500", "wave 90%", ""),
        *("01:02:05.500 --> 01:02:05.501", "a &amp; b &lt;i&gt; 75%"),
    ]


def test_label_studio_gets_a_task_per_recording_in_frames_from_one() -> None:
    [task] = json.loads(text("label-studio"))
    assert task["data"] == {"video": "a.mp4"}
    [prediction] = task["predictions"]
    first = prediction["result"][0]
    assert first["type"] == "timelinelabels"
    assert first["value"] == {"ranges": [{"start": 27, "end": 89}], "timelinelabels": ["wave"]}


def test_a_file_of_all_or_a_folder_with_one_each(tmp_path: Path) -> None:
    def output(name: str, form: str | None = None, **given: bool) -> Output:
        return Output.of(tmp_path / name, form, recordings=2, folder=given.get("folder", False))

    assert output("x.csv").write(TIMELINE) == [tmp_path / "x.csv"]
    twice = replace(TIMELINE, files=(TIMELINE.files[0],) * 2)
    made = output("each", "vtt", folder=True).write(twice)
    assert [path.name for path in made] == ["a.vtt", "a-2.vtt"]
    with pytest.raises(InputError, match=r"x.vtt holds one recording, not 2; name a folder: x/"):
        output("x.vtt")
    with pytest.raises(InputError, match=r"x.srt: end its name in one of .json, .csv, .vtt"):
        output("x.srt")
    with pytest.raises(SinkError, match="there is no folder"):
        output("nope/x.csv")


def test_the_command_writes_what_it_found_and_ends_with_the_code_of_what_it_could_not_read(
    tmp_path: Path,
) -> None:
    (tmp_path / "day").mkdir()
    write_film(tmp_path / "day/a.avi", [900_003], clip_s=3)
    (tmp_path / "day/b.mp4").touch()
    command = ("scan", demo.bundle(), "day", "--variant", "model.int8.onnx", "--results", "r")
    done = edge_tsm(*command, "-o", "t.json", cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert "unreadable: day/b.mp4 is empty" in done.stderr
    assert "error: 1 of 2 recordings could not be read whole" in done.stderr
    assert "times real time" in done.stderr
    assert json.loads((tmp_path / "t.json").read_text())["files"][0]["windows"] == 2
    again = edge_tsm(*command, "--on", 0.1, "--off", 0.1, cwd=tmp_path)
    assert "times real time" not in again.stderr  # nothing was looked at again
    assert re.search(r"^a\.avi +00:00:02\.0 ", again.stdout, re.MULTILINE)
    assert max(map(len, edge_tsm("scan", "--help").stdout.splitlines())) <= 80
