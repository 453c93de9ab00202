"""`edge-tsm run` on live sources, as a user types it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_tsm.cli import main
from edge_tsm.events import EventStore
from edge_tsm.sinks.recorder import Recorder
from tests.helpers.fakes import frames_at
from tests.helpers.http_servers import free_port
from tests.helpers.videos import write_video

pytestmark = pytest.mark.timeout(200)
CAMERA = ("--camera", "test://160x120/15", "--window", "0.6", "--every", "0.3")


def run(bundle: Path, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["run", str(bundle), *map(str, arguments)])


def records(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_camera_answers_until_it_has_answered_enough(bundle: Path) -> None:
    done = run(bundle, *CAMERA, "--json", "--max-answers", 2)
    assert done.exit_code == 0, done.stderr
    first, _ = records(done)
    assert (first["source"], first["address"]) == ("0", "test://160x120/15")
    assert isinstance(first["latency_ms"], float)
    assert isinstance(first["ages_s"], list)
    assert max(first["ages_s"]) <= 0.6 + 0.1


def test_two_cameras_and_their_figures(bundle: Path) -> None:
    both = (*CAMERA, "--camera", "hall=test://64x48/10", "--max-answers", 6, "--stats", 0.2)
    done = run(bundle, *both)
    assert done.exit_code == 0, done.stderr
    for name in ("0 (test://160x120/15)", "hall (test://64x48/10)"):
        assert name in done.stdout
        assert f"edge-tsm: {name} live: " in done.stderr


def test_what_was_recorded_is_answered_alike(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    rate = ("--window", "0.6", "--every", "0.3", "--json")
    live = run(bundle, *CAMERA, "--json", "--max-answers", 3, "--record", folder)
    assert live.exit_code == 0, live.stderr
    again = [
        [(a["frames"], a["label"], a["logits"]) for a in records(run(bundle, *source, *rate))]
        for source in [("--source", f"replay:{folder}")] * 2
    ]
    assert again[0] == again[1]
    for answer in records(live):
        assert (answer["frames"], answer["label"], answer["logits"]) in again[0]
    more = run(bundle, *CAMERA, "--record", folder, "--max-answers", 1)
    assert more.exit_code == 0, more.stderr
    assert [path.name for path in sorted(folder.iterdir())] == ["000001", "000002"]


def test_a_video_as_a_stream_is_answered_faster_than_it_was_filmed(
    bundle: Path, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "x.avi", 60)
    done = run(
        bundle, "--source", f"replay:{video}", "--window", 1, "--every", 0.5, "--json",
        "--save", tmp_path / "out.avi",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert [a["end_s"] for a in records(done)] == [1.0, 1.52, 2.0]
    assert (tmp_path / "out.avi").stat().st_size > 0


def test_stdin(bundle: Path) -> None:
    """Raw frames come as fast as the pipe gives them: too fast for a window to fill."""
    command = [sys.executable, "-m", "edge_tsm", "run", bundle, "--source", "-", "--size", "8x6"]
    done = subprocess.run(command, input=bytes(8 * 6 * 3 * 5), capture_output=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"0 (standard input): no answer, as 5 frames did not fill a window of " in done.stderr


def test_a_camera_too_slow_for_the_window_is_a_warning(bundle: Path, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "slow")
    for frame in frames_at(range(12), (24, 32)):
        recorder.frame(frame)
    recorder.close()
    done = run(bundle, "--source", f"replay:{tmp_path}/slow", "--window", 2)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.count("did not fill a window of 2 s without a hole; see --window") == 1
    assert "no answer, as 7 frames" in done.stderr  # at 6 s, in the recording's own time


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--camera", "rtsp://bob:hunter2@127.0.0.1:9/x", "--timeout", "2"], 4, "rtsp://***@127"),
        (["--camera", "test://", "--crop", "0,0,9999,9999"], 4, "lies outside its pictures"),
        (["--camera", "test://", "--crop", "1,2"], 2, "LEFT,TOP,WIDTH,HEIGHT"),
        (["--camera", "test://", "--size", "5"], 2, "WIDTHxHEIGHT"),
        (["--source", "V", "--size", "64x48"], 2, "a size cannot be asked of"),
        (["--source", "V", "--fps", "5"], 2, "has a rate of its own"),
        (["--source", "V", "--show"], 2, "is for live sources"),
        (["--record", "nowhere", "--source", "V"], 2, "--record is for live sources"),
        (["--source", "replay:V", "--camera", "test://"], 2, "without other sources"),
        (["--camera", "test://", "--source", "V", "--save", "x.avi"], 2, "one source, got 2"),
        (["--source", "gopher://x"], 4, "scheme 'gopher' is unknown"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], code: int, message: str, bundle: Path, tmp_path: Path
) -> None:
    video = str(write_video(tmp_path / "x.avi", 3))
    done = run(bundle, *(a.replace("V", video) if "V" in a[-1:] else a for a in arguments))
    assert (done.exit_code, message in done.stderr) == (code, True), done.stderr
    assert "hunter2" not in done.output
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signals_end_it_with_its_outputs_whole(
    number: signal.Signals, code: int, bundle: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "edge_tsm", "run", bundle, *CAMERA, "--json"]
    command += ["--on", "0", "--off", "0", "--webhook", f"http://127.0.0.1:{free_port()}"]
    film, events = tmp_path / "film" / "x.avi", tmp_path / "events.db"
    film.parent.mkdir()
    with subprocess.Popen(
        [*command, "--save", film, "--events", events],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        json.loads(process.stdout.readline())
        process.send_signal(number)
        out, err = process.communicate(timeout=100)
    assert process.returncode == code, err
    last = [json.loads(line) for line in out.splitlines()][-1]
    assert [event["kind"] for event in last["decision"]["events"]] == ["end"]
    assert film.stat().st_size > 0
    assert [p.name for p in film.parent.iterdir()] == ["x.avi"]
    assert "Traceback" not in err
    with EventStore(events) as store:  # the server was away all the time
        counts, kinds = store.register("webhook"), list[str]()
        while (message := store.next("webhook")) is not None:
            store.settle("webhook", message)
            kinds.append(message.kind)
        assert kinds.count("start") == kinds.count("end") == len(store.events()) > 0
        assert all(event.kind == "end" for event in store.events())
    assert f"{counts.pending} messages were not taken yet; they come with the next start" in err
