"""Which artifact of a bundle runs: what serves a device, what is fastest, what is remembered."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest

from edge_tsm import load
from edge_tsm.backends import RuntimeOptions, devices
from edge_tsm.bundle.card import Card, File, Verification
from edge_tsm.errors import BackendError, CardError
from edge_tsm.inference.variants import Choice, Variant, named, proven, variants
from edge_tsm.system.machine import Processor
from tests.helpers.fakes import make_card

CPU = RuntimeOptions()


def a_file(name: str, precision: str = "f32", *, target: str = "any", also: str = "") -> File:
    engine = "openvino" if name.endswith(".xml") else "onnxruntime"
    further = {also: "1"} if also else {}
    return File(name, "00", precision, engine, "1", {}, further, target, proven=True)  # type: ignore[arg-type]


def a_card(*files: File) -> Card:
    proven = Verification(1, 0.0, 0.0, 1e-4, 1.0, 1.0, 1.0, 0.0)
    return dataclasses.replace(
        make_card(),
        files={file.path: file for file in files},
        verification={file.path: proven for file in files},
    )


@pytest.fixture
def card(tmp_path: Path) -> Card:
    card = a_card(
        a_file("model.onnx", also="openvino"),
        a_file("model.xml"),
        a_file("model.int8.onnx", "int8"),
        a_file("model.int8.trt.onnx", "int8", target="tensorrt"),
    )
    for name in card.files:
        (tmp_path / name).touch()
    return card


def test_what_serves_a_device(card: Card, tmp_path: Path) -> None:
    both = ("openvino", "onnxruntime")
    assert list(map(str, variants(card, tmp_path, both, "cpu"))) == [
        "model.onnx on openvino",
        "model.xml on openvino",
        "model.onnx on onnxruntime",
        "model.int8.onnx on onnxruntime",
    ]
    on_tensorrt = variants(card, tmp_path, ("onnxruntime",), "tensorrt")
    assert [v.file.path for v in on_tensorrt] == ["model.onnx", "model.int8.trt.onnx"]
    (tmp_path / "model.onnx").unlink()
    assert len(variants(card, tmp_path, both, "cpu")) == 2
    with pytest.raises(CardError, match=r"no artifact for openvino on cpu; the card lists"):
        variants(a_card(), tmp_path, ("openvino",), "cpu")


def test_a_variant_is_named_by_file_or_engine(card: Card, tmp_path: Path) -> None:
    found = variants(card, tmp_path, ("openvino", "onnxruntime"), "cpu")
    assert str(named(found, "onnxruntime")) == "model.onnx on onnxruntime"
    assert str(named(found, "model.xml")) == "model.xml on openvino"
    with pytest.raises(CardError, match=r"no variant 'model\.int9\.onnx' serves here; choose"):
        named(found, "model.int9.onnx")


def test_what_is_not_proven_runs_by_its_name_only(card: Card, tmp_path: Path) -> None:
    int8 = dataclasses.replace(card.files["model.int8.onnx"], proven=False)
    doubtful = dataclasses.replace(card, files=card.files | {int8.path: int8})
    found = variants(doubtful, tmp_path, ("onnxruntime",), "cpu")
    assert [str(v) for v in proven(found, where=tmp_path)] == ["model.onnx on onnxruntime"]
    assert not named(found, "model.int8.onnx").file.proven
    assert named(found[::-1], "onnxruntime").file.path == "model.onnx"
    with pytest.raises(CardError, match=r"model\.int8\.onnx is not proven; name it"):
        proven([named(found, "model.int8.onnx")], where=tmp_path)


def test_a_choice_is_remembered(
    card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_TSM_CACHE", str(tmp_path / "cache"))
    found = variants(card, tmp_path, ("openvino", "onnxruntime"), "cpu")
    assert Choice(card, CPU, found).recall(found) is None
    Choice(card, CPU, found).remember(found[2])
    assert Choice(card, CPU, found).recall(found) == found[2]
    for changed in (
        Choice(dataclasses.replace(card, name="other"), CPU, found),
        Choice(card, RuntimeOptions(threads=1), found),
        Choice(card, CPU, found[:3]),
    ):
        assert changed.recall(found) is None


@pytest.mark.parametrize("name", ["versions", "processor_identity"])
def test_a_choice_is_made_anew_for_other_engines_and_processors(
    name: str, card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_TSM_CACHE", str(tmp_path / "cache"))
    found = variants(card, tmp_path, ("openvino",), "cpu")
    Choice(card, CPU, found).remember(found[0])
    monkeypatch.setattr(f"edge_tsm.inference.variants.{name}", lambda *_: "another")
    assert Choice(card, CPU, found).recall(found) is None


def test_int8_on_openvino_may_saturate_without_vnni() -> None:
    old, new = Processor("x", ("AVX2",), 2, None), Processor("x", ("AVX2", "VNNI"), 2, None)
    int8, f32 = a_file("model.int8.xml", "int8"), a_file("model.xml")
    assert Variant(int8, "openvino").may_saturate(old)
    assert not Variant(int8, "openvino").may_saturate(new)
    assert not Variant(int8, "onnxruntime").may_saturate(old)  # there it is made exact
    assert not Variant(f32, "openvino").may_saturate(old)


@pytest.mark.parametrize("content", ["", "{", '"model.gone.onnx on openvino"', "[1]"])
def test_a_damaged_memory_is_forgotten(
    content: str, card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_TSM_CACHE", str(tmp_path / "cache"))
    found = variants(card, tmp_path, ("openvino",), "cpu")
    Choice(card, CPU, found).remember(found[0])
    [path] = (tmp_path / "cache").rglob("*.json")
    path.write_text(content)
    assert Choice(card, CPU, found).recall(found) is None


def test_a_cache_that_cannot_be_written_is_no_error(
    card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGE_TSM_CACHE", str(tmp_path / "file"))
    found = variants(card, tmp_path, ("openvino",), "cpu")
    choice = Choice(card, CPU, found)
    choice.remember(found[0])
    assert choice.recall(found) is None


def test_load_says_what_it_chose_and_chooses_once(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EDGE_TSM_CACHE", str(tmp_path))
    with caplog.at_level(logging.INFO, "edge_tsm"):
        with load(bundle) as recognizer:
            first = recognizer.variant
        assert f"chose {first}" in caplog.text
        caplog.clear()
        with load(bundle) as recognizer:
            assert recognizer.variant == first
        assert "chose" not in caplog.text


def test_a_named_variant_is_obeyed(bundle: Path) -> None:
    for name, file in Card.read(bundle).files.items():
        with load(bundle, variant=name) as recognizer:
            assert recognizer.variant == Variant(file, file.engine)


def test_every_device_of_an_engine_is_listed() -> None:
    pytest.importorskip("onnxruntime")
    assert "cpu" in devices("onnxruntime")
    with pytest.raises(BackendError, match="unknown"):
        devices("caffe")
