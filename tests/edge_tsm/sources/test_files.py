"""Files as they are in the world: lying counts, one frame, no video, cut off."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_tsm.errors import SourceError
from edge_tsm.inference.sampling import uniform_indices
from edge_tsm.sources import Camera, ImageFolder, VideoFile, open_source
from edge_tsm.sources.decoding import OpenCvDecoder
from tests.helpers.videos import levels, write_video


def eight(count: int) -> list[int]:
    return uniform_indices(count, 8)


@pytest.mark.parametrize("count", [1, 3, 8, 50])
def test_sampled_frames_are_the_chosen_ones(count: int, tmp_path: Path) -> None:
    source = VideoFile(write_video(tmp_path / "x.avi", count))
    frames = source.sample(eight)
    assert [frame.index for frame in frames] == eight(count)
    assert levels(frames) == eight(count)
    assert [frame.time_s for frame in frames] == pytest.approx([i / 25 for i in eight(count)])


def test_iteration_gives_every_frame(tmp_path: Path) -> None:
    source = VideoFile(write_video(tmp_path / "x.avi", 12))
    assert levels(list(source)) == list(range(12))
    assert levels(list(source)) == list(range(12))
    assert (source.live, source.fps) == (False, 25.0)


def test_progress_is_reported(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    VideoFile(write_video(tmp_path / "x.avi", 5)).sample(eight, progress=lambda *a: calls.append(a))
    assert calls == [(i, 5) for i in range(1, 6)]


class LyingDecoder(OpenCvDecoder):
    """A container that claims another frame count, as many do."""

    def __init__(self, path: Path, threads: int | None, *, claimed: int) -> None:
        super().__init__(path, threads)
        self.claimed = claimed


@pytest.mark.parametrize("claimed", [-5, 0, 7, 49, 51, 5000])
def test_frame_counts_that_lie_are_not_believed(claimed: int, tmp_path: Path) -> None:
    lying = partial(LyingDecoder, claimed=claimed)
    source = VideoFile(write_video(tmp_path / "x.avi", 50), decoder=lying)
    assert levels(source.sample(eight)) == eight(50)


def test_a_cut_off_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.avi", 50)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = VideoFile(path).sample(eight)
    count = len(list(VideoFile(path)))
    assert 5 < count < 50
    assert [frame.index for frame in frames] == eight(count)


@pytest.mark.parametrize("content", [b"", b"this is no video", b"\x00" * 5000])
def test_what_is_no_video_is_said(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(SourceError, match=r"x\.mp4"):
        VideoFile(tmp_path / "x.mp4").sample(eight)


needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True, timeout=60)


@needs_ffmpeg
def test_sound_without_pictures(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", str(tmp_path / "x.m4a"))
    with pytest.raises(SourceError, match="holds no video"):
        open_source(tmp_path / "x.m4a")


@needs_ffmpeg
def test_variable_frame_rate(tmp_path: Path) -> None:
    """Every decoded frame counts once, however long it was shown; times are the file's."""
    rate = "select='lt(n,20)+not(mod(n,5))'"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc=rate=25:duration=4", "-vf", rate, "-fps_mode", "vfr"),
        *("-c:v", "mpeg4", str(tmp_path / "x.mp4")),
    )
    frames = list(VideoFile(tmp_path / "x.mp4"))
    assert len(frames) == 36
    assert frames[-1].time_s == pytest.approx(95 / 25, abs=0.05)
    picked = VideoFile(tmp_path / "x.mp4").sample(eight)
    assert [f.index for f in picked] == eight(36)


@needs_ffmpeg
def test_a_damaged_middle(tmp_path: Path) -> None:
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc=rate=25:duration=4", "-c:v", "mpeg4", str(tmp_path / "x.mp4")
    )
    data = bytearray((tmp_path / "x.mp4").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = b"\x00" * 2000
    (tmp_path / "x.mp4").write_bytes(data)
    frames = VideoFile(tmp_path / "x.mp4").sample(eight)
    assert len(frames) == 8


def test_a_folder_of_images_in_order(tmp_path: Path) -> None:
    for i in (3, 1, 2):
        cv2.imwrite(str(tmp_path / f"img_{i:05d}.png"), np.full((48, 64, 3), 4 * i, np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    source = open_source(tmp_path)
    assert isinstance(source, ImageFolder)
    assert levels(list(source)) == [1, 2, 3]
    assert levels(source.sample(lambda count: [0, count - 1, 0])) == [1, 3, 1]


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no images"):
        open_source(tmp_path)


def test_an_image_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(SourceError, match=r"a\.png cannot be decoded"):
        list(ImageFolder(tmp_path))


def test_a_missing_file() -> None:
    with pytest.raises(SourceError, match=r"nope\.mp4 does not exist"):
        open_source("nope.mp4")


def test_a_missing_camera_lists_what_is_there() -> None:
    with pytest.raises(SourceError, match="camera 97 cannot be opened; cameras here:"):
        open_source("97")


def test_a_camera_delivers_until_it_fails(tmp_path: Path) -> None:
    """OpenCV reads a file as it reads a camera: a device that stops after five frames."""
    camera = Camera(str(write_video(tmp_path / "x.avi", 5)))
    frames = []
    with pytest.raises(SourceError, match="stopped delivering frames after 5"):
        frames.extend(iter(camera))
        for frame in camera:
            frames.append(frame)


def test_closing_a_camera_ends_its_iteration(tmp_path: Path) -> None:
    camera = Camera(str(write_video(tmp_path / "x.avi", 5)))
    seen = []
    for frame in camera:
        seen.append(frame.time_s)
        if len(seen) == 2:
            camera.close()
    assert len(seen) == 2
    assert seen == sorted(seen)


def test_frames_are_ordered_by_number_not_by_text(tmp_path: Path) -> None:
    for i in (10, 2, 1, 11):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((48, 64, 3), 4 * i, np.uint8))
    assert levels(list(ImageFolder(tmp_path))) == [1, 2, 10, 11]


def test_a_folder_called_by_a_number_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("12345").mkdir()
    cv2.imwrite("12345/00001.png", np.zeros((48, 64, 3), np.uint8))
    assert isinstance(open_source("12345"), ImageFolder)


def test_a_name_that_is_no_utf8_is_an_error_not_a_crash(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/lat\xfcn.avi"))
    shutil.copy(write_video(tmp_path / "x.avi", 3), path)
    with pytest.raises(SourceError, match="not valid UTF-8"):
        open_source(path)


def test_a_dangling_link_is_an_error_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").symlink_to(tmp_path / "gone.mp4")
    with pytest.raises(SourceError, match="does not exist"):
        VideoFile(tmp_path / "x.mp4")
