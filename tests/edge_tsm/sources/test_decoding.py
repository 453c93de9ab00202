"""Video files are decoded by PyAV where that gives OpenCV's pictures, and by OpenCV elsewhere."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edge_tsm.datatypes import Frame
from edge_tsm.errors import SourceError
from edge_tsm.sources.decoding import AvDecoder, OpenCvDecoder, open_decoder
from edge_tsm.sources.files import VideoFile
from tests.helpers.videos import write_video

av = pytest.importorskip("av", reason="PyAV is not installed")
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")

PLAIN = {  # ffmpeg's arguments by file, of what both decode alike
    "h264.mp4": "-c:v libx264 -pix_fmt yuv420p",
    "full_range.mp4": "-c:v libx264 -pix_fmt yuvj420p",
    "bt709.mkv": "-c:v libx264 -pix_fmt yuv422p -colorspace bt709",
    "open_gop.mkv": "-c:v libx264 -x264-params open-gop=1:keyint=8",
    "h265.mp4": "-c:v libx265 -x265-params log-level=none",
    "late.ts": "-c:v libx264",
    "packed.avi": "-c:v mpeg4 -bf 2",
    "mjpeg.avi": "-c:v mjpeg -pix_fmt yuvj422p",
    "vp9.webm": "-c:v libvpx-vp9 -deadline realtime",
}


def filmed(path: Path, arguments: str, *, seconds: float = 1, size: str = "96x64") -> Path:
    source = f"testsrc2=s={size}:d={seconds}:r=25"
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, *arguments.split()]
    if subprocess.run([*command, str(path)], check=False, timeout=60).returncode:
        pytest.skip(f"this ffmpeg cannot write {path.name}")
    return path


def assert_equal(left: list[Frame], right: list[Frame]) -> None:
    assert [f.index for f in left] == [f.index for f in right]
    # To within a frame: OpenCV makes up some times of an AVI, whose packets have none.
    assert [f.time_s for f in left] == pytest.approx([f.time_s for f in right], abs=0.041)
    for ours, theirs in zip(left, right, strict=True):
        np.testing.assert_array_equal(ours.image, theirs.image)


@needs_ffmpeg
@pytest.mark.parametrize("name", PLAIN)
def test_pictures_and_times_are_those_of_opencv(name: str, tmp_path: Path) -> None:
    path = filmed(tmp_path / name, PLAIN[name])
    assert isinstance(open_decoder(path, None), AvDecoder)
    assert_equal(list(VideoFile(path)), list(VideoFile(path, decoder=OpenCvDecoder)))


@needs_ffmpeg
def test_deep_colors_are_always_opencvs(tmp_path: Path) -> None:
    path = filmed(tmp_path / "x.mp4", "-c:v libx264 -pix_fmt yuv420p10le")
    assert isinstance(open_decoder(path, None), OpenCvDecoder)


@needs_ffmpeg
def test_interlaced_video_is_not_black(tmp_path: Path) -> None:
    """OpenCV 4.14 and 5.0 say that they have read it, and give a black picture."""
    path = filmed(tmp_path / "x.mp4", "-c:v libx264 -flags +ildct+ilme -x264-params tff=1")
    assert min(frame.image.mean() for frame in VideoFile(path)) > 50


@pytest.mark.parametrize("pyav", [True, False])
def test_opencv_alone_warns_of_a_black_beginning(
    pyav: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_tsm.sources.decoding.has_pyav", lambda: pyav)
    path = write_video(tmp_path / "x.avi", 3)  # begins black
    assert len(list(VideoFile(path, decoder=OpenCvDecoder))) == 3
    assert [record.levelname for record in caplog.records] == ([] if pyav else ["WARNING"])


@needs_ffmpeg
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "arguments",
    [
        "-c:v libx264",
        "-c:v libx264 -bf 3 -x264-params open-gop=1",
        "-c:v mpeg4",
        "-c:v mpeg4 -bf 2 -flags +qpel",
    ],
)
def test_a_long_recording_is_decoded_around_the_wanted_frames(
    arguments: str, threads: int, tmp_path: Path
) -> None:
    path = filmed(tmp_path / "x.mp4", f"{arguments} -g 25", seconds=12)
    expected = list(VideoFile(path, decoder=OpenCvDecoder))
    for wanted in ([3, 3, 100, 113, 299], [2, 30, 55], list(range(125, 150))):
        frames = AvDecoder(path, threads).chosen(lambda count, wanted=wanted: wanted)
        assert frames is not None
        assert_equal(list(frames), [expected[i] for i in wanted])
    assert AvDecoder(path, threads).chosen(range) is None  # all of them: in one go


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("x.webm", "-c:v libvpx-vp9 -deadline good -cpu-used 8 -auto-alt-ref 1 -b:v 50k"),
        ("x.mp4", "-c:v libvpx-vp9 -deadline good -cpu-used 8 -auto-alt-ref 1 -b:v 50k"),
        ("x.mkv", "-c:v libaom-av1 -cpu-used 8 -b:v 50k"),
        ("x.mp4", "-c:v libsvtav1 -preset 12 -b:v 50k -loglevel quiet"),
    ],
)
def test_hidden_frames_come_with_one_that_is_shown(
    name: str, arguments: str, tmp_path: Path
) -> None:
    path = filmed(
        tmp_path / name, f"{arguments} -g 50 -lag-in-frames 19 -pix_fmt yuv420p", seconds=12
    )
    frames, wanted = list(VideoFile(path)), [3, 100, 117, 290]
    found = AvDecoder(path, None).chosen(lambda count: wanted)
    assert len(frames) == 300 and found is not None
    assert_equal(list(found), [frames[i] for i in wanted])


@pytest.mark.parametrize("decoder", [AvDecoder, OpenCvDecoder])
def test_a_file_that_is_never_read_is_closed(decoder: type, tmp_path: Path) -> None:
    def opened() -> int:
        links = (p.resolve() for p in Path("/proc/self/fd").iterdir())
        return sum(link == path for link in links)

    path = write_video(tmp_path / "x.avi", 20).resolve()
    video = VideoFile(path, decoder=decoder)
    video.close()
    assert opened() == 0
    assert len(list(video)) == len(list(video)) == 20
    assert opened() == 0


@needs_ffmpeg
def test_packets_of_mpeg4_that_show_nothing_are_not_counted_as_frames(tmp_path: Path) -> None:
    """As a packed stream of AVI has them, copied into MP4: each second one is a few bytes long."""
    packed, path = tmp_path / "x.avi", tmp_path / "x.mp4"
    filmed(packed, "-c:v mpeg4 -g 25", seconds=12)
    subprocess.run(["ffmpeg", "-v", "error", "-i", packed, "-c", "copy", path], check=True)
    assert AvDecoder(path, None).chosen(lambda count: [3, 100]) is not None
    with av.open(str(packed)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for number, packet in enumerate(p for p in source.demux(stream) if p.size):
            same = av.Packet(b"\0\0\1\xb6\x5a\x7f" if number == 30 else bytes(packet))
            same.pts = same.dts = number
            same.time_base, same.stream = stream.time_base, copy
            same.is_keyframe = packet.is_keyframe
            target.mux(same)
    assert AvDecoder(path, None).chosen(lambda count: [3, 100]) is None
    wanted = [3, 100, 250]
    found = VideoFile(path).sample(lambda _: wanted)
    assert_equal(found, VideoFile(path, decoder=OpenCvDecoder).sample(lambda _: wanted))


@needs_ffmpeg
def test_where_packets_leave_a_doubt_every_frame_is_decoded(tmp_path: Path) -> None:
    whole = filmed(tmp_path / "x.mp4", "-c:v libx264 -g 25", seconds=12)
    cut = tmp_path / "cut.mp4"  # begins between keyframes: the first frames are not to be shown
    subprocess.run(
        ["ffmpeg", "-v", "error", "-ss", "0.5", "-i", whole, "-c", "copy", cut], check=True
    )
    assert AvDecoder(cut, None).chosen(lambda count: [0]) is None
    torn = tmp_path / "torn.mkv"
    subprocess.run(["ffmpeg", "-v", "error", "-i", whole, "-c", "copy", torn], check=True)
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    assert AvDecoder(torn, None).chosen(lambda count: [0]) is None
    for path in (cut, torn):
        plain = VideoFile(path, decoder=OpenCvDecoder).sample(lambda count: [0, count - 1])
        assert_equal(VideoFile(path).sample(lambda count: [0, count - 1]), plain)


@needs_ffmpeg
def test_pictures_keep_their_size_where_it_changes(tmp_path: Path) -> None:
    parts = [
        filmed(tmp_path / f"{size}.ts", "-c:v libx264", size=size) for size in ("96x64", "64x96")
    ]
    path = tmp_path / "x.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    shapes = [frame.image.shape for frame in VideoFile(path)]
    assert set(shapes[:20]) == {(64, 96, 3)}
    assert set(shapes[-20:]) == {(96, 64, 3)}


def test_a_file_that_pyav_cannot_read_is_opencvs_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"no video" * 100)
    with pytest.raises(SourceError, match="holds no video that OpenCV can read"):
        VideoFile(path)
    assert len(VideoFile(write_video(tmp_path / "y.avi", 5), threads=1).sample(range)) == 5


@needs_ffmpeg
@pytest.mark.parametrize("name", ["h264.mp4", "open_gop.mkv", "packed.avi", "late.ts", "vp9.webm"])
def test_a_listing_has_the_times_and_frames_of_a_whole_pass(name: str, tmp_path: Path) -> None:
    video = VideoFile(filmed(tmp_path / name, PLAIN[name]))
    frames, listing = list(video), video.listing()
    assert list(listing.times_s) == [frame.time_s for frame in frames]
    assert_equal(list(listing.frames([3, 4, 19])), [frames[i] for i in (3, 4, 19)])
    assert list(video.listing(decoded=True).times_s) == list(listing.times_s)


@needs_ffmpeg
def test_listed_frames_far_apart_are_decoded_from_their_keyframes(tmp_path: Path) -> None:
    path = filmed(tmp_path / "x.mp4", "-c:v libx264 -g 25 -bf 3", seconds=12)
    frames, listing = list(VideoFile(path)), VideoFile(path).listing()
    wanted = [2, 3, 60, 149, 150, 299]
    assert_equal(list(listing.frames(wanted)), [frames[i] for i in wanted])
    assert_equal(list(listing.frames([280])), [frames[280]])
