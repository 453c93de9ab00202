"""Bundles and single artifacts, on the engine asked for."""

from __future__ import annotations

import dataclasses
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edge_tsm.backends import RuntimeOptions
from edge_tsm.bundle.card import Card
from edge_tsm.errors import BackendError, CardError
from edge_tsm.inference.loading import load
from tests.helpers.fakes import random_pictures

ENGINES = ["onnxruntime", "openvino"]


def test_both_engines_give_the_same_answer(bundle: Path) -> None:
    frames, f32 = random_pictures(20), {"onnxruntime": "model.onnx", "openvino": "model.xml"}
    answers = []
    for engine, file in f32.items():
        pytest.importorskip(engine)
        with load(bundle, engine=engine, variant=file) as recognizer:
            assert recognizer.backend.engine == engine
            answers.append(recognizer(frames))
    first, second = answers
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
    with pytest.raises(BackendError, match=r"refuses it|is not an ONNX file"):
        load(tmp_path / name, engine=engine)


@pytest.mark.parametrize(
    ("name", "message"),
    [("nope", "does not exist"), ("x.txt", "is of another kind"), ("empty", "not a bundle")],
)
def test_what_is_no_model(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CardError, match=message):
        load(tmp_path / name)


def test_a_bundle_whose_files_are_gone(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_bytes((bundle / "card.json").read_bytes())
    with pytest.raises(CardError, match=r"no artifact for .*; the card lists model\.onnx"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("engine", "device", "message"),
    [
        ("onnxruntime", "cuda", r"'cuda' is not available; ONNX Runtime here offers cpu"),
        ("onnxruntime", "tensorrt", "'tensorrt' is not available"),
        ("openvino", "gpu", "'gpu' is not available; OpenVINO here offers cpu"),
        ("openvino", "toaster", "'toaster' is not available"),
        ("caffe", "cpu", "engine 'caffe' is unknown"),
    ],
)
def test_a_device_is_never_replaced(engine: str, device: str, message: str, bundle: Path) -> None:
    if engine != "caffe":
        pytest.importorskip(engine)
    with pytest.raises(BackendError, match=message):
        load(bundle, engine=engine, options=RuntimeOptions(device=device))


@pytest.mark.parametrize("engine", ENGINES)
def test_two_threads_may_share_a_recognizer(engine: str, bundle: Path) -> None:
    pytest.importorskip(engine)
    with load(bundle, engine=engine) as recognizer, ThreadPoolExecutor(2) as pool:
        crops = [recognizer.prepare(frame) for frame in random_pictures(8)]
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
        recognizer(random_pictures(8))


def test_an_engine_that_does_not_load_says_so(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.delitem(sys.modules, "edge_tsm.backends.onnxruntime", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("edge_tsm.backends.installed", lambda engine: True)
    with pytest.raises(BackendError, match="onnxruntime is installed but does not load"):
        load(bundle, engine="onnxruntime")
