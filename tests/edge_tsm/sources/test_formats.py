"""Which files are clips, which pictures are one clip, and videos that are damaged."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from edge_tsm.errors import SourceError
from edge_tsm.sources import (
    ImageFolder,
    SourceOptions,
    VideoFile,
    count_frames,
    is_video,
    remark,
)
from edge_tsm.sources.decoding import OpenCvDecoder
from edge_tsm.sources.formats import pictures_of
from edge_tsm.sources.transform import TransformedSource
from tests.helpers.paths import touch
from tests.helpers.videos import write_video


@pytest.mark.parametrize(
    "names",
    [
        ["img_00001.jpg", "img_00002.jpg", "flow_x_00001.jpg", "flow_y_00001.jpg"],
        ["00001.jpg", "00002.jpg", "x_00001.jpg", "y_00001.jpg"],
        ["image_1.png", "image_2.png", "depth_1.png", "mask_1.png"],
        ["img_1.jpg", "img_2.jpg", "cover.jpg", "thumb.jpg"],
        ["img_1.jpg", "img_2.jpg", "._img_1.jpg", ".hidden.jpg"],
        ["a.jpg", "b.jpg"],
        ["flow_x_1.jpg", "flow_x_2.jpg"],
    ],
)
def test_one_form_of_name_is_the_clip(names: list[str], tmp_path: Path) -> None:
    touch(tmp_path, *names)
    assert [path.name for path in pictures_of(tmp_path).files] == names[:2]
    assert count_frames(tmp_path) == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cam1_1.jpg", "left_1.jpg", "left_2.jpg"], r"several clips: left_#.*cam#_#.*left_\*"),
        (["img_1.jpg", "img_1.png"], r"img_#\.jpg \(1\), img_#\.png \(1\)"),
        (["flow_x_1.jpg", "flow_y_1.jpg"], "optical flow and no pictures"),
        (["._a.jpg"], "holds no images"),
    ],
)
def test_several_clips_in_one_folder_are_refused(
    names: list[str], message: str, tmp_path: Path
) -> None:
    touch(tmp_path, *names)
    with pytest.raises(SourceError, match=message):
        ImageFolder(tmp_path)


def test_videos_without_a_known_suffix_are_found_by_content(tmp_path: Path) -> None:
    write_video(tmp_path / "x.avi", 3).rename(tmp_path / "recording")
    touch(tmp_path, "b.h264", "c.m2ts", "d.doc")
    (tmp_path / "ts.part").write_bytes((b"\x47" + bytes(187)) * 2)
    found = sorted(path.name for path in tmp_path.iterdir() if is_video(path))
    assert found == ["b.h264", "c.m2ts", "recording", "ts.part"]
    assert not is_video(tmp_path / "nowhere")


def test_frames_behind_a_damaged_part_are_used_and_counted(shared: Path) -> None:
    path = shared / "cases/videos/corrupt_mid.mkv"
    if not path.is_file():
        pytest.skip(f"no case at {path}")
    video = VideoFile(path)
    frames = video.sample(lambda count: [0, count - 1])
    assert frames[1].index == 51
    assert video.damage == "52 of 53 frames can be decoded"


def test_an_early_end_is_counted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.avi", 50)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    video = VideoFile(path)
    count = len(video.sample(range))
    assert video.damage == f"{count} of 50 frames can be decoded"
    assert remark(TransformedSource(video, SourceOptions(rotate=90))) == video.damage
    whole = VideoFile(write_video(tmp_path / "y.avi", 50))
    assert (len(whole.sample(range)), whole.damage) == (50, "")


def test_a_codec_that_cannot_be_decoded_is_named_with_the_way_out(shared: Path) -> None:
    path = shared / "cases/videos/av1.mp4"
    if not path.is_file():
        pytest.skip(f"no case at {path}")
    if cv2.VideoCapture(str(path)).grab():
        pytest.skip("this OpenCV decodes AV1")
    with pytest.raises(SourceError, match=r"codec is AV1.*edge-tsm\[av\].*-c:v libx264"):
        VideoFile(path, decoder=OpenCvDecoder).sample(range)


def test_a_codec_that_pyav_knows_is_read(shared: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    path = shared / "cases/videos/av1.mp4"
    if not path.is_file():
        pytest.skip(f"no case at {path}")
    assert len(VideoFile(path).sample(lambda count: [0, count - 1])) == 2


def test_flow_beside_pictures_is_left(shared: Path) -> None:
    folder = shared / "cases/frames/flowmix"
    if not folder.is_dir():
        pytest.skip(f"no case at {folder}")
    source = ImageFolder(folder)
    assert len(source) == len(list(source)) == 24
    assert source.note == "img_#.jpg (24) taken, flow_x_#.jpg (24), flow_y_#.jpg (24) left"
