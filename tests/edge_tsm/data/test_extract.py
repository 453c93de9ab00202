"""Frame folders: the right pictures, complete or not there at all; and the command as typed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PilImage

from edge_tsm.data.catalog import CatalogClip, Skipped, read_catalog
from edge_tsm.data.clips import read_dataset
from edge_tsm.data.extract import SCRATCH, Cut, Cutter, encode
from edge_tsm.data.lists import FrameLists
from edge_tsm.errors import InputError, SinkError
from edge_tsm.sources import open_recording
from tests.helpers.command import edge_tsm
from tests.helpers.paths import ROOT
from tests.helpers.videos import levels, write_video


def write_clips(root: Path, **counts: int) -> Path:
    """Class folders `run` and `fall over` in turn, one video for every name."""
    for i, (name, count) in enumerate(counts.items()):
        folder = root / ("run", "fall over")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        write_video(folder / f"{name}.avi", count)
    return root


def decode(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def cut_one(
    path: Path, target: Path, cut: Cut, span: tuple[float, float] | None = None
) -> list[int]:
    """Cut one video and return the gray levels of its pictures, in their order."""
    outcomes = Cutter(target, cut, workers=1).run([CatalogClip(path, "a/x", 0, span_s=span)])
    frames = list(open_recording(target / "a/x"))
    assert outcomes == [len(frames)]
    return levels(frames)


def test_pictures_are_all_frames_in_order(tmp_path: Path) -> None:
    assert cut_one(write_video(tmp_path / "x.avi", 12), tmp_path / "out", Cut()) == [*range(12)]
    names = sorted(path.name for path in (tmp_path / "out/a/x").iterdir())
    assert names == [f"img_{i:05d}.jpg" for i in range(1, 13)]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("fps", "wanted"),
    [(12.5, [*range(0, 50, 2)]), (5, [*range(0, 50, 5)]), (1, [0, 25]), (100, [*range(50)])],
)
def test_thinned_to_so_many_a_second(fps: float, wanted: list[int], tmp_path: Path) -> None:
    video = write_video(tmp_path / "x.avi", 50)
    assert cut_one(video, tmp_path / "out", Cut(fps=fps)) == wanted


def test_of_a_whole_recording_only_the_clip_is_cut(tmp_path: Path) -> None:
    video = write_video(tmp_path / "x.avi", 60)
    assert cut_one(video, tmp_path / "out", Cut(), (1.0, 2.0)) == [*range(25, 50)]
    short = write_video(tmp_path / "y.avi", 40)
    assert cut_one(short, tmp_path / "short", Cut(), (1.0, 2.0)) == [*range(40)]


@pytest.mark.parametrize(
    ("shape", "size"),
    [((480, 640), (256, 341)), ((640, 480), (341, 256)), ((240, 320), (240, 320))],
)
def test_the_shorter_side_is_made_smaller_never_larger(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    assert decode(encode(np.zeros((*shape, 3), np.uint8), Cut())).shape == (*size, 3)


def test_made_smaller_as_preprocessing_would() -> None:
    """Noise is what a resize without antialiasing cannot do."""
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    picture = decode(encode(noise, Cut(quality=100)))
    expected = PilImage.fromarray(noise).resize((256, 256), PilImage.Resampling.BILINEAR)
    assert np.abs(picture.astype(float) - np.asarray(expected)).mean() < 25
    assert picture.std() < 45 < noise.std()


def test_unreadable_videos_are_skipped_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video")
    clips = [CatalogClip(tmp_path / n, n, 0) for n in ("empty.mp4", "text.mp4", "gone.mp4")]
    outcomes = Cutter(tmp_path / "out", Cut(), workers=2).run(clips)
    assert [o.reason for o in outcomes if isinstance(o, Skipped)] == ["cannot be read"] * 3
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    """A complete folder is counted, a stranger is left alone, a killed run's rest goes."""
    root = write_clips(tmp_path / "v", one=5, two=5)
    catalog, out = read_catalog([root]), tmp_path / "out"
    (out / "run/one").mkdir(parents=True)
    (out / "run/one/precious.txt").touch()
    (out / SCRATCH / "7").mkdir(parents=True)
    first = Cutter(out, Cut(), workers=1)
    by_name = dict(zip([c.name for c in catalog.clips], first.run(catalog.clips), strict=True))
    assert by_name["fall_over/two"] == 5
    assert isinstance(by_name["run/one"], Skipped)
    (out / "fall_over/two/img_00003.jpg").unlink()
    second = Cutter(out, Cut(), workers=1)
    assert second.run(catalog.clips)[0] == 4
    assert (first.kept, [clip.name for clip in second.kept]) == ([], ["fall_over/two"])
    assert [path.name for path in (out / "run/one").iterdir()] == ["precious.txt"]
    assert not (out / SCRATCH).exists()


