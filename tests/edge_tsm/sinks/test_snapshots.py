"""Snapshots and clips of what happened, in a folder that stays small."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_tsm.datatypes import Frame
from edge_tsm.errors import SinkError
from edge_tsm.events import EventStore, Limits
from edge_tsm.sinks.dispatcher import Dispatcher, Route
from edge_tsm.sinks.retention import RetainedFolder
from edge_tsm.sinks.snapshots import EventClips, Snapshots
from edge_tsm.system.clock import VirtualClock
from tests.helpers.answers import answer_with as answer
from tests.helpers.answers import says, started, stored
from tests.helpers.disks import fill, small_disk
from tests.helpers.fakes import frames_at

SIZE = (48, 64)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def retained(folder: Path, suffix: str = ".jpg", **limits: Any) -> RetainedFolder:
    return RetainedFolder(folder, suffix, wall=lambda: 1_000_000_000.0, **limits)


def put(files: RetainedFolder, number: int, write: Callable[[Path], object]) -> Path:
    return files.put(replace(stored(number), label="a/b c"), "cam", lambda path: write(path))


def test_a_start_saves_the_newest_picture_of_its_source(tmp_path: Path) -> None:
    sink = Snapshots(retained(tmp_path / "new"))
    sink.frame(Frame(np.full((*SIZE, 3), 200, np.uint8), 0, 1.0), "front")
    sink.frame(Frame(np.full((*SIZE, 3), 50, np.uint8), 0, 1.0), "back")
    sink.write(says("wave", 1.0), "front")
    sink.write(started(), "front")
    sink.write(started(), "unknown")
    assert names(tmp_path / "new") == [
        "edge-tsm-000001-20261124T120000Z-front-wave-000000000000.jpg"
    ]
    image = cv2.imread(str(next((tmp_path / "new").iterdir())))
    assert image.shape == (*SIZE, 3)
    assert abs(int(image.mean()) - 200) <= 2


def test_a_clip_has_what_was_before_and_after(tmp_path: Path) -> None:
    sink = EventClips(retained(tmp_path, ".avi"), before_s=1.0, after_s=2.0)
    for frame in frames_at([i / 10 for i in range(100)], SIZE):
        sink.frame(frame, "cam")
        if frame.index == 50:
            sink.write(started(told_s=5.0), "cam")
    sink.close()
    [path] = tmp_path.iterdir()
    capture = cv2.VideoCapture(str(path))
    grays = []
    while (got := capture.read())[0]:
        grays.append(round(float(got[1].mean())))
    assert grays == pytest.approx(list(range(40, 71)), abs=2)
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10, abs=0.1)


def test_a_clip_that_the_end_or_a_gap_cuts_short_is_saved(tmp_path: Path) -> None:
    sink = EventClips(retained(tmp_path, ".avi"))
    for frame in frames_at([0, 0.1, 0.2], SIZE):
        sink.frame(frame, "cam")
    sink.write(started("wave", 0.2), "cam")
    sink.frame(Frame(frame.image, 9, 50.0, gap=True), "cam")
    sink.frame(Frame(frame.image, 10, 50.1), "cam")
    sink.write(started("clap", 50.1), "cam")
    sink.close()
    assert [name.split("-")[-2] for name in names(tmp_path)] == ["wave", "clap"]


def test_the_pictures_that_a_clip_holds_are_bounded(tmp_path: Path) -> None:
    sink = EventClips(retained(tmp_path, ".avi"), before_s=0.1, after_s=0.1)
    for frame in frames_at([5.0] * 500, (4, 4)):
        sink.frame(frame, "cam")
    assert len(sink._reels["cam"].pictures) <= 24


@pytest.mark.parametrize(("limits", "kept"), [({"most_files": 2}, 2), ({"most_bytes": 25}, 2)])
def test_the_oldest_own_files_go(limits: dict[str, int], kept: int, tmp_path: Path) -> None:
    (tmp_path / "mine.jpg").write_bytes(b"x" * 1000)
    (tmp_path / "edge-tsm-000001-x-y.avi").write_bytes(b"x" * 1000)
    (tmp_path / "edge-tsm-000000-x-link.jpg").symlink_to(tmp_path / "mine.jpg")
    for number in range(5):
        files = retained(tmp_path, **limits)
        path = put(files, number, lambda path: path.write_bytes(b"0123456789"))
        assert re.fullmatch(
            rf"edge-tsm-{number + 1:06}-20261124T12000{number}Z-cam-a_b_c-\w+\.jpg", path.name
        )
    own = [name for name in names(tmp_path) if "a_b_c" in name]
    assert [int(name.split("-")[2]) for name in own] == [5 - kept + 1 + i for i in range(kept)]
    assert len(names(tmp_path)) == kept + 3


def test_processes_that_share_a_folder_replace_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from edge_tsm.sinks.retention import RetainedFolder;"
        "from dataclasses import replace; from tests.helpers.answers import stored;"
        "from edge_tsm.system.ids import IdFactory; new_id = IdFactory();"
        "files = RetainedFolder(Path(sys.argv[1]), '.jpg', wall=lambda: 1e9);"
        "[files.put(replace(stored(1), id=new_id()), 'cam', lambda path:"
        " path.write_text(sys.argv[2])) for _ in range(50)]"
    )
    made = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name]) for name in "ab"]
    assert [process.wait(60) for process in made] == [0, 0]
    assert "".join(sorted(p.read_text() for p in tmp_path.iterdir())) == "a" * 50 + "b" * 50


def test_one_file_larger_than_the_limit_stays_alone(tmp_path: Path) -> None:
    small = retained(tmp_path, most_bytes=1)
    put(small, 1, lambda path: path.write_bytes(b"xx"))
    newest = put(small, 2, lambda path: path.write_bytes(b"xx"))
    assert names(tmp_path) == [newest.name]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(SinkError, match="No space left"):
        put(retained(tmp_path), 1, full)
    assert names(tmp_path) == []


def test_left_overs_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    for name, age_s in (("old", 7200), ("new", 60)):
        path = tmp_path / f".edge-tsm-{name}.jpg"
        path.touch()
        os.utime(path, (1_000_000_000 - age_s,) * 2)
    retained(tmp_path)
    assert names(tmp_path) == [".edge-tsm-new.jpg"]


def test_a_folder_that_cannot_be() -> None:
    with pytest.raises(SinkError, match="/proc/x: cannot be made"):
        RetainedFolder(Path("/proc/x"), ".jpg")


def test_files_are_of_their_event_and_go_with_it(tmp_path: Path) -> None:
    with EventStore(tmp_path / "events.db", limits=Limits(most_events=2)) as store:
        snapshots = Snapshots(retained(tmp_path / "starts", store=store))
        clips = EventClips(retained(tmp_path / "clips", ".mp4", store=store), after_s=0.1)
        for number in range(4):
            for frame in frames_at([number + i / 10 for i in range(10)], SIZE):
                snapshots.frame(frame, "porch")
                clips.frame(frame, "porch")
                if frame.index == 5:
                    start = answer(stored(number))
                    snapshots.write(start, "porch")
                    clips.write(start, "porch")
        clips.close()
        kept = [media for event in store.events() for media in event.media]
        assert sorted(media.kind for media in kept) == ["clip", "clip", "snapshot", "snapshot"]
        files = [*(tmp_path / "starts").iterdir(), *(tmp_path / "clips").iterdir()]
        assert {media.path for media in kept} == {str(path) for path in files}
        RetainedFolder(tmp_path / "starts", ".jpg", store=store, most_files=1)._trim()
        assert [media.kind for event in store.events() for media in event.media].count(
            "snapshot"
        ) == 1
        assert {stat.S_IMODE(path.stat().st_mode) for path in files if path.exists()} == {0o600}
        assert stat.S_IMODE((tmp_path / "starts").stat().st_mode) == 0o700


def test_a_full_disk_is_one_line_for_all_the_events_of_an_outage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It used to be two for each event: a failure, and 'delivers again' after the next picture."""
    clock = VirtualClock()
    with small_disk(tmp_path / "disk") as disk:
        sink = Snapshots(RetainedFolder(disk / "starts", ".jpg"))
        route = Route("snapshots", sink, events_only=True)
        with Dispatcher([route], lossless=True, clock=clock) as dispatcher:
            filler = fill(disk)
            for frame in frames_at([n / 10 for n in range(30)], (480, 640)):
                if frame.index == 20:
                    settle(dispatcher, clock, failed=19)
                    filler.unlink()
                dispatcher.frame(frame, "cam")
                dispatcher.write(answer(stored(frame.index)), "cam")
    counts = dispatcher.counts()["snapshots"]
    assert (counts.failed, counts.delivered) == (20, 10)
    assert [record.getMessage().split("(")[0] for record in caplog.records] == [
        f"snapshots: {disk}/starts/{NAME}: cannot be written ",
        "snapshots: delivers again, after 20 failures",
    ]


NAME = "edge-tsm-000001-20261124T120000Z-cam-wave-000000000000.jpg"


def settle(dispatcher: Dispatcher, clock: VirtualClock, *, failed: int) -> None:
    with (changed := clock.condition()):
        while dispatcher.counts()["snapshots"].failed <= failed:
            changed.wait(0.1)
