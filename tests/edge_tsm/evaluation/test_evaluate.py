"""Clips shown by a protocol, answers fused, runs resumed; with small videos and real threads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_tsm.bundle.card import Sampling
from edge_tsm.data.clips import Dataset, Sample
from edge_tsm.datatypes import Tensor
from edge_tsm.errors import BackendError, InputError, SinkError
from edge_tsm.evaluation.evaluate import evaluate
from edge_tsm.evaluation.journal import Journal
from edge_tsm.evaluation.metrics import fuse
from edge_tsm.evaluation.models import short_names
from edge_tsm.evaluation.output import OutputFiles
from edge_tsm.evaluation.views import ViewMaker, ViewProtocol
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.sampling import dense_indices
from tests.helpers.fakes import FakeBackend, make_card
from tests.helpers.videos import write_video

BOTH = ViewProtocol(methods=("video", "voting"))


class TimeArrow(FakeBackend):
    """Three classes that differ in time order only: darker, brighter, neither."""

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        self._strength = strength

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        clips = inputs["clip"].reshape(len(inputs["clip"]), 8, -1)
        self.batches.append(len(clips))
        change = self._strength * (clips[:, -1].mean(-1) - clips[:, 0].mean(-1))
        logits = np.stack([-change, change, np.full_like(change, 0.1)], axis=1)
        return {"logits": logits.astype(np.float32)}


def model(backend: FakeBackend | None = None, *, batch: int = 1) -> Recognizer:
    return Recognizer(make_card(batch=batch), backend or TimeArrow())


def write_levels(path: Path, levels: list[int]) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for level in levels:
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two clips of each class, and one that is not there."""
    folder = tmp_path_factory.mktemp("videos")
    ways = {0: list(range(200, 20, -6)), 1: list(range(20, 200, 6)), 2: [90] * 30}
    samples = [
        Sample(write_levels(folder / f"{label}{i}.avi", levels[i:]), label, f"{label}{i}.avi")
        for i in (0, 1)
        for label, levels in ways.items()
    ]
    missing = Sample(folder / "missing.avi", 1, "missing.avi")
    return Dataset((*samples[:3], missing, *samples[3:]))


def test_the_video_model_sees_what_voting_cannot(dataset: Dataset) -> None:
    found = evaluate({"arrow": model()}, dataset, BOTH)
    assert found.columns == ("arrow", "arrow voting")
    assert found.figures("arrow").top1 == 1
    assert found.figures("arrow voting").top1 == pytest.approx(1 / 3)


def test_what_cannot_be_read_is_told_and_not_counted(dataset: Dataset, tmp_path: Path) -> None:
    empty = tmp_path / "empty.avi"
    empty.touch()
    (tmp_path / "folder").mkdir()
    more = (Sample(empty, 0, "empty.avi"), Sample(tmp_path / "folder", 0, "folder"))
    found = evaluate({"arrow": model()}, Dataset(dataset.samples + more))
    assert [o.sample.name for o in found.failed] == ["missing.avi", "empty.avi", "folder"]
    assert "does not exist" in found.failed[0].error
    assert found.figures("arrow").clips == 6
    assert [o.sample for o in found.outcomes] == [*dataset, *more]


