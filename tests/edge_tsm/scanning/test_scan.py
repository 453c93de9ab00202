"""Recordings scanned: the windows of live video, resumed to the same timeline, faults told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import edge_tsm
from edge_tsm import demo
from edge_tsm.actions.rules import Rules
from edge_tsm.datatypes import Frame
from edge_tsm.demo.synthetic import LABELS, label_of
from edge_tsm.errors import InputError, SinkError, SourceError
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.scanning.clips import write_clips
from edge_tsm.scanning.journal import ScanJournal
from edge_tsm.scanning.scan import ScanOptions, scan
from edge_tsm.scanning.timeline import Timeline
from edge_tsm.sources.files import VideoFile
from tests.helpers.fakes import (
    FakeBackend,
    FakeCamera,
    FakeOnlineBackend,
    make_card,
    make_online_card,
)
from tests.helpers.videos import write_film, write_video

EVERY = ScanOptions(window_s=1.0, every_s=0.2)


def fake(batch: int = 1) -> Recognizer:
    return Recognizer(make_card(batch=batch), FakeBackend())


def live(recognizer: Recognizer, frames: list[Frame]) -> list[tuple[float, list[float]]]:
    """What a live run of the same frames answers, window by window."""
    camera = FakeCamera(frames)
    pipeline = Pipeline(camera, recognizer, window_s=1.0, every_s=0.2, capture=camera.options)
    return [(p.window.end_s, p.logits.tolist()) for p in pipeline if p.window]


def found(timeline: Timeline) -> list[tuple[float, list[float]]]:
    [file] = timeline.files
    assert not file.error
    return [(end_s, logits.tolist()) for end_s, logits in file.answers]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Recognizer(make_card(), FakeBackend()),
        lambda: Recognizer(make_online_card(fps=10.0, horizon=10), FakeOnlineBackend()),
    ],
    ids=["clip", "online"],
)
def test_answers_are_those_of_live_video_of_the_same_frames(
    make: Callable[[], Recognizer], tmp_path: Path
) -> None:
    path = write_video(tmp_path / "x.avi", 60, fps=23)
    frames = list(VideoFile(path))
    assert found(scan(make(), path, options=EVERY)) == live(make(), frames)
    assert len(live(make(), frames)) > 5


def test_a_variable_rate_is_seen_by_the_times_of_frames(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    ticks = np.cumsum(np.random.default_rng(0).integers(20, 120, 60)).tolist()
    with av.open(str(tmp_path / "x.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for level, tick in enumerate(ticks):
            image = np.full((48, 64, 3), 4 * level, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = tick, stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frames = list(VideoFile(tmp_path / "x.mkv"))
    steps = np.diff([frame.time_s for frame in frames])
    assert steps.max() > 3 * steps.min()
    assert found(scan(fake(), tmp_path / "x.mkv", options=EVERY)) == live(fake(), frames)


class _Stop(Exception):
    """Ends a scan in its middle."""


@pytest.mark.parametrize("batch", [1, 4])
def test_two_halves_joined_are_one_run(batch: int, tmp_path: Path) -> None:
    paths = [write_video(tmp_path / name, 150, fps=25) for name in ("a.avi", "b.avi")]
    whole = scan(fake(batch), paths, options=EVERY)
    told = list[int]()

    def stop(done: int, total: int) -> None:
        told.append(done)
        if len(told) == 40:
            raise _Stop

    results = tmp_path / "r.jsonl"
    with ScanJournal(results, {"model": "x"}) as journal, pytest.raises(_Stop):
        # One at a time: another would go on for as long as it is not told.
        alone = replace(EVERY, workers=1)
        scan(fake(batch), paths, options=alone, journal=journal, progress=stop)
    half = results.read_bytes()
    results.write_bytes(half + b'{"path": "torn')
    recognizer = fake(batch)
    with ScanJournal(results, {"model": "x"}) as journal:
        joined = scan(recognizer, paths, options=EVERY, journal=journal)
    for one, other in zip(whole.files, joined.files, strict=True):
        assert [end_s for end_s, _ in one.answers] == [end_s for end_s, _ in other.answers]
        np.testing.assert_array_equal(
            [logits for _, logits in one.answers], [logits for _, logits in other.answers]
        )
        assert one.actions == other.actions
        assert one.duration_s == other.duration_s
    again, rest = fake(batch), sum(recognizer.backend.batches)
    assert 0 < rest < sum(len(file.answers) for file in whole.files) - 20
    with ScanJournal(results, {"model": "x"}) as journal:
        third = scan(again, paths, options=EVERY, journal=journal, rules=Rules(on=0.34, off=0.34))
    assert again.backend.batches == []
    assert third.actions == whole.decided(Rules(on=0.34, off=0.34)).actions
    with pytest.raises(InputError, match="model was x, now y"):
        ScanJournal(results, {"model": "y"})


def test_an_online_recording_cut_short_begins_anew_and_is_kept_once(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.avi", 100)
    card, results = make_online_card(fps=10.0, horizon=4), tmp_path / "r.jsonl"
    whole = scan(Recognizer(card, FakeOnlineBackend()), path, options=EVERY)

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise _Stop

    with ScanJournal(results, {}) as journal, pytest.raises(_Stop):
        online = Recognizer(card, FakeOnlineBackend())
        scan(online, path, options=EVERY, journal=journal, progress=stop)
    with ScanJournal(results, {}) as journal:
        joined = scan(Recognizer(card, FakeOnlineBackend()), path, options=EVERY, journal=journal)
    assert found(joined) == found(whole)
    assert len(results.read_text().splitlines()) == len(found(whole)) + 2


def test_actions_of_known_clips_are_found_within_a_window(tmp_path: Path) -> None:
    seeds = [900_001, 900_002, 900_003, 900_005]
    path = write_film(tmp_path / "film.avi", seeds)
    pytest.importorskip("onnxruntime")
    with edge_tsm.load(demo.bundle() / "model.int8.onnx", engine="onnxruntime") as recognizer:
        timeline = scan(recognizer, path, rules=Rules(on=0.5, background=("nothing",)))
        window_s = timeline.pace.window_s
        made = write_clips(timeline, tmp_path / "cut")
    for number, seed in enumerate(seeds):
        start_s, label = 2.0 * number, LABELS[label_of(seed)]
        near = [e for _, e in timeline.actions if start_s <= e.start_s <= start_s + 2 + window_s]
        assert label in [event.label for event in near], f"{label} at {start_s} s"
    assert len(made) == len(timeline.actions)
    first = timeline.actions[0][1]
    assert made[0].name.startswith("film-00-00-0")
    assert first.label.replace(" ", "_") in made[0].name
    clip = VideoFile(made[0])
    lasts_s = first.told_s - max(first.start_s - window_s, 0)
    assert len(list(clip)) == pytest.approx(12 * lasts_s, abs=2)
    assert not [file for file in (tmp_path / "cut").iterdir() if file.name.startswith(".")]


def test_what_cannot_be_read_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "day"
    folder.mkdir()
    write_video(folder / "a.avi", 60)
    torn = write_video(folder / "b.avi", 300)
    data = bytearray(torn.read_bytes())
    middle = len(data) // 2
    data[middle - 4000 : middle + 4000] = bytes(8000)
    torn.write_bytes(data)
    (folder / "c.mp4").touch()
    (folder / "d.mp4").write_bytes(b"\0" * 5000)
    write_video(folder / "e.avi", 5)
    (folder / "notes.doc").touch()
    timeline = scan(fake(), folder, options=EVERY)
    a, b, c, d, e = timeline.files
    assert (len(a.answers), a.error, a.damage) == (7, "", "")
    assert "frames can be decoded" in b.damage
    assert b.answers[-1][0] > 10
    assert c.error.endswith("c.mp4 is empty")
    assert "d.mp4" in d.error
    assert (e.answers, e.note) == ([], "shorter than the window of 1 s: no answer")
    assert [file.path.name for file in timeline.not_whole] == ["b.avi", "c.mp4", "d.mp4"]
    assert timeline.notes == (f"{folder}: 1 file ignored: notes.doc",)
    with pytest.raises(SourceError, match="does not exist; pass videos"):
        scan(fake(), [folder, tmp_path / "nope.mp4"])
    with pytest.raises(SourceError, match="holds no videos"):
        scan(fake(), Path(__file__).parent)


def test_a_journal_that_cannot_be_written_ends_the_scan(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.avi", 60)
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    with pytest.raises(SinkError, match="No space left"), ScanJournal(full, {}) as journal:
        scan(fake(), path, options=EVERY, journal=journal)


def test_a_folder_of_pictures_is_one_recording_at_its_rate(tmp_path: Path) -> None:
    import cv2

    for i in range(30):
        cv2.imwrite(str(tmp_path / f"img_{i:05}.png"), np.full((48, 64, 3), 8 * i, np.uint8))
    options = ScanOptions(window_s=1.0, every_s=0.5, fps=10)
    [file] = scan(fake(), tmp_path, options=options).files
    assert [end_s for end_s, _ in file.answers] == pytest.approx([1.0, 1.5, 2.0, 2.5])
    assert file.duration_s == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"fps": 0}, "fps is 0"), ({"workers": 65}, "workers is 65"), ({"window_s": -1}, "window_s")],
)
def test_numbers_out_of_range_are_refused(options: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        scan(fake(), write_video(tmp_path / "x.avi", 3), options=ScanOptions(**options))


def test_labels_that_the_model_has_not_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no label 'wave'"):
        scan(fake(), tmp_path / "nope.mp4", rules=Rules(background=("wave",)))
