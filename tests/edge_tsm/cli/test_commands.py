"""The commands as a person types them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_tsm.bundle.card import Card
from tests.helpers.command import edge_tsm
from tests.helpers.videos import write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.avi", 30)


@pytest.mark.parametrize(
    "command", [[], ["run"], ["convert"], ["info"], ["verify"], ["frames"], ["doctor"]]
)
def test_help_fits_eighty_columns(command: list[str]) -> None:
    done = edge_tsm(*command, "--help")
    assert done.returncode == 0
    assert "Usage: edge-tsm" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_run_answers_on_a_file(bundle: Path, clip: Path) -> None:
    done = edge_tsm("run", bundle, "--source", clip)
    assert done.returncode == 0, done.stderr
    assert str(clip) in done.stdout
    assert len(done.stdout.splitlines()) == 6
    assert max(map(len, done.stdout.splitlines()[1:])) <= 80
    assert "cpu" in done.stderr


def test_run_prints_json_lines_and_nothing_else(bundle: Path, clip: Path) -> None:
    done = edge_tsm("run", bundle, "--source", clip, "--source", clip, "--json")
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["logits"] == pytest.approx(second["logits"])
    assert first["label"] in Card.read(bundle).labels
    assert done.stderr == ""


def test_run_saves_an_annotated_video(bundle: Path, clip: Path, tmp_path: Path) -> None:
    done = edge_tsm("run", bundle, "--source", clip, "--save", tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_run_finds_the_only_bundle(bundle: Path, clip: Path, tmp_path: Path) -> None:
    done = edge_tsm("run", "--source", clip, cwd=tmp_path)
    assert done.returncode == 3
    assert "no BUNDLE given, and the bundles in this folder are: none" in done.stderr
    (tmp_path / "mine.bundle").symlink_to(bundle)
    done = edge_tsm("run", "--source", clip, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "bundle mine.bundle" in done.stderr


def test_live_answers_end_at_the_asked_number(bundle: Path, clip: Path, tmp_path: Path) -> None:
    """/dev/… is opened as a camera; a video behind it stands in for one."""
    device = Path("/dev/shm") / f"edge-tsm-test-{os.getpid()}.avi"
    shutil.copy(write_video(tmp_path / "x.avi", 3000), device)
    try:
        done = edge_tsm(
            *("run", bundle, "--camera", device, "--window", 0.05, "--every", 0.01),
            *("--max-answers", 2, "--json", "--save", tmp_path / "live.avi"),
        )
    finally:
        device.unlink()
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert second["end_s"] > first["end_s"]
    assert first["end_s"] - first["start_s"] == pytest.approx(0.05, abs=1e-3)
    assert (tmp_path / "live.avi").stat().st_size > 0


def test_info_shows_the_card(bundle: Path) -> None:
    done = edge_tsm("info", bundle)
    assert done.returncode == 0
    card = Card.read(bundle)
    for text in (card.name, str(card.arch["backbone"]), "model.onnx", "uniform, 8 segments"):
        assert text in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    as_json = edge_tsm("info", bundle, "--json")
    assert Card.from_json(as_json.stdout, where="stdout") == card


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_verify_agrees_here(engine: str, bundle: Path) -> None:
    pytest.importorskip(engine)
    done = edge_tsm("verify", bundle, "--engine", engine)
    assert done.returncode == 0, done.stderr
    assert "agree" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("damage", ["model", "golden", "missing"])
def test_verify_notices_damage(damage: str, bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    if damage == "model":
        with (copy / "model.onnx").open("ab") as stream:
            stream.write(b"x")
    elif damage == "missing":
        (copy / "model.onnx").unlink()
    else:
        golden = dict(np.load(copy / "golden.npz"))
        np.savez(copy / "golden.npz", clips=golden["clips"], logits=-golden["logits"])
    done = edge_tsm("verify", copy, "--engine", "onnxruntime")
    assert done.returncode == 10
    assert "broken" in done.stdout
    assert done.stderr.startswith("edge-tsm: error: model.onnx on cpu")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["run", "B", "--source", "nope.mp4"], 4, "nope.mp4 does not exist"),
        (["run", "B", "--camera", "97"], 4, "camera 97 cannot be opened"),
        (["run", "nope.bundle", "--source", "V"], 3, "nope.bundle does not exist"),
        (["run", "B", "--source", "V", "--device", "toaster"], 5, "'toaster' is not available"),
        (["run", "B"], 2, "pass --source FILE or --camera 0"),
        (["run", "B", "--source", "V", "--sauce", "x"], 2, "No such option"),
        (["run", "B", "--source", "V", "--every", "0"], 2, "x>0"),
        (["run", "B", "--source", "V", "--save", "x.gif"], 6, "save as a file, .mp4 or .avi"),
        (["run", "B", "--source", "V", "--source", "V", "--save", "x.mp4"], 2, "one source, got 2"),
        (["info", "nope"], 3, "not a bundle"),
        (["verify", "nope"], 3, "not a bundle"),
        (["cnvert", "x"], 2, "Did you mean 'convert'?"),
        (["convert", "nope.pth"], (7, 8), "nope.pth does not exist|needs torch"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    code: int | tuple[int, ...],
    told: str,
    bundle: Path,
    clip: Path,
    tmp_path: Path,
) -> None:
    import re

    names = {"B": str(bundle), "V": str(clip)}
    done = edge_tsm(*(names.get(a, a) for a in arguments), cwd=tmp_path)
    assert done.returncode in (code if isinstance(code, tuple) else (code,))
    assert re.search(told, done.stderr)
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(("edge-tsm: error:", "Error:"))
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(bundle: Path) -> None:
    done = edge_tsm("--debug", "run", bundle, "--source", "nope.mp4")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_save_never_destroys(bundle: Path, clip: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.avi"
    shutil.copy(clip, own)
    before = own.read_bytes()
    done = edge_tsm("run", bundle, "--source", own, "--save", own, "--force")
    assert (done.returncode, own.read_bytes()) == (6, before)
    assert "is the source itself" in done.stderr
    (tmp_path / "other.mp4").write_text("precious")
    done = edge_tsm("run", bundle, "--source", own, "--save", tmp_path / "other.mp4")
    assert (done.returncode, (tmp_path / "other.mp4").read_text()) == (6, "precious")
    done = edge_tsm("run", bundle, "--source", own, "--save", tmp_path / "other.mp4", "--force")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "other.mp4").stat().st_size > 100


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_narrow_terminal_encoding_loses_no_answer(
    encoding: str, bundle: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    for arguments in (["run", bundle, "--source", clip], ["verify", bundle], ["info", bundle]):
        done = edge_tsm(*arguments)
        assert done.returncode == 0, done.stderr


def test_a_full_output_is_one_line(bundle: Path, clip: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edge_tsm", "run", bundle, "--source", clip],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert done.returncode != 0
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_verify_skips_what_an_engine_does_not_offer(bundle: Path) -> None:
    pytest.importorskip("openvino")
    done = edge_tsm("verify", bundle, "--engine", "onnxruntime", "--precision", "bf16")
    assert done.returncode == 5
    assert "skipped (precision 'bf16' is not offered" in done.stdout


def test_help_needs_no_opencv(tmp_path: Path) -> None:
    """A machine without OpenCV gets help, and one line where pictures are wanted."""
    (tmp_path / "cv2.py").write_text("raise ImportError('no OpenCV here')")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    for command, code in (["demo", "--help"], 0), (["--help"], 0), (["demo"], 4):
        done = subprocess.run(
            [sys.executable, "-m", "edge_tsm", *command],
            capture_output=True, text=True, timeout=120, env=env,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
    assert "OpenCV is needed" in done.stderr


@pytest.mark.parametrize(("thread", "by_python"), [("edge-tsm read", False), ("another", True)])
def test_a_thread_that_hangs_in_a_library_cannot_abort_the_end(
    thread: str, by_python: bool
) -> None:
    """One that returns to C++ while Python ends would, so Python's own end is left out."""
    code = (
        "import atexit, sys, threading; from edge_tsm.__main__ import entry\n"
        "atexit.register(print, 'ended by Python')\n"
        "hangs = threading.Event().wait\n"
        f"threading.Thread(target=hangs, name={thread!r}, daemon=True).start()\n"
        "sys.argv[1:] = ['info', 'nowhere'] if len(sys.argv) > 1 else ['--version']; entry()"
    )
    for arguments, status in (((), 0), (("x",), 3)):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert done.returncode == status, done.stderr
        assert ("ended by Python" in done.stdout) == by_python
        assert done.stdout.startswith("edge-tsm, version") or "nowhere" in done.stderr
