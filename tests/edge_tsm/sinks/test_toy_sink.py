"""A new kind of sink: one class and one entry; nothing else in the tree knows of it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from edge_tsm import demo
from edge_tsm.cli import main
from edge_tsm.datatypes import Frame, Prediction
from edge_tsm.errors import InputError
from edge_tsm.sinks import SINKS, Sink, SinkContext, SinkKind, SinkRequest, find_sink, open_routes
from tests.helpers.videos import write_video

pytestmark = pytest.mark.timeout(60)


class Tally:
    """Counts answers, starts of actions and pictures, and writes the counts to a file."""

    def __init__(self, path: Path) -> None:
        self._path, self._counts = path, {"answers": 0, "starts": 0, "pictures": 0}

    def write(self, prediction: Prediction, source: str) -> None:
        self._counts["answers"] += 1
        self._counts["starts"] += sum(event.kind == "start" for event in prediction.events)

    def frame(self, frame: Frame, source: str) -> None:
        self._counts["pictures"] += 1

    def close(self) -> None:
        self._path.write_text(" ".join(f"{k}={v}" for k, v in self._counts.items()))


def open_tally(value: str, context: SinkContext) -> Sink:
    return Tally(Path(value))


TALLY = SinkKind("tally", open_tally, value="FILE", needs_actions=True, lossless=True)


def run(source: str, *arguments: object) -> Result:
    rate = ("--window", "1", "--every", "0.5", "--on", "0", "--off", "0")
    command = ["run", str(demo.bundle()), "--source", source, *rate, *map(str, arguments)]
    return CliRunner().invoke(main, command)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "x.avi", 60)


def test_an_entry_in_the_table_is_a_sink(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SINKS, "tally", TALLY)
    done = run(f"replay:{video}", "--sink", f"tally={tmp_path}/live")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "live").read_text() == "answers=4 starts=1 pictures=60"
    done = run(str(video), "--sink", f"tally={tmp_path}/file", "--json")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "file").read_text() == "answers=2 starts=1 pictures=0"


def test_another_package_brings_a_sink(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, metadata = ModuleType("tally_package"), tmp_path / "tally-1.dist-info"
    package.KIND = TALLY  # type: ignore[attr-defined]
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tally\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[edge_tsm.sinks]\ntally = tally_package:KIND\n")
    monkeypatch.setitem(sys.modules, "tally_package", package)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_sink("tally") is TALLY
    done = run(str(video), "--sink", f"tally={tmp_path}/file", "--sink", "json")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "file").read_text() == "answers=2 starts=1 pictures=0"


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        (
            "tally=x",
            "no sink 'tally'; there are clips, events, json, live, logits, mqtt, recorder, ",
        ),
        ("snapshots=x", "--sink snapshots is for live sources"),
        ("webhook", "--sink webhook needs a value: webhook=URL"),
        ("json=x", "--sink json takes no value, got 'x'"),
    ],
)
def test_a_sink_that_cannot_be_is_one_line(sink: str, message: str, video: Path) -> None:
    done = run(str(video), "--sink", sink)
    assert done.exit_code == InputError.exit_code
    assert f"edge-tsm: error: {message}" in done.stderr


def test_what_is_open_is_closed_when_another_cannot_be(tmp_path: Path) -> None:
    requests = [SinkRequest(TALLY, str(tmp_path / "first")), SinkRequest(SINKS["webhook"], "nope")]
    with pytest.raises(InputError, match="pass an http"):
        open_routes(requests, SinkContext())
    assert (tmp_path / "first").read_text() == "answers=0 starts=0 pictures=0"


def test_two_of_a_kind_have_names_of_their_own(tmp_path: Path) -> None:
    requests = [SinkRequest(TALLY, str(tmp_path / name)) for name in "ab"]
    assert [route.name for route in open_routes(requests, SinkContext())] == ["tally", "tally 2"]


def test_a_recorder_takes_one_source(tmp_path: Path) -> None:
    request = SinkRequest(SINKS["recorder"], str(tmp_path / "new"), "--record")
    with pytest.raises(InputError, match="--record takes one source, got 2"):
        open_routes([request], SinkContext(live=True, sources=2))