def test_damaged_clips_count_and_are_named_after_a_resumption_too(tmp_path: Path) -> None:
    path = write_levels(tmp_path / "a.avi", list(range(200, 20, -3)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    whole = write_levels(tmp_path / "b.avi", list(range(20, 200, 3)))
    clips = Dataset((Sample(path, 0, "a.avi"), Sample(whole, 1, "b.avi")))
    for resumed in (0, 2):
        with Journal(tmp_path / "r.jsonl", {"schema": 1}) as journal:
            found = evaluate({"arrow": model()}, clips, journal=journal)
        assert (len(found.answered), found.resumed) == (2, resumed)
        (damaged,) = found.damaged
        assert damaged.sample.name == "a.avi"
        assert "of 60 frames can be decoded" in damaged.damage


def test_of_a_frame_folder_the_listed_pictures_are_shown(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for i, level in enumerate([*range(200, 40, -10), 250, 250, 250, 250], 1):
        cv2.imwrite(f"{tmp_path}/a/img_{i:05d}.png", np.full((48, 64, 3), level, np.uint8))
    for frames, answer in ((16, 0), (None, 1)):
        clips = Dataset((Sample(tmp_path / "a", 0, "a", frames),))
        found = evaluate({"arrow": model()}, clips)
        assert int(found.logits("arrow").argmax()) == answer


def test_a_missing_video_called_by_a_number_is_no_camera() -> None:
    found = evaluate({"arrow": model()}, Dataset((Sample(Path("0"), 0, "0"),)))
    assert "does not exist" in found.failed[0].error


@pytest.mark.parametrize("batch", [1, 3, 4])
@pytest.mark.parametrize(
    "protocol", [ViewProtocol(), ViewProtocol(sampling="twice", crops=3), BOTH]
)
def test_batches_are_full_and_change_nothing(
    batch: int, protocol: ViewProtocol, dataset: Dataset
) -> None:
    backend = TimeArrow()
    batched = evaluate({"x": model(backend, batch=batch)}, dataset, protocol)
    alone = evaluate({"x": model()}, dataset, protocol, workers=1)
    assert np.allclose(batched.logits("x"), alone.logits("x"), atol=1e-6)
    views = len(dataset.samples[0:6]) * {1: 1, 3: 6}[protocol.crops]
    if protocol is not BOTH:
        assert len(backend.batches) <= -(-views // batch) + 1  # the missing video cuts one short


def test_short_videos_are_shown_once_where_dense_repeats_them(tmp_path: Path) -> None:
    backend = TimeArrow()
    video = write_levels(tmp_path / "x.avi", [5, 60, 120])
    dense = ViewProtocol(sampling="dense")
    found = evaluate({"x": model(backend)}, Dataset((Sample(video, 1, "x"),)), dense)
    assert len(backend.batches) == 1
    once = evaluate({"x": model()}, Dataset((Sample(video, 1, "x"),)), ViewProtocol("uniform"))
    assert found.logits("x").shape == once.logits("x").shape


def test_views_are_upstreams_in_order_and_number() -> None:
    rng = np.random.default_rng(0)
    indices = dense_indices(90, 8)
    pictures = {i: rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for i in set(indices)}
    maker = ViewMaker(model(), ViewProtocol(sampling="dense", crops=10))
    assert maker.indices(90) == indices
    shown = maker.make(indices, pictures, lambda: None)
    assert shown.weights == {"video": [1] * 100}
    recognizer = model()
    flipped = shown.clips[10]  # crop-major: clips 0 to 9 are the first crop, then its mirror image
    assert all(np.array_equal(a, b[:, ::-1]) for a, b in zip(shown.clips[0], flipped, strict=True))
    assert len(list(recognizer.predict_many(shown.clips[:2]))) == 2


def slowfast(batch: int = 1) -> Recognizer:
    """A model of clips of fixed length: 8 frames, 4 apart at 50 fps."""
    card = make_card(batch=batch)
    sampling = Sampling("start", 8, 0.64, 0.5, interval=4, fps=50.0)
    return Recognizer(replace(card, sampling=sampling), TimeArrow())


def test_ten_clips_of_three_crops_are_thirty_views_of_the_seconds_that_the_card_says(
    tmp_path: Path,
) -> None:
    maker = ViewMaker(slowfast(), ViewProtocol(clips=10, crops=3, average="softmax"))
    indices = maker.indices(100, 25.0)  # of half the card's rate: two frames apart
    assert (indices[:3], indices[8], indices[-1]) == ([0, 2, 4], 8, 90)
    pictures = {i: np.full((48, 64, 3), i, np.uint8) for i in set(indices)}
    assert maker.make(indices, pictures, lambda: None).weights == {"video": [1] * 30}
    video = write_levels(tmp_path / "x.avi", list(range(100)))  # 25 fps
    found = evaluate({"x": slowfast()}, Dataset((Sample(video, 1, "x"),)))
    assert found.logits("x").shape == (1, 3)


def test_a_protocol_of_several_clips_needs_a_card_that_has_such() -> None:
    with pytest.raises(InputError, match="dense or twice"):
        ViewMaker(model(), ViewProtocol(clips=10))
    with pytest.raises(InputError, match="clips of its own"):
        ViewProtocol(sampling="dense", clips=10)


def test_voting_shows_every_sampled_frame_alone() -> None:
    pictures = {i: np.full((48, 64, 3), 10 * i, np.uint8) for i in range(5)}
    maker = ViewMaker(model(), BOTH)
    indices = maker.indices(5)
    shown = maker.make(indices, pictures, lambda: None)
    stills = [clip for clip, n in zip(shown.clips, shown.weights["voting"], strict=True) if n]
    assert len(stills) == 5  # of 8 sampled frames three are repeats
    assert sorted(filter(None, shown.weights["voting"])) == [1, 1, 2, 2, 2]
    assert all(np.array_equal(clip[0], crop) for clip in stills for crop in clip)


@pytest.mark.parametrize("average", ["logits", "softmax"])
def test_an_ensemble_is_the_weighted_mean(average: str, dataset: Dataset) -> None:
    protocol = replace(BOTH, average=average)
    models = {"a": model(TimeArrow(1.0)), "b": model(TimeArrow(-0.2))}
    found = evaluate(models, dataset, protocol).with_ensemble([1, 0.5])
    assert found.columns[-2:] == ("ensemble", "ensemble voting")
    first = found.answered[0].logits
    for end in ("", " voting"):
        rows = np.stack([first["a" + end], first["b" + end]])
        assert first["ensemble" + end] == pytest.approx(fuse(rows, [1, 0.5], average))  # type: ignore[arg-type]
    apart = evaluate({"a": model(TimeArrow(1.0))}, dataset, protocol)
    assert np.array_equal(found.logits("a"), apart.logits("a"))


@pytest.mark.parametrize("weights", [[1], [1, 2, 3], [1, 0], [1, float("nan")]])
def test_weights_that_do_not_fit_are_refused(weights: list[float], dataset: Dataset) -> None:
    found = evaluate({"a": model(), "b": model()}, Dataset(dataset.samples[:1]))
    with pytest.raises(InputError, match="2 positive numbers"):
        found.with_ensemble(weights)


def test_models_must_agree_on_labels(dataset: Dataset) -> None:
    other = Recognizer(replace(make_card(), labels=("x", "y", "z")), TimeArrow())
    with pytest.raises(InputError, match="a and b answer different classes"):
        evaluate({"a": model(), "b": other}, dataset)


def test_names_of_folders_decide_the_class(dataset: Dataset) -> None:
    """Folders are in alphabetical order, the model's classes need not be."""
    named = Dataset(
        tuple(replace(s, label=2 - s.label) for s in dataset), ("label 2", "label 1", "label 0")
    )
    assert evaluate({"arrow": model()}, named).figures("arrow").top1 == 1
    strange = Dataset(dataset.samples, ("label 0", "label 1", "jumping"))
    with pytest.raises(InputError, match="'jumping' of the dataset"):
        evaluate({"arrow": model()}, strange)


def test_a_class_the_model_does_not_have() -> None:
    with pytest.raises(InputError, match="x is of class 3, the model has 0 to 2"):
        evaluate({"a": model()}, Dataset((Sample(Path("x"), 3, "x"),)))


@pytest.mark.parametrize(
    "wrong",
    [{"sampling": "all"}, {"crops": 2}, {"average": "max"}, {"methods": ()}, {"methods": ("x",)}],
)
def test_unknown_protocols_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError):
        ViewProtocol(**wrong)


def test_the_engine_s_failure_ends_the_run(dataset: Dataset) -> None:
    class Failing(FakeBackend):
        def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            raise BackendError("out of memory")

    with pytest.raises(BackendError, match="out of memory"):
        evaluate({"a": model(Failing())}, dataset)


# --- resuming ----------------------------------------------------------------------------------

RUN = {"models": {"arrow": "abc"}, "methods": ["video", "voting"]}


def interrupted_after(clips: int, dataset: Dataset, path: Path) -> None:
    def progress(done: int, total: int) -> None:
        if done == clips:
            raise KeyboardInterrupt

    with Journal(path, RUN) as journal, pytest.raises(KeyboardInterrupt):
        evaluate({"arrow": model()}, dataset, BOTH, journal=journal, progress=progress)


@pytest.mark.parametrize("torn", ["", '{"clip": "x", "lab', "x"])
def test_an_interrupted_run_goes_on(torn: str, dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    interrupted_after(3, dataset, path)
    with path.open("a") as stream:
        stream.write(torn)
    backend = TimeArrow()
    with Journal(path, RUN) as journal:
        found = evaluate({"arrow": model(backend)}, dataset, BOTH, journal=journal)
    assert found.resumed == 3
    whole = evaluate({"arrow": model()}, dataset, BOTH)
    for column in whole.columns:
        assert np.array_equal(found.logits(column), whole.logits(column))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["clip"] for line in lines[1:]] == [sample.name for sample in dataset]
    with Journal(path, RUN) as journal:  # only what failed is tried again
        again = evaluate({"arrow": model()}, dataset, BOTH, journal=journal)
    assert again.resumed == 6
    assert again.engine_s == 0


def test_a_changed_video_is_looked_at_again(dataset: Dataset, tmp_path: Path) -> None:
    video = write_video(tmp_path / "x.avi", 20)
    one, path = Dataset((Sample(video, 1, "x.avi"),)), tmp_path / "r.jsonl"
    for resumed in (0, 1):
        with Journal(path, RUN) as journal:
            assert evaluate({"arrow": model()}, one, BOTH, journal=journal).resumed == resumed
    os.utime(video, (1, 1))
    with Journal(path, RUN) as journal:
        assert evaluate({"arrow": model()}, one, BOTH, journal=journal).resumed == 0


def test_results_of_another_run_are_refused_and_left_alone(
    dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "r.jsonl"
    interrupted_after(2, dataset, path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"another run: models was .*abc.*, now .*def"):
        Journal(path, {**RUN, "models": {"arrow": "def"}})
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["fight/x.mp4 1\n", "[]\n", "precious", '{"a": 1}', '{"a": 1}\n'])
def test_a_file_that_is_no_results_is_refused_and_left_alone(text: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(InputError):
        Journal(path, RUN)
    assert path.read_text() == text


def test_results_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="cannot be used"):
        Journal(tmp_path, RUN)
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(SinkError, match="cannot be written"):
        Journal(tmp_path / "full", RUN)


def test_each_figure_is_computed_once(dataset: Dataset) -> None:
    found = evaluate({"arrow": model()}, dataset, BOTH)
    assert found.figures("arrow") is found.figures("arrow")
    assert found.figures("arrow") is not found.figures("arrow voting")


def test_names_are_short_where_they_are_distinct() -> None:
    a, b, file = Path("x/a.bundle"), Path("x/b.bundle"), Path("x/a.bundle/model.onnx")
    assert short_names([a, b, file]) == {"a": a, "b": b, "a/model.onnx": file}
    other = Path("y/a.bundle")
    assert short_names([a, other]) == {"x/a.bundle": a, "y/a.bundle": other}
    with pytest.raises(InputError, match=r"x/a\.bundle is given twice"):
        short_names([a, a])


def test_figures_and_the_page_are_files(dataset: Dataset, tmp_path: Path) -> None:
    files = OutputFiles(tmp_path / "x.json", tmp_path / "x.csv", tmp_path / "x.html")
    files.check(tmp_path / "list.txt")
    found = evaluate({"arrow": model()}, dataset)
    files.write(found, {"arrow": "a file"})
    data = json.loads((tmp_path / "x.json").read_text())
    assert data["results"]["arrow"]["top1"] == found.figures("arrow").top1
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 1 + len(dataset)
    assert (tmp_path / "x.html").read_text().startswith("<!doctype html>")


def test_a_page_without_what_writes_it_is_refused_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("edge_tsm.evaluation.output.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'edge-tsm\[report\]'"):
        OutputFiles(html=tmp_path / "x.html").check(tmp_path / "list.txt")


@pytest.mark.parametrize("where", ["json", "csv", "html", "journal"])
def test_files_that_cannot_be_written_are_refused_first(where: str, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("x 0\n")
    for path, message in (
        (tmp_path, "a folder, or in none"),
        (tmp_path / "no" / "x", "cannot be written"),
        (listed, "is the list of clips"),
    ):
        with pytest.raises(SinkError, match=message):
            OutputFiles(**{where: path}).check(listed)
