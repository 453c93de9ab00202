"""Recordings from anybody: read from their own folder only, or refused in one line."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_tsm.errors import SourceError
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.capture import CaptureOptions
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.sources import open_source
from edge_tsm.sources.replay import Replay
from edge_tsm.system.clock import VirtualClock
from tests.helpers.fakes import FakeBackend, make_card
from tests.helpers.paths import SHARED

CASES = SHARED / "cases" / "live" / "replay"
pytestmark = pytest.mark.timeout(60)


def write_image(path: Path) -> None:
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))


def recording(folder: Path, *lines: object, end: str = "\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_image(folder / "a.png")
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "frames.jsonl").write_text("\n".join(texts) + end, encoding="utf-8")
    return folder


def frame(**changes: object) -> dict[str, object]:
    return {"file": "a.png", "index": 0, "time_s": 0.0, "gap": False, **changes}


def play(folder: Path) -> list[float]:
    source = open_source(f"replay:{folder}", clock=VirtualClock(0.0))
    return [f.time_s for f in source]


@pytest.mark.parametrize(
    "line",
    [
        "[{}]",
        "{}",
        '"x}"',
        "{",
        "nonsense",
        "[" * 5000 + "}",
        "1" * 5000,
        frame(x=1),
        {"file": "a.png"},
        frame(time_s="0"),
        frame(time_s=1e300),
        frame(time_s=float("nan")),
        frame(time_s=float("inf")),
        frame(time_s=None),
        frame(index=1.5),
        frame(index=-1),
        frame(index=10**30),
        frame(gap=0),
        frame(file=5),
        frame(file=""),
        frame(file=".."),
        frame(file="../a.png"),
        frame(file="/etc/hostname"),
        frame(file="sub/a.png"),
        frame(file="a.png\0"),
        frame(file="\ud800.png"),
    ],
)
def test_odd_records_are_refused_in_one_line(line: object, tmp_path: Path) -> None:
    folder = recording(tmp_path / "r", frame(), line, frame(index=2, time_s=1.0))
    with pytest.raises(SourceError) as caught:
        play(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    assert play(recording(tmp_path / "a", frame(), '{"file": "a.p', end="")) == [0.0]
    assert play(recording(tmp_path / "b", frame(), frame(time_s=1.0), end="")) == [0.0, 1.0]


@pytest.mark.parametrize("target", ["../outside.png", "/dev/zero", "sub"])
def test_links_and_devices_are_not_followed(target: str, tmp_path: Path) -> None:
    write_image(tmp_path / "outside.png")
    folder = recording(tmp_path / "r", frame(file="link.png"))
    (folder / "sub").mkdir()
    (folder / "link.png").symlink_to(target)
    with pytest.raises(SourceError, match=r"link.png is not a file of the recording"):
        play(folder)


def test_a_list_that_has_no_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "frames.jsonl").symlink_to("/dev/zero")
    with pytest.raises(SourceError):
        play(tmp_path)


def test_a_picture_that_expands_without_bound_is_refused(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    size = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    folder = recording(tmp_path / "r", frame(file="bomb.png"))
    (folder / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    )
    with pytest.raises(SourceError, match="cannot be decoded"):
        play(folder)


def test_far_apart_frames_take_no_time_of_their_own(tmp_path: Path) -> None:
    """Ten billion seconds between two frames are one step of the clock and of the cadence."""
    times_s = [0.0, 0.5, 1e10]
    folder = recording(
        tmp_path / "r", *(frame(index=i, time_s=time_s) for i, time_s in enumerate(times_s))
    )
    clock = VirtualClock(0.0)
    source = Replay(folder, clock=clock)
    model = Recognizer(make_card(), FakeBackend())
    assert list(Pipeline(source, model, capture=CaptureOptions(clock=clock))) == []


@pytest.mark.skipif(not CASES.is_dir(), reason="needs shared/")
def test_the_cases_end_in_one_line(tmp_path: Path) -> None:
    write_image(tmp_path / "rp_outside.png")
    for case in sorted(CASES.iterdir()):
        folder = Path(shutil.copytree(case, tmp_path / "x" / case.name))
        write_image(folder / "a.png")
        with pytest.raises(SourceError) as caught:
            play(folder)
        assert "\n" not in str(caught.value), case.name
