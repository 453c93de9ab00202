"""Quantizing as a whole: the clips, the holdout, the bundle, what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from converters.builder import Settings, convert
from converters.quantization.calibration import ClipSet, Feeds, read_clips, split
from converters.quantization.holdout import Assessment, Holdout, compare_speed
from converters.quantization.int8 import Int8, Quantizer
from converters.verification.clips import generated_clip
from edge_tsm import load
from edge_tsm.bundle.card import Card
from edge_tsm.bundle.golden import Golden
from edge_tsm.errors import BackendError, CardError, ConversionError, VerificationError
from edge_tsm.system.machine import Processor
from tests.helpers.fakes import make_card


def generated(count: int) -> ClipSet:
    crops = np.stack([generated_clip(100 + seed, 8, 224) for seed in range(count)])
    return ClipSet(crops, np.arange(count) % 5)


@pytest.fixture(scope="module")
def quantized(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX-only bundle with int8, from crops handed over in Python.

    The network is untrained, so its narrow margins may not be held to 99 %.
    """
    int8 = Int8(generated(6), holdout=generated(3), max_drop=0.9, tensorrt=True)
    target = tmp_path_factory.mktemp("int8") / "q.bundle"
    return convert(checkpoint, target, settings=Settings(ir=False, int8=int8))


def test_the_card_says_whose_each_file_is(quantized: Path) -> None:
    card = Card.read(quantized)
    assert list(card.files) == ["model.onnx", "model.int8.onnx", "model.int8.trt.onnx"]
    assert not list(quantized.glob("*.xml"))
    for name, file in card.files.items():
        assert file.precision == ("int8" if "int8" in name else "f32")
        assert file.target == ("tensorrt" if "trt" in name else "any")
        engines = ("onnxruntime", "openvino")
        assert file.engines == (engines[:1] if "trt" in name else engines)
        assert card.verification[name].top1_required == pytest.approx(0.1 if "int8" in name else 0)


def test_the_report_compares_precisions_on_clips_kept_back(quantized: Path) -> None:
    report = json.loads((quantized / "report.json").read_text())
    rows = {(row["file"], row["engine"]): row for row in report["verdicts"]}
    assert len(rows) == 5
    assert report["float_layers"] == []
    for (name, _), row in rows.items():
        assert row["clips"] == 3
        assert row["latency_ms"] > 0
        assert row["status"] == ("equal" if row["top1_agreement"] == 1 else "within the bound")
        assert row["accuracy"] is not None
        assert row["bytes"] == (quantized / name).stat().st_size
        assert row["mean_probability_diff"] < (0.05 if "int8" in name else 1e-5)
    assert (
        rows["model.int8.onnx", "openvino"]["bytes"] < 0.3 * rows["model.onnx", "openvino"]["bytes"]
    )
    text = (quantized / "report.md").read_text()
    assert "## Float and int8" in text
    assert (quantized / "report.png").stat().st_size > 1000


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_onnx_alone_serves_both_engines(quantized: Path, engine: str) -> None:
    with load(quantized, engine=engine, variant="model.int8.onnx") as recognizer:
        assert recognizer.backend.engine == engine
        golden = Golden.read(quantized)
        result = golden.replay(recognizer, tolerance=0.05, file="model.int8.onnx")
        assert result.max_rel_diff <= 0.05