def test_a_full_disk_is_told_in_a_line(tmp_path: Path) -> None:
    """The limit on a file's size stands in for the disk's end."""
    video, out = write_video(tmp_path / "x.avi", 5), tmp_path / "out"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(SinkError, match=r"out: cannot be written .* goes on with the rest"):
            Cutter(out, Cut(), workers=1).run([CatalogClip(video, "x", 0)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert list(out.iterdir()) == []


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    import fcntl

    (tmp_path / SCRATCH).mkdir()
    with (tmp_path / SCRATCH / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SinkError, match="another `edge-tsm frames` is writing there"):
            Cutter(tmp_path, Cut(), workers=1).run([])


def test_an_error_in_the_middle_leaves_no_half_folder(tmp_path: Path) -> None:
    root, out = write_clips(tmp_path / "v", one=5, two=400, three=5), tmp_path / "out"
    clips = read_catalog([root]).clips

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Cutter(out, Cut(), workers=2).run(clips, progress=interrupt)
    assert not (out / SCRATCH).exists()
    counts = {p.name: len(list(p.iterdir())) for p in out.glob("*/*")}
    whole = {"one": 5, "two": 400, "three": 5}
    assert counts.items() <= whole.items()
    assert Cutter(out, Cut(), workers=2).run(clips) == [400, 5, 5]


def test_lists_in_the_way_are_not_replaced(tmp_path: Path) -> None:
    catalog, out = read_catalog([write_clips(tmp_path / "v", one=5)]), tmp_path / "out"
    out.mkdir()
    (out / "labels.txt").write_text("precious")
    with pytest.raises(InputError, match=r"labels\.txt exists already"):
        FrameLists(out, catalog, Cut())
    assert [path.read_text() for path in out.iterdir()] == ["precious"]


@pytest.mark.parametrize("marker", ["[]", "{}", "no JSON"])
def test_a_foreign_marker_is_refused(marker: str, tmp_path: Path) -> None:
    catalog = read_catalog([write_clips(tmp_path / "v", one=5)])
    (tmp_path / "frames.json").write_text(marker)
    with pytest.raises(InputError, match="not from `edge-tsm frames`"):
        FrameLists(tmp_path, catalog, Cut())


def upstream_rows(path: Path) -> list[list[str]]:
    """Rows as upstream's ops/dataset.py, TSNDataSet._parse_list, reads them."""
    with path.open() as lines:
        return [line.strip().split(" ") for line in lines]


def test_the_command_writes_what_upstream_reads(tmp_path: Path) -> None:
    write_clips(tmp_path / "v", one=5, two=6, three=7, four=8)
    (tmp_path / "v/run/broken.mp4").write_text("no video")
    done = edge_tsm("frames", "v", "out", "--val-share", 0.5, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 cannot be read: run/broken" in done.stdout
    assert "classes  2: fall over, run" in done.stdout
    out = tmp_path / "out"
    rows = upstream_rows(out / "train.txt") + upstream_rows(out / "val.txt")
    assert len(rows) == 4
    for folder, frames, label in rows:
        assert (out / folder / f"img_{int(frames):05d}.jpg").is_file()
        assert not (out / folder / f"img_{int(frames) + 1:05d}.jpg").exists()
        assert int(label) == ["fall_over", "run"].index(folder.split("/")[0])
    assert (out / "labels.txt").read_text() == "fall over\nrun\n"
    assert "run/broken,cannot be read" in (out / "skipped.csv").read_text()
    assert read_dataset(out / "val.txt").labels == read_dataset(out).labels == ("fall over", "run")


def test_the_command_goes_on_and_keeps_to_its_settings(tmp_path: Path) -> None:
    write_clips(tmp_path / "v", one=5)
    edge_tsm("frames", "v", "out", cwd=tmp_path)
    write_clips(tmp_path / "v", one=5, two=6)
    done = edge_tsm("frames", "v", "out", cwd=tmp_path)
    assert "2 cut, 1 of them by an earlier run" in done.stdout
    assert len(upstream_rows(tmp_path / "out/list.txt")) == 2
    done = edge_tsm("frames", "v", "out", "--short-side", 128, cwd=tmp_path)
    assert done.returncode == 2
    assert "was written with short_side_px 256" in done.stderr
    done = edge_tsm("frames", "v", "out", "--val-share", 0.5, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out/list.txt").exists()


def test_labels_only_names_the_videos(tmp_path: Path) -> None:
    write_clips(tmp_path / "my v", one=5, two=5)
    done = edge_tsm("frames", "my v", "lists/out", "--labels-only", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    dataset = read_dataset(tmp_path / "lists/out/list.txt")
    assert [(s.name, s.label) for s in dataset] == [
        ("../../my v/fall over/two.avi", 0),
        ("../../my v/run/one.avi", 1),
    ]
    assert all(sample.path.is_file() for sample in dataset)


def test_a_list_cannot_say_which_seconds_are_meant_and_the_summary_says_so(tmp_path: Path) -> None:
    write_video(tmp_path / "abc.avi", 5)
    rows = "label,youtube_id,time_start,time_end\nrun,abc,2,4\n"
    (tmp_path / "train.csv").write_text(rows)
    done = edge_tsm("frames", "train.csv", "out", "--labels-only", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 listed whole, though a part is meant: abc_000002_000004" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nope", "out"], 2, "nope: cannot be read"),
        (["v"], 2, "Missing argument"),
        (["v", "v"], 2, "DST is v itself"),
        (["v", "out", "--format", "kinetix"], 2, "kinetics-csv"),
        (["v", "out", "--labels", "nope.txt"], 2, "nope.txt: cannot be read"),
        (["gone.txt", "out"], 4, "no video to list: 1 missing; see out/skipped.csv"),
        (["v", "v/run/one.avi"], 2, "v/run/one.avi is a file"),
        (["v", "/proc/nope/out"], 6, "cannot be written"),
        (["v", "out", "--val-share", "2"], 2, "0<x<1"),
    ],
)
def test_mistakes_are_told_in_a_line(
    arguments: list[str], code: int, told: str, tmp_path: Path
) -> None:
    write_clips(tmp_path / "v", one=5)
    (tmp_path / "gone.txt").write_text("gone.mp4 0\n")
    done = edge_tsm("frames", *arguments, cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert told in done.stderr
    assert not (tmp_path / "out/list.txt").exists()


def test_ctrl_c_leaves_whole_folders_only(tmp_path: Path) -> None:
    write_clips(tmp_path / "v", one=5, two=12000)
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_tsm", "frames", "v", "out", "--workers", "1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not list(tmp_path.glob(f"out/{SCRATCH}/*/img_00001.jpg")):
        pass
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, "edge-tsm: interrupted\n")
    assert not (tmp_path / "out" / SCRATCH).exists()
    assert {len(list(folder.iterdir())) for folder in tmp_path.glob("out/*/*")} <= {5, 12000}
