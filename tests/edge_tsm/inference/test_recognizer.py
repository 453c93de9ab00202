"""Frames in, prediction out."""

from __future__ import annotations

import dataclasses
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edge_tsm.backends import RuntimeOptions
from edge_tsm.bundle.card import Card
from edge_tsm.errors import BackendError, CardError, InputError
from edge_tsm.inference.recognizer import Recognizer, load
from tests.helpers.fakes import FakeBackend, make_card


def clip(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(count)
    return [generator.integers(0, 256, (240, 320, 3), dtype=np.uint8) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 5, 8, 37])
def test_a_clip_of_any_length_is_sampled(count: int) -> None:
    recognizer, frames = Recognizer(make_card(), FakeBackend()), clip(count)
    whole = recognizer(frames)
    chosen = [recognizer.prepare(frames[i]) for i in recognizer.sample(count)]
    assert np.array_equal(whole.logits, recognizer.predict(chosen).logits)


def test_each_frame_is_prepared_once() -> None:
    class Counting(Recognizer):
        prepared = 0

        def prepare(self, image, *, color="bgr"):  # type: ignore[no-untyped-def]
            Counting.prepared += 1
            return super().prepare(image, color=color)

    Counting(make_card(), FakeBackend())(clip(3))
    assert Counting.prepared == 3


def test_an_answer_names_its_labels() -> None:
    answer = Recognizer(make_card(), FakeBackend())(clip(8))
    assert answer.probabilities.sum() == pytest.approx(1)
    assert [score.label for score in answer.top(2)] == ["label 2", "label 0"]
    assert answer.label == "label 2"
    assert answer.to_json()["top"][0]["index"] == 2


def test_color_order_matters_and_is_an_argument() -> None:
    recognizer, frames = Recognizer(make_card(), FakeBackend()), clip(8)
    swapped = [np.ascontiguousarray(frame[..., ::-1]) for frame in frames]
    assert np.allclose(recognizer(frames).logits, recognizer(swapped, color="rgb").logits)
    assert not np.allclose(recognizer(frames).logits, recognizer(swapped).logits)


@pytest.mark.parametrize(
    ("batch", "clips", "runs"), [(1, 3, [1, 1, 1]), (2, 3, [2, 2]), (4, 2, [4])]
)
def test_a_batch_is_filled(batch: int, clips: int, runs: list[int]) -> None:
    backend = FakeBackend()
    recognizer = Recognizer(make_card(batch=batch), backend)
    crops = [[recognizer.prepare(frame) for frame in clip(8)[:]] for _ in range(clips)]
    crops[0] = [255 - crop for crop in crops[0]]
    answers = list(recognizer.predict_many(crops))
    assert backend.batches == runs
    assert len(answers) == clips
    assert not np.array_equal(answers[0].logits, answers[1].logits)
    alone = Recognizer(make_card(), FakeBackend())
    assert np.allclose(alone.predict(crops[0]).logits, answers[0].logits)


def test_bad_clips_are_refused() -> None:
    recognizer = Recognizer(make_card(), FakeBackend())
    with pytest.raises(InputError, match="no frames"):
        recognizer([])
    with pytest.raises(InputError, match="a clip is 8 crops"):
        recognizer.predict([np.zeros((224, 224, 3), np.uint8)] * 7)


def test_closing_closes_the_engine() -> None:
    backend = FakeBackend()
    with Recognizer(make_card(), backend):
        pass
    assert backend.closed


# --- opening -----------------------------------------------------------------------------------

ENGINES = ["onnxruntime", "openvino"]


@pytest.mark.parametrize("engine", ENGINES)
def test_both_engines_give_the_same_answer(engine: str, bundle: Path) -> None:
    pytest.importorskip(engine)
    frames = clip(20)
    with load(bundle, engine=engine) as recognizer, load(bundle) as other:
        assert recognizer.backend.engine == engine
        first, second = recognizer(frames), other(frames)
    spread = float(first.logits.max() - first.logits.min())
    assert np.abs(first.logits - second.logits).max() <= 1e-4 * spread


