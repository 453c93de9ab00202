"""What people and programs get to see."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_tsm.actions.rules import Rules
from edge_tsm.actions.tracker import ActionTracker
from edge_tsm.datatypes import Delay, Frame, Prediction, Window
from edge_tsm.errors import SinkError
from edge_tsm.sinks.answer import answer_schema
from edge_tsm.sinks.callback import Callback
from edge_tsm.sinks.jsonlines import JsonLines
from edge_tsm.sinks.overlay import draw_overlay
from edge_tsm.sinks.terminal import LiveTerminal, Terminal
from edge_tsm.sinks.video import AnnotatedVideo, SavedVideo, write_annotated
from tests.helpers.answers import says, started

LABELS = ("Swiping Left", "Émile à l'école", "x" * 80)
ANSWER = Prediction(
    LABELS,
    np.float32([2, 1, 0]),
    np.float32([0.67, 0.24, 0.09]),
    12.5,
    Window((1, 2), 0.5, 1.25),
)


def frames(count: int, size: tuple[int, int] = (240, 320)) -> list[Frame]:
    return [Frame(np.full((*size, 3), 90, np.uint8), i, i / 25) for i in range(count)]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_terminal_shows_bars_and_keeps_its_width(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = io.StringIO()
    Terminal(stream).write(ANSWER, "clip.mp4")
    head, *lines = stream.getvalue().splitlines()
    assert "clip.mp4" in head
    assert "0.50 to 1.25 s" in head
    assert lines[0].split()[:2] == ["67.0%", "█" * lines[0].count("█")]
    assert lines[0].count("█") > lines[1].count("█") > lines[2].count("█") > 0
    assert all(len(line) <= columns for line in lines)


def test_json_lines_are_json() -> None:
    stream = io.StringIO()
    JsonLines(stream).write(ANSWER, "clip.mp4")
    JsonLines(stream).write(ANSWER, "clip.mp4")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first == second
    assert first["source"] == "clip.mp4"
    assert first["label"] == "Swiping Left"
    assert first["top"][1] == {"index": 1, "label": "Émile à l'école", "probability": 0.24}
    assert first["logits"] == [2, 1, 0]
    assert (first["start_s"], first["end_s"], first["frames"]) == (0.5, 1.25, [1, 2])


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_saved_video_has_every_frame_and_the_answer(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    write_annotated(path, frames(10), ANSWER, fps=25)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    capture = cv2.VideoCapture(str(path))
    pictures = []
    while (got := capture.read())[0]:
        pictures.append(got[1])
    assert len(pictures) == 10
    assert pictures[0].shape == (240, 320, 3)
    corner, rest = pictures[5][:40, :120], pictures[5][200:, 200:]
    assert corner.max() > 180  # the text
    assert abs(float(rest.mean()) - 90) < 5  # the picture


def test_a_source_that_fails_leaves_no_half_video(tmp_path: Path) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield from frames(3)
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError):
        write_annotated(tmp_path / "out.mp4", broken(), ANSWER, fps=25)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [("x.gif", r"save as a file, \.mp4"), ("no/x.mp4", "is not a folder")],
)
def test_where_no_video_can_go(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=message):
        AnnotatedVideo(tmp_path / name, fps=25)


def test_an_unwritable_folder() -> None:
    with pytest.raises(SinkError, match="cannot be written"):
        write_annotated(Path("/proc/x.mp4"), frames(1), ANSWER, fps=25)


@pytest.mark.parametrize(("width", "height"), [(64, 48), (320, 240), (1920, 1080)])
def test_the_overlay_fits_the_picture(width: int, height: int) -> None:
    color, alpha = draw_overlay(ANSWER, width, height)
    assert color.shape[:2] == alpha.shape[:2]
    assert color.shape[0] <= height
    assert color.shape[1] <= width


def test_pictures_of_other_sizes_take_the_first_ones_size(tmp_path: Path) -> None:
    mixed = [*frames(2), *frames(2, (100, 90))]
    write_annotated(tmp_path / "out.mp4", mixed, ANSWER, fps=25)
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 4


def test_a_saved_video_is_its_owners_alone(tmp_path: Path) -> None:
    write_annotated(tmp_path / "out.mp4", frames(2), ANSWER, fps=25)
    assert (tmp_path / "out.mp4").stat().st_mode & 0o777 == 0o600


class Screenlike(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


NOON = time.struct_time((2026, 11, 24, 12, 0, 0, 1, 328, 0))


def live_output(stream: io.StringIO, *, several: bool = False, rules: Rules | None) -> str:
    sink = LiveTerminal(stream, several=several, wall=lambda: NOON)
    for source in ("front", "back")[: 1 + several]:
        tracker = ActionTracker(rules, says("wave", 0).labels) if rules else None
        for t, label in enumerate(("nothing", "wave", "nothing")):
            prediction = says(label, t)
            sink.write(tracker.update(prediction) if tracker else prediction, source)
    sink.close()
    return stream.getvalue()


def screen(text: str) -> list[str]:
    """What a terminal shows after the control codes that the live line uses."""
    lines, row = [""], 0
    for part in text.replace("\r\033[K", "\0").replace("\033[A\033[K", "\1").split("\n"):
        for char in part:
            if char == "\0":
                lines[row] = ""
            elif char == "\1":
                row -= 1
                lines[row] = ""
            else:
                lines[row] += char
        row += 1
        lines[row:] = lines[row:] or [""]
    return [line for line in lines if line]


def test_a_terminal_keeps_events_and_one_line_per_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rules = Rules(background=("nothing",))
    assert screen(live_output(Screenlike(), rules=rules)) == [
        "12:00:00  start  wave  (90%)",
        "12:00:00  end    wave  (90%, 1.0 s)",
        "12:00:00  - ·  90% nothing  (5 ms)",
    ]
    two = screen(live_output(Screenlike(), several=True, rules=None))
    assert two == [
        "12:00:00  front   90% nothing  (5 ms)",
        "12:00:00  back   90% nothing  (5 ms)",
    ]


def test_the_live_line_is_narrower_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    stream = Screenlike()
    LiveTerminal(stream).write(ANSWER, "camera")
    assert len(stream.getvalue()) <= 29


def test_a_message_of_somebody_else_stands_above_the_live_lines() -> None:
    stream = Screenlike()
    sink = LiveTerminal(stream, several=True)
    for source in ("front", "back"):
        sink.write(ANSWER, source)
    stream.truncate(0)
    sink.lift()
    assert stream.getvalue().strip("\0") == "\r\033[K\033[A\033[K"
    stream.truncate(0)
    sink.write(ANSWER, "back")
    assert "\033" not in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


def test_a_log_gets_events_only_or_every_answer() -> None:
    log = live_output(io.StringIO(), rules=Rules(background=("nothing",)))
    assert [line.split()[1] for line in log.splitlines()] == ["start", "end"]
    plain = live_output(io.StringIO(), rules=None)
    assert len(plain.splitlines()) == 3
    assert "\r" not in plain + log


def test_json_lines_are_as_the_schema_says() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    stream, schema = io.StringIO(), answer_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    sink = JsonLines(stream)
    window = Window((1, 2), 0.5, 1.25, (0.5, 0.0), 3)
    live = Prediction(
        LABELS, ANSWER.logits, ANSWER.probabilities, 9.0, window, "cam", Delay(1, 2, 9)
    )
    for prediction in (ANSWER, live, Prediction(LABELS, ANSWER.logits, ANSWER.probabilities, 1.0)):
        sink.write(prediction, "clip.mp4")
    sink.write(started(), "clip.mp4")
    for line in stream.getvalue().splitlines():
        record = json.loads(line)
        jsonschema.validate(record, schema)
        assert record.keys() <= schema["properties"].keys()  # nothing is left undescribed
    assert record["decision"]["events"][0]["kind"] == "start"
    described = schema["$defs"]["DecisionRecord"]["properties"].keys()
    assert record["decision"].keys() == described - {"actions"}  # only where several may be on
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**record, "label": None}, schema)


def test_callbacks_get_answers_and_events() -> None:
    answers, events = [], []
    sink = Callback(
        lambda *given: answers.append(given), on_event=lambda *given: events.append(given)
    )
    start = started()
    sink.write(ANSWER, "a")
    sink.write(start, "b")
    assert answers == [(ANSWER, "a"), (start, "b")]
    assert events == [(start.events[0], "b")]


def test_a_live_video_shows_the_newest_answer(tmp_path: Path) -> None:
    sink = SavedVideo(tmp_path / "live.avi", fps=25)
    first, second = frames(2)
    sink.frame(first, "cam")
    sink.write(ANSWER, "cam")
    sink.frame(second, "cam")
    sink.close()
    capture = cv2.VideoCapture(str(tmp_path / "live.avi"))
    pictures = [capture.read()[1] for _ in range(2)]
    assert pictures[0][:40, :120].max() < 120
    assert pictures[1][:40, :120].max() > 180


def test_the_overlay_has_a_line_for_the_action() -> None:
    plain, _ = draw_overlay(ANSWER, 640, 480)
    decided, _ = draw_overlay(started(), 640, 480)
    assert decided.shape[0] > plain.shape[0]
