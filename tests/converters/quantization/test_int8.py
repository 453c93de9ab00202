"""Quantizing as a whole: the clips, the holdout, the bundle, what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from converters import builder
from converters.builder import Settings, convert
from converters.quantization.calibration import ClipSet, Feeds, read_clips, split
from converters.quantization.evidence import weigh
from converters.quantization.holdout import Assessment, Holdout, Original, compare_speed
from converters.quantization.int8 import Int8, Quantizer
from converters.quantization.judgment import Outcome
from converters.quantization.qdq import layer_names
from converters.recipe import Options
from converters.verification.clips import generated_clip
from edge_tsm import demo as packaged
from edge_tsm import load
from edge_tsm.backends import ENGINES
from edge_tsm.bundle.card import Card, Verification
from edge_tsm.bundle.golden import Golden
from edge_tsm.diagnostics.verify import Status, verify_bundle
from edge_tsm.errors import (
    BackendError,
    CardError,
    ConversionError,
    IncompleteError,
    VerificationError,
)
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.system.machine import Processor, processor
from tests.helpers.contrary_engine import ENGINE as CONTRARY
from tests.helpers.fakes import make_card

DEMO = Path(__file__).parents[3] / "examples/demo/ckpt.best.pth.tar"
SIZE_PX = 112  # a quarter of the work of 224
SMALL = Options(size=SIZE_PX)


def generated(count: int, *, size_px: int = SIZE_PX) -> ClipSet:
    crops = np.stack([generated_clip(100 + seed, 8, size_px) for seed in range(count)])
    return ClipSet(crops, np.arange(count) % 5)


@pytest.fixture(scope="module")
def quantized(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX-only bundle with int8, from crops handed over in Python.

    The network is untrained, so its narrow margins may not be held to 99 %. Clips too few to choose
    by leave weights rounded, which is quick.
    """
    int8 = Int8(generated(3), holdout=generated(3), max_drop=0.9, tensorrt=True)
    target = tmp_path_factory.mktemp("int8") / "q.bundle"
    return convert(checkpoint, target, SMALL, Settings(ir=False, int8=int8))


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
        assert row["status"] == "proven" or "int8" in name
        assert (row["judgment"] is not None) is ("int8" in name)
        assert row["accuracy"] is not None
        assert row["bytes"] == (quantized / name).stat().st_size
        assert row["mean_probability_diff"] < (0.05 if "int8" in name else 1e-5)
    assert (
        rows["model.int8.onnx", "openvino"]["bytes"] < 0.3 * rows["model.onnx", "openvino"]["bytes"]
    )
    text = (quantized / "report.md").read_text()
    assert "## Float and int8" in text
    page = (quantized / "report.html").read_text()
    assert "Is int8 as good?" in page
    assert page.count("<svg") == 1 + 3  # latency, and margins of each judged file on each engine


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
    return Assessment("file", "onnxruntime", precision, target, *numbers, Outcome.PROVEN)


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


def a_holdout(original: Original, card: Card, clips: ClipSet) -> Holdout:
    evidence = weigh(clips, ClipSet(clips.crops[:0]), warn=print)
    return Holdout(original, card, clips, evidence, max_drop=0.01)


def test_a_broken_bound_is_an_error(quantized: Path) -> None:
    card, clips = Card.read(quantized), generated(3)

    def contrary(tensor: np.ndarray) -> np.ndarray:
        with load(quantized / "model.onnx", engine="onnxruntime") as recognizer:
            return -recognizer.backend.run({"clip": tensor})["logits"]

    holdout = a_holdout(Original(contrary, order_sensitive=True), card, clips)
    with pytest.raises(VerificationError, match="worse than the checkpoint: it loses 3 of 3 ans"):
        holdout.check(quantized / "model.int8.onnx", card, engine="onnxruntime", precision="int8")
    int8 = card.files["model.int8.onnx"]
    found = holdout.assess(quantized / int8.path, int8, "onnxruntime")
    assert (found.top1_agreement, found.status) == (0, "worse")


