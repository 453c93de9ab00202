"""A recording goes on: over segments, restarts and full disks."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from edge_tsm.errors import SinkError
from edge_tsm.sinks.recorder import Recorder
from edge_tsm.sinks.segments import PAUSE_S, SegmentLimits
from edge_tsm.sources import SourceOptions
from edge_tsm.sources.replay import LIST_FILE, open_replay, segments_of
from edge_tsm.system.clock import VirtualClock
from tests.helpers.disks import fill, small_disk
from tests.helpers.fakes import frames_at

pytestmark = pytest.mark.timeout(60)
SIZE = (48, 64)


def record(folder: Path, times_s: list[float], limits: SegmentLimits | None = None) -> None:
    recorder = Recorder(folder, limits=limits)
    for frame in frames_at(times_s, SIZE):
        recorder.frame(frame)
    recorder.close()


def replayed(folder: Path) -> list[tuple[int, float, bool]]:
    """Gray level, time and gap of every frame, in the recording's own time."""
    clock = VirtualClock(open_replay(f"replay:{folder}", SourceOptions(), VirtualClock()).start_s)
    source = open_replay(f"replay:{folder}", SourceOptions(), clock)
    return [(int(f.image[0, 0, 0]), round(f.time_s, 3), f.gap) for f in source]


def test_segments_are_one_recording(tmp_path: Path) -> None:
    times_s = [100 + i / 10 for i in range(30)]
    record(tmp_path / "r", times_s, SegmentLimits(most_s=1.0))
    assert [path.name for path in segments_of(tmp_path / "r")] == ["000001", "000002", "000003"]
    assert replayed(tmp_path / "r") == [(i, round(t, 3), False) for i, t in enumerate(times_s)]


def test_a_recording_is_gone_on_with_after_a_restart(tmp_path: Path) -> None:
    """The same command used to fail with 'exists'. The clock of a machine starts anew with it."""
    record(tmp_path / "r", [1000.0, 1000.1, 1000.2])
    record(tmp_path / "r", [5.0, 5.1])
    frames = replayed(tmp_path / "r")
    assert [gap for _, _, gap in frames] == [False, False, False, True, False]
    times_s = [time_s for _, time_s, _ in frames]
    assert times_s == sorted(times_s)
    assert times_s[-1] - times_s[0] < 10


def test_the_oldest_segments_go(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "notes.txt").write_text("mine")
    record(tmp_path / "r", [i / 10 for i in range(300)], SegmentLimits(quota_bytes=20_000))
    segments = segments_of(tmp_path / "r")
    assert segments[0].name > "000001"
    assert sum(f.stat().st_size for path in segments for f in path.iterdir()) < 30_000
    assert (tmp_path / "r" / "notes.txt").exists()
    assert replayed(tmp_path / "r")[-1][0] == 299 % 256


def test_a_full_disk_stops_it_and_room_lets_it_go_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        recorder, failures = Recorder(disk / "r"), 0
        for frame in frames_at([i / 10 for i in range(100)], SIZE):
            if frame.index == 10:
                filler = fill(disk)
            if frame.index == 40:
                filler.unlink()
            try:
                recorder.frame(frame)
            except SinkError as error:
                failures += 1
                assert str(error) == f"{disk}/r: cannot record to it (No space left on device)"
        recorder.close()
        assert failures == PAUSE_S * 10
        levels = [level for level, _, _ in replayed(disk / "r")]
        assert levels == [*range(10), *range(60, 100)]
        files = [file for path in segments_of(disk / "r") for file in path.iterdir()]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_an_old_recording_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / LIST_FILE).touch()
    with pytest.raises(SinkError, match="record to another folder"):
        record(tmp_path, [0.0])