def test_int8_is_verified_against_its_own_answers(quantized: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.bundle"
    shutil.copytree(quantized, copy)
    arrays = dict(np.load(copy / "golden.npz"))
    own = arrays["logits of model.int8.onnx"]
    assert not np.array_equal(own, arrays["logits"])
    arrays["logits of model.int8.onnx"] = own + 0.2 * np.ptp(own)
    np.savez(copy / "golden.npz", **arrays)
    command = [sys.executable, "-m", "edge_tsm", "verify", str(copy), "--engine", "onnxruntime"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 10, done.stderr
    status = {line.split()[0]: line.split()[3] for line in done.stdout.splitlines()}
    assert status == {
        "model.onnx": "agree",
        "model.int8.onnx": "drifted",
        "model.int8.trt.onnx": "agree",
    }


def test_openvino_refuses_tensorrts_form(quantized: Path, tmp_path: Path) -> None:
    alone = shutil.copy(quantized / "model.int8.trt.onnx", tmp_path / "moved.onnx")
    with pytest.raises(
        BackendError, match=r"moved\.onnx is int8 for tensorrt alone, which OpenVINO"
    ):
        load(alone, engine="openvino")
    with pytest.raises(CardError, match="no variant"):
        load(quantized, engine="openvino", variant="model.int8.trt.onnx")
    with load(alone, engine="onnxruntime") as recognizer:
        golden = Golden.read(quantized)
        found = golden.replay(recognizer, tolerance=0.05, file="model.int8.trt.onnx")
    assert found.max_rel_diff <= 0.05


def an_assessment(precision: str, latency_ms: float, *, target: str = "any") -> Assessment:
    numbers = (3, 1.0, 1.0, 1.0, 0.0, 0.0, None, 1, latency_ms)
    return Assessment("file", "onnxruntime", precision, target, *numbers, "equal")


def test_int8_that_does_not_pay_is_reported() -> None:
    old, new, unknown = (Processor("x", f, 2, None) for f in (("AVX2",), ("VNNI",), ()))
    slow = [
        an_assessment("f32", 9),
        an_assessment("int8", 12),
        an_assessment("int8", 5, target="tensorrt"),
    ]
    message = "int8 is slower than float on this CPU (12.0 ms against 9.0 ms)"
    assert compare_speed(slow, new) == compare_speed(slow, unknown) == message
    assert compare_speed(slow, old) == f"{message}: it has no int8 dot product (VNNI)"
    assert compare_speed([*slow, an_assessment("int8", 3)], old) == ""


def test_a_broken_bound_is_an_error(quantized: Path) -> None:
    card, clips = Card.read(quantized), generated(2)

    def contrary(tensor: np.ndarray) -> np.ndarray:
        with load(quantized / "model.onnx", engine="onnxruntime") as recognizer:
            return -recognizer.backend.run({"clip": tensor})["logits"]

    holdout = Holdout(contrary, card, clips, max_drop=0.01, order_sensitive=True)
    with pytest.raises(VerificationError, match="answers 2 of 2 clips unlike the checkpoint"):
        holdout.check(quantized / "model.int8.onnx", card, engine="onnxruntime", precision="int8")
    int8 = card.files["model.int8.onnx"]
    found = holdout.assess(quantized / int8.path, int8, "onnxruntime")
    assert (found.top1_agreement, found.status) == (0, "beyond the bound")


def test_a_layer_that_is_not_there(checkpoint: Path, quantized: Path) -> None:
    card, clips = Card.read(quantized), generated(1)
    settings = Int8(clips, keep_float=("backbone.stem.0.konv",))
    quantizer = Quantizer(quantized / "model.onnx", card, clips, settings)
    holdout = Holdout(
        lambda x: np.zeros((1, 5), np.float32), card, clips, max_drop=0.1, order_sensitive=False
    )
    with pytest.raises(ConversionError, match=r"no layer 'backbone.stem.0.konv'; there are back"):
        quantizer.choose(holdout, quantized, warn=print)


class HarshHoldout:
    """Content once two layers are float; finds the classifier's harm the largest."""

    required = 1.0

    def agreement(self, path: Path) -> float:
        return float(21 - self.int8_layers(path) >= 2)

    def distance(self, path: Path, clips: int) -> float:
        constants = onnx.load(str(path)).graph.initializer
        return float(any("head" in t.name and t.name.endswith(":int") for t in constants))

    def int8_layers(self, path: Path) -> int:
        constants = onnx.load(str(path)).graph.initializer
        return sum(t.data_type == onnx.TensorProto.INT8 and len(t.dims) > 1 for t in constants)


def test_the_layers_that_hurt_most_stay_float(quantized: Path, tmp_path: Path) -> None:
    card, clips, warnings = Card.read(quantized), generated(1), list[str]()
    quantizer = Quantizer(quantized / "model.onnx", card, clips, Int8(clips))
    holdout = HarshHoldout()
    quantizer.choose(holdout, tmp_path, warn=warnings.append)  # type: ignore[arg-type]
    assert len(quantizer.float_layers) == 2
    assert quantizer.float_layers[0] == "head"
    assert warnings == ["int8 keeps 2 of 21 layers float"]
    assert holdout.int8_layers(quantizer.write(tmp_path / "int8.onnx")) == 19


def test_every_fourth_clip_is_kept_back() -> None:
    clips = ClipSet(np.zeros((9, 1, 1, 1, 3), np.uint8), np.arange(9))
    warnings: list[str] = []
    calibrate, held = split(clips, warn=warnings.append)
    assert held.labels is not None and calibrate.labels is not None
    assert held.labels.tolist() == [3, 7]
    assert calibrate.labels.tolist() == [0, 1, 2, 4, 5, 6, 8]
    assert "only 9 clips" in warnings[0]
    with pytest.raises(ConversionError, match="at least 2 clips"):
        split(clips[:1], warn=warnings.append)


def test_feeds_fill_the_batch(quantized: Path) -> None:
    card = make_card(batch=2)
    crops = np.zeros((3, 8, 224, 224, 3), np.uint8)
    crops[2] = 255
    first, second = list(Feeds(card, crops, quantized / "model.onnx"))
    assert first["clip"].shape == second["clip"].shape == (2, 24, 224, 224)
    assert np.array_equal(second["clip"][0], second["clip"][1])
    assert not np.array_equal(first["clip"][1], second["clip"][0])


def test_clips_come_from_lists_class_folders_and_plain_folders(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    card = replace(make_card(classes=2), labels=("b", "a"))  # another order than the folders'
    for name in ("b/one", "b/two", "a/three"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "tree" / name / "1.png"), np.full((240, 320, 3), 9, np.uint8))
    (tmp_path / "list.txt").write_text("tree/b/one 1\ntree/gone 0\n")
    warnings: list[str] = []
    tree = read_clips(tmp_path / "tree", card, warn=warnings.append)
    assert (len(tree), tree.crops.shape[1:]) == (3, (8, 224, 224, 3))
    assert tree.labels is not None and tree.labels.tolist() == [1, 0, 0]
    others = read_clips(tmp_path / "tree", make_card(classes=2), warn=warnings.append)
    assert (len(others), others.labels) == (3, None)
    plain = read_clips(tmp_path / "tree/b", card, warn=warnings.append)
    assert (len(plain), plain.labels) == (2, None)
    assert warnings == []
    listed = read_clips(tmp_path / "list.txt", card, warn=warnings.append)
    assert listed.labels is not None and listed.labels.tolist() == [1]
    assert "left out of int8" in warnings[0] and "gone" in warnings[0]


@pytest.mark.parametrize("content", [None, "nonsense\n"])
def test_clips_that_are_none(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "clips.txt"
    if content:
        path.write_text(content)
    with pytest.raises(ConversionError, match=r"clips\.txt"):
        read_clips(path, make_card(), warn=print)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--int8"], "--int8 needs --calibrate CLIPS: the ranges of activations"),
        (["--calibrate", "x"], "are for --int8; add that"),
        (["--int8", "--calibrate", "x", "--max-drop", "2"], "not in the range"),
    ],
)
def test_int8_options_that_do_not_fit(options: list[str], message: str, checkpoint: Path) -> None:
    command = [sys.executable, "-m", "edge_tsm", "convert", str(checkpoint), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr


def test_trained_weights_keep_their_answers(shared: Path, tmp_path: Path) -> None:
    """A trained MobileNetV2-TSM, a few real clips each to calibrate and to judge by."""
    pytest.importorskip("cv2")
    clips = shared / "clips/surv_fight"
    for name, step in (("train", 17), ("val", 5)):
        lines = (clips / f"{name}.txt").read_text().splitlines()[::step]
        (tmp_path / f"{name}.txt").write_text("".join(f"{clips}/{line}\n" for line in lines))
    int8 = Int8(tmp_path / "train.txt", holdout=tmp_path / "val.txt", max_drop=0.1)
    [weights] = shared.glob("weights/TSM_fight*/ckpt.pth.tar")
    bundle = convert(weights, tmp_path / "fight.bundle", settings=Settings(int8=int8))
    rows = json.loads((bundle / "report.json").read_text())["verdicts"]
    judged = {row["file"]: row for row in rows}
    for name in ("model.int8.onnx", "model.int8.xml"):
        assert judged[name]["mean_probability_diff"] <= 0.02
        assert judged[name]["top1_agreement"] >= 0.9