@pytest.mark.parametrize("file", ["model.onnx", "model.xml"])
def test_a_file_moved_alone_still_loads(file: str, bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime" if file.endswith("onnx") else "openvino")
    for part in bundle.glob(f"{Path(file).stem}.*"):
        (tmp_path / part.name).write_bytes(part.read_bytes())
    with load(tmp_path / file) as recognizer:
        assert recognizer.card == dataclasses.replace(Card.read(bundle), files={}, verification={})


def test_openvino_reads_the_onnx_too(bundle: Path) -> None:
    pytest.importorskip("openvino")
    with load(bundle / "model.onnx", engine="openvino") as recognizer:
        assert recognizer.backend.engine == "openvino"
        assert recognizer.card.labels == Card.read(bundle).labels


def test_a_file_without_card_is_refused(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    data = (bundle / "model.onnx").read_bytes().replace(b"edge_tsm.card", b"edge_tsm.case")
    (tmp_path / "x.onnx").write_bytes(data)
    with pytest.raises(CardError, match="holds no card"):
        load(tmp_path / "x.onnx", engine="onnxruntime")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_damaged_artifact_is_refused(engine: str, bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    name = "model.onnx" if engine == "onnxruntime" else "model.xml"
    (tmp_path / name).write_bytes((bundle / name).read_bytes()[:3000])
    with pytest.raises(BackendError, match="refuses it"):
        load(tmp_path / name, engine=engine)


@pytest.mark.parametrize(
    ("name", "told"),
    [("nope", "does not exist"), ("x.txt", "is of another kind"), ("empty", "not a bundle")],
)
def test_what_is_no_model(name: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CardError, match=told):
        load(tmp_path / name)


def test_a_bundle_whose_files_are_gone(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_bytes((bundle / "card.json").read_bytes())
    with pytest.raises(CardError, match=r"no artifact for .*; the card lists model\.onnx"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("engine", "device", "told"),
    [
        ("onnxruntime", "cuda", r"'cuda' is not there; ONNX Runtime here offers cpu"),
        ("onnxruntime", "tensorrt", "'tensorrt' is not there"),
        ("openvino", "gpu", "'gpu' is not there; OpenVINO here offers cpu"),
        ("openvino", "toaster", "'toaster' is not there"),
        ("caffe", "cpu", "engine 'caffe' is unknown"),
    ],
)
def test_a_device_is_never_replaced(engine: str, device: str, told: str, bundle: Path) -> None:
    if engine != "caffe":
        pytest.importorskip(engine)
    with pytest.raises(BackendError, match=told):
        load(bundle, engine=engine, options=RuntimeOptions(device=device))


def test_an_unknown_color_order_is_refused() -> None:
    with pytest.raises(InputError, match="color is 'RGB'"):
        Recognizer(make_card(), FakeBackend())(clip(8), color="RGB")  # type: ignore[arg-type]


@pytest.mark.parametrize(("classes", "told"), [(2, "its 2 labels"), (4, "its 4 labels")])
def test_labels_that_do_not_fit_the_model(classes: int, told: str) -> None:
    with pytest.raises(CardError, match=told):
        Recognizer(make_card(classes=classes), FakeBackend())(clip(8))


def test_an_output_that_is_not_there() -> None:
    card = make_card()
    card = dataclasses.replace(card, output=dataclasses.replace(card.output, name="nope"))
    with pytest.raises(CardError, match=r"card\.output nope"):
        Recognizer(card, FakeBackend())(clip(8))


@pytest.mark.parametrize("engine", ENGINES)
def test_two_threads_may_share_a_recognizer(engine: str, bundle: Path) -> None:
    pytest.importorskip(engine)
    with load(bundle, engine=engine) as recognizer, ThreadPoolExecutor(2) as pool:
        crops = [recognizer.prepare(frame) for frame in clip(8)]
        alone = recognizer.predict(crops)
        for answer in pool.map(recognizer.predict, [crops] * 12):
            assert np.allclose(answer.logits, alone.logits, atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_closed_model_says_so(engine: str, bundle: Path) -> None:
    pytest.importorskip(engine)
    recognizer = load(bundle, engine=engine)
    recognizer.close()
    recognizer.close()
    with pytest.raises(BackendError, match="closed"):
        recognizer(clip(8))


def test_an_engine_that_does_not_load_says_so(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.delitem(sys.modules, "edge_tsm.backends.onnxruntime", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("edge_tsm.backends.installed", lambda engine: True)
    with pytest.raises(BackendError, match="onnxruntime is installed but does not load"):
        load(bundle, engine="onnxruntime")