def test_a_layer_that_is_not_there(tmp_path: Path) -> None:
    source, clips = packaged.bundle() / "model.onnx", generated(1, size_px=224)
    settings = Int8(clips, keep_float=("backbone.blocks.1.konv",))
    with pytest.raises(ConversionError, match=r"no layer 'backbone.blocks.1.konv'; there are ba"):
        Quantizer(source, Card.read(source.parent), clips, settings, work=tmp_path)


@dataclass(frozen=True)
class Verdict:
    outcome: Outcome
    reasons: tuple[str, ...] = ("too many are lost",)


class HarshHoldout:
    """Content once two layers are float."""

    def __init__(self, most: int) -> None:
        self.most, self.tried = most, list[int]()

    def attempt(self, path: Path) -> Verdict:
        constants = onnx.load(str(path)).graph.initializer
        weights = [t for t in constants if t.data_type == onnx.TensorProto.INT8 and len(t.dims) > 1]
        self.tried.append(len(weights))
        return Verdict(Outcome.WORSE if len(weights) > self.most else Outcome.UNPROVEN)


def test_as_few_layers_as_it_takes_stay_float(tmp_path: Path) -> None:
    source = packaged.bundle() / "model.onnx"
    card, clips, warnings = Card.read(source.parent), generated(1, size_px=224), list[str]()
    total = len(layer_names(source))
    quantizer, holdout = (
        Quantizer(source, card, clips, Int8(clips), work=tmp_path),
        HarshHoldout(total - 2),
    )
    quantizer.choose(holdout, warn=warnings.append)  # type: ignore[arg-type]
    assert holdout.tried == [total, total - 1, total - 2]
    assert len(quantizer.float_layers) == 2
    assert warnings == [f"int8 keeps 2 of {total} layers float"]
    holdout.attempt(quantizer.write(tmp_path / "int8.onnx"))
    assert holdout.tried[-1] == total - 2


def test_layers_in_vain(tmp_path: Path) -> None:
    source = packaged.bundle() / "model.onnx"
    card, clips = Card.read(source.parent), generated(1, size_px=224)
    quantizer = Quantizer(source, card, clips, Int8(clips), work=tmp_path)
    with pytest.raises(VerificationError, match=r"worse even with 16 of .*too many are lost"):
        quantizer.choose(HarshHoldout(0), warn=print)  # type: ignore[arg-type]


def test_half_of_the_clips_calibrate_at_most_32_and_the_others_judge() -> None:
    clips = ClipSet(np.zeros((9, 1, 1, 1, 3), np.uint8), np.arange(9))
    calibrate, held = split(clips)
    assert held.labels is not None and calibrate.labels is not None
    assert calibrate.labels.tolist() == [0, 2, 4, 6]
    assert held.labels.tolist() == [1, 3, 5, 7, 8]
    assert held.name(0) == "clip 1"
    many = ClipSet(np.zeros((200, 1, 1, 1, 3), np.uint8))
    assert list(map(len, split(many))) == [32, 168]
    with pytest.raises(ConversionError, match="at least 2 clips"):
        split(clips[[0]])


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
    assert "the clips count without their classes" in warnings.pop()
    plain = read_clips(tmp_path / "tree/b", card, warn=warnings.append)
    assert (len(plain), plain.labels) == (2, None)
    assert warnings == []
    (tmp_path / "tree/loose.mp4").touch()
    read_clips(tmp_path / "tree", card, warn=warnings.append)
    assert "1 clip beside the class folders left out (no class): loose.mp4" in warnings.pop()
    listed = read_clips(tmp_path / "list.txt", card, warn=warnings.append)
    assert listed.labels is not None and listed.labels.tolist() == [1]
    assert "1 clip missing" in warnings[0]
    assert "left out of int8" in warnings[1] and "gone" in warnings[1]


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
    int8 = Int8(
        tmp_path / "train.txt",
        holdout=tmp_path / "val.txt",
        max_drop=0.1,
        reduce_range=processor().int8_saturates,
    )
    [weights] = shared.glob("weights/TSM_fight*/ckpt.pth.tar")
    bundle = convert(weights, tmp_path / "fight.bundle", settings=Settings(int8=int8))
    rows = json.loads((bundle / "report.json").read_text())["verdicts"]
    judged = {row["file"]: row for row in rows}
    for name in ("model.int8.onnx", "model.int8.xml"):
        assert judged[name]["mean_probability_diff"] <= 0.02
        assert judged[name]["top1_agreement"] >= 0.9


