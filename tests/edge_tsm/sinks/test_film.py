"""A video file is whole, or an error says how much of it is not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_tsm.datatypes import Frame, Image
from edge_tsm.errors import SinkError
from edge_tsm.sinks import film
from edge_tsm.sinks.film import Film, clip_suffix, count_frames
from edge_tsm.sinks.segments import PAUSE_S, SegmentLimits
from edge_tsm.sinks.video import SavedVideo, write_annotated
from tests.helpers.answers import says
from tests.helpers.disks import fill, small_disk
from tests.helpers.fakes import frames_at

pytestmark = pytest.mark.timeout(60)
SUFFIXES = (".mp4", ".avi")


def noise(count: int, size: tuple[int, int] = (121, 161)) -> list[Image]:
    """Pictures that do not compress, of an odd size."""
    generator = np.random.default_rng(7)
    return [generator.integers(0, 256, (*size, 3), np.uint8) for _ in range(count)]


def frames(count: int, size: tuple[int, int] = (120, 160), *, at_s: float = 0.0) -> list[Frame]:
    return [Frame(image, i, at_s + i / 25) for i, image in enumerate(noise(count, size))]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_film_has_every_picture_and_an_even_size(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    taken = Film(path, fps=25)
    for i, image in enumerate([*noise(10), np.zeros((60, 80, 3), np.uint8)]):
        taken.write(image, i / 25)
    taken.close()
    assert count_frames(path) == 11
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 160
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(25, abs=0.5)


def test_a_film_that_browsers_play_is_h264_and_starts_with_its_index(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    assert clip_suffix() == ".mp4"
    path = tmp_path / "x.mp4"
    taken = Film(path, fps=25)
    times_s = [0.0, 0.04, 0.5, 0.3, 0.34, 900.0, 900.04]  # a step back, and a hole
    for image, time_s in zip(noise(7), times_s, strict=True):
        taken.write(image, time_s)
    taken.close()
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as file:
        assert file.streams.video[0].codec_context.name == "h264"
        assert file.streams.video[0].pix_fmt == "yuv420p"
        found = [frame.time for frame in file.decode(video=0)]
    assert found == pytest.approx([0.0, 0.04, 0.5, 0.54, 0.58, 0.62, 0.66], abs=0.002)


def test_without_pyav_it_is_said_once_that_no_browser_plays_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    only = [kind for kind in film._FORMATS if kind.name in ("MPEG-4 part 2", "MJPEG")]
    monkeypatch.setattr(film, "_FORMATS", only)
    film._best.cache_clear()
    film._warn_unless_played.cache_clear()
    try:
        assert [clip_suffix() for _ in range(3)] == [".avi"] * 3
        for name in ("a.mp4", "b.mp4"):
            write_annotated(tmp_path / name, frames_at([0, 1]), says("wave", 1), fps=1)
        assert caplog.text.count("(.avi), which browsers do not play") == 1
        assert caplog.text.count("MPEG-4 part 2 (.mp4), which browsers do not play") == 1
    finally:
        monkeypatch.undo()
        film._best.cache_clear()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_fills_up_is_an_error_and_leaves_nothing(suffix: str, tmp_path: Path) -> None:
    """It used to leave 10 of 53 frames, and to call that a success."""
    with small_disk(tmp_path / "disk") as disk:
        path = disk / f"x{suffix}"
        with pytest.raises(SinkError, match=r"No space left on device\); \d+ frames are lost"):
            write_annotated(path, frames(200), says("wave", 1.0), fps=25)
        assert list(disk.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_is_full_from_the_start_is_called_full(suffix: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        fill(disk, leave=8192)
        with pytest.raises(SinkError, match="No space left on device"):
            write_annotated(disk / f"x{suffix}", frames(20), says("wave", 1.0), fps=25)
        assert [path.name for path in disk.iterdir()] == ["filler"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_frames_that_a_library_loses_in_silence_are_counted(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no room kept back, OpenCV itself meets the end of the disk."""
    monkeypatch.setattr(film, "MARGIN_BYTES", 0)
    with small_disk(tmp_path / "disk") as disk:
        with pytest.raises(SinkError, match=r"frames were written|No space left on device"):
            write_annotated(disk / f"x{suffix}", frames(200), says("wave", 1.0), fps=25)
        assert list(disk.iterdir()) == []


def saved(folder: Path) -> dict[str, int]:
    return {path.name: count_frames(path) for path in sorted(folder.iterdir())}


def test_a_live_video_is_cut_by_time_and_gone_on_with(tmp_path: Path) -> None:
    limits = SegmentLimits(most_s=1.0)
    for _ in range(2):
        sink = SavedVideo(tmp_path / "x.avi", fps=25, limits=limits)
        for frame in frames(30, (48, 64)):
            sink.frame(frame, "cam")
        sink.close()
    assert saved(tmp_path) == {
        "x-000002.avi": 5,
        "x-000003.avi": 25,
        "x-000004.avi": 5,
        "x.avi": 25,
    }


def test_a_live_video_keeps_to_its_quota(tmp_path: Path) -> None:
    (tmp_path / "x-notes.avi").write_bytes(bytes(10_000_000))
    limits = SegmentLimits(quota_bytes=1_000_000)
    sink = SavedVideo(tmp_path / "x.avi", fps=25, limits=limits)
    for frame in frames(200):
        sink.frame(frame, "cam")
    sink.close()
    own = [path for path in tmp_path.iterdir() if path.name != "x-notes.avi"]
    assert (tmp_path / "x-notes.avi").exists()
    assert not (tmp_path / "x.avi").exists()
    assert 500_000 < sum(path.stat().st_size for path in own) < 1_500_000


def test_a_live_video_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        sink = SavedVideo(disk / "x.avi", fps=25)
        filler = fill(disk)
        failures = 0
        for frame in frames(300, (48, 64)):
            if frame.time_s >= PAUSE_S - 1:
                filler.unlink(missing_ok=True)
            try:
                sink.frame(frame, "cam")
            except SinkError as error:
                failures += 1
                assert "No space left" in str(error)
        sink.close()
        assert failures == PAUSE_S * 25
        assert saved(disk) == {"x.avi": 300 - failures}