def discs(first: int, count: int) -> ClipSet:
    clips = [generated_clip(first + seed, 8, SIZE_PX) for seed in range(count)]
    return ClipSet(np.stack(clips))


BLACK = ClipSet(np.zeros((4, 8, SIZE_PX, SIZE_PX, 3), np.uint8), names=("b0", "b1", "b2", "b3"))


def test_black_clips_leave_int8_unproven_and_it_runs_by_name_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EDGE_TSM_CACHE", str(tmp_path / "cache"))
    settings = Settings(ir=False, int8=Int8(BLACK))
    bundle = convert(DEMO, tmp_path / "black.bundle", SMALL, settings)
    assert {f.path: f.proven for f in Card.read(bundle).files.values()} == {
        "model.onnx": True,
        "model.int8.onnx": False,
    }
    warnings = " ".join(json.loads((bundle / "report.json").read_text())["warnings"])
    assert "4 of 4 int8 clips are constant (one color, or black): b0, b2, b1, b3" in warnings
    assert "3 of 4 int8 clips are duplicates" in warnings
    assert "no clip kept back counts as evidence" in warnings
    assert "on generated clips its logits move by" in warnings
    with load(bundle) as recognizer:
        assert recognizer.variant is not None
        assert recognizer.variant.file.path == "model.onnx"
    assert "too few clips" not in caplog.text
    with load(bundle, variant="model.int8.onnx") as recognizer:
        assert recognizer.variant is not None and not recognizer.variant.file.proven
    assert "too few clips prove its answers" in caplog.text


def test_a_failed_int8_leaves_the_rest_of_the_bundle(tmp_path: Path) -> None:
    """Ranges from black clips, judged on clips that move."""
    int8 = Int8(BLACK, holdout=discs(50, 8), keep_float="none", tensorrt=True)
    settings = Settings(f16=True, int8=int8)
    with pytest.raises(IncompleteError, match=r"no model\.int8\.onnx: .* is worse") as caught:
        convert(DEMO, tmp_path / "x.bundle", SMALL, settings)
    bundle = caught.value.bundle
    assert caught.value.exit_code == 11
    assert list(Card.read(bundle).files) == ["model.onnx", "model.xml", "model.f16.xml"]
    assert not list(bundle.glob("*int8*"))
    assert {replay.status for replay in verify_bundle(bundle)} == {Status.AGREE}
    report = json.loads((bundle / "report.json").read_text())
    assert any(
        "no model.int8.xml: it is made from model.int8.onnx" in w for w in report["warnings"]
    )
    [judged] = [row for row in report["verdicts"] if row["file"] == "model.int8.onnx"]
    assert judged["status"] == "worse" and judged["judgment"]["losses"] >= 3
    assert "is worse than the checkpoint" in (bundle / "report.md").read_text()


def test_int8_that_fails_on_a_second_engine_alone_leaves_the_f32_bundle_and_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, "contrary", CONTRARY)
    int8 = Int8(discs(0, 3), holdout=discs(50, 3), max_drop=0.2)
    with pytest.raises(
        IncompleteError, match=r"no model\.int8\.onnx: model\.int8\.onnx on contrary is worse"
    ) as caught:
        convert(DEMO, tmp_path / "x.bundle", SMALL, Settings(ir=False, int8=int8))
    bundle = caught.value.bundle
    assert caught.value.exit_code == 11
    [only] = Card.read(bundle).files.values()
    assert (only.path, only.engines) == ("model.onnx", ("onnxruntime", "openvino", "contrary"))
    assert not list(bundle.glob("*int8*"))
    assert {replay.status for replay in verify_bundle(bundle)} == {Status.AGREE}
    report = json.loads((bundle / "report.json").read_text())
    assert [w for w in report["warnings"] if w.startswith("no model.int8.onnx: ")]
    assert "model.int8.onnx on contrary is worse" in (bundle / "report.md").read_text()
    judged = [row for row in report["verdicts"] if row["file"] == "model.int8.onnx"]
    assert {row["engine"]: row["status"] for row in judged} == {
        "onnxruntime": "unproven",
        "openvino": "unproven",
        "contrary": "worse",
    }


@pytest.mark.parametrize("saturates", [True, False])
def test_int8_that_fails_its_golden_clips_on_a_second_engine_stays_only_if_the_cpu_is_why(
    saturates: bool, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, cpu = (
        Golden.replay,
        Processor("some CPU", ("AVX2",) if saturates else ("AVX2", "VNNI"), 2, None),
    )

    def replay(self: Golden, recognizer: Recognizer, *, file: str, **facts: Any) -> Verification:
        found = real(self, recognizer, file=file, **facts)
        failing = (file, recognizer.backend.engine) == ("model.int8.onnx", "openvino")
        return replace(found, max_rel_diff=1.0) if failing else found

    monkeypatch.setattr(Golden, "replay", replay)
    monkeypatch.setattr(builder, "processor", lambda: cpu)
    int8 = Int8(generated(3), holdout=generated(3), max_drop=0.9)
    lines, settings = list[str](), Settings(ir=False, int8=int8)
    path = tmp_path / "x.bundle"
    failure = "model.int8.onnx fails its own golden clips on openvino"
    if not saturates:
        with pytest.raises(IncompleteError, match=failure):
            convert(checkpoint, path, SMALL, settings)
        assert list(Card.read(path).files) == ["model.onnx"]
        return
    convert(checkpoint, path, SMALL, settings, progress=lines.append)
    files = Card.read(path).files
    assert files["model.int8.onnx"].engines == ("onnxruntime",)
    assert files["model.onnx"].engines == ("onnxruntime", "openvino")
    assert any(failure in line for line in lines)


def test_only_what_is_named_stays_in_the_bundle(checkpoint: Path, tmp_path: Path) -> None:
    settings = Settings(f16=True, only=("onnx",))
    bundle = convert(checkpoint, tmp_path / "x.bundle", SMALL, settings)
    card = Card.read(bundle)
    assert list(card.files) == list(card.verification) == ["model.onnx"]
    assert card.files["model.onnx"].engines == ("onnxruntime", "openvino")  # as no IR is there
    assert [path.name for path in bundle.glob("model*")] == ["model.onnx"]
    assert all(replay.status is Status.AGREE for replay in verify_bundle(bundle))


def test_where_what_alone_was_to_stay_is_not_proven_the_others_stay(tmp_path: Path) -> None:
    settings = Settings(ir=False, int8=Int8(BLACK), only=("onnx-int8",))
    bundle = convert(DEMO, tmp_path / "x.bundle", SMALL, settings)
    assert list(Card.read(bundle).files) == ["model.onnx", "model.int8.onnx"]
    assert "so the other artifacts stay" in (bundle / "report.md").read_text()


@pytest.mark.parametrize(
    ("only", "said"),
    [
        ("onnx-int4", "there is no artifact 'onnx-int4'; there are onnx, ir, ir-f16, "),
        ("onnx-int8", "only int8-onnx: this conversion writes onnx, ir; further artifacts need"),
    ],
)
def test_artifacts_that_there_are_not_are_refused_with_those_that_there_are(
    only: str, said: str, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConversionError, match=said):
        convert(checkpoint, tmp_path / "x.bundle", SMALL, Settings(only=(only,)))
