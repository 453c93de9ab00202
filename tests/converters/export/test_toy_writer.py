"""A new form of artifact is one entry in a table; nothing else knows of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from converters import Options, Settings, convert
from converters.export import WRITERS, Choices, Writer
from edge_tsm import Card, load
from edge_tsm.bundle.golden import Golden
from edge_tsm.errors import VerificationError
from tests.helpers.upstream import write_checkpoint

SHORT = Options(segments=2)


def write_toy(source: Path, card: Card, path: Path) -> Path:
    """The finished ONNX model with one line of metadata more."""
    model = onnx.load(str(source))
    model.metadata_props.add(key="toy", value=card.name)
    path.write_bytes(model.SerializeToString())
    return path


def write_wrong(source: Path, card: Card, path: Path) -> Path:
    """The same with another first layer."""
    model = onnx.load(str(source))
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    [weight] = [i for i in model.graph.initializer if i.name == conv.input[1]]
    weight.raw_data = (onnx.numpy_helper.to_array(weight) * np.float32(0.5)).tobytes()
    path.write_bytes(model.SerializeToString())
    return path


def unless_ir(choices: Choices) -> bool:
    return not choices.ir


TOY = Writer(
    step="toy",
    file="model.toy.onnx",
    precision="f32",
    engine="onnxruntime",
    source="onnx",
    write=write_toy,
    wanted=unless_ir,
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path, "resnet18")


def test_a_toy_artifact_is_written_proven_and_loaded(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WRITERS, "toy", TOY)
    lines: list[str] = []
    settings = Settings(ir=False)
    bundle = convert(checkpoint, tmp_path / "x.bundle", SHORT, settings, progress=lines.append)
    card = Card.read(bundle)
    assert list(card.files) == ["model.onnx", "model.toy.onnx"]
    assert card.files["model.toy.onnx"].engines == ("onnxruntime", "openvino")
    assert 0 < card.verification["model.toy.onnx"].max_rel_diff <= 1e-4
    assert "| model.toy.onnx | toy on OpenVINO |" in (bundle / "report.md").read_text()
    assert any(line.startswith("model.toy.onnx ") and " s  max" in line for line in lines)
    metadata = onnx.load(str(bundle / "model.toy.onnx")).metadata_props
    assert {p.key: p.value for p in metadata}["toy"] == "x"
    with load(bundle, engine="openvino", variant="model.toy.onnx") as recognizer:
        assert Golden.read(bundle).replay(recognizer, tolerance=1e-4).top1_agreement == 1


def test_a_toy_artifact_that_errs_leaves_no_bundle(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Writer("toy", "model.toy.onnx", "f32", "onnxruntime", "onnx", write_wrong, unless_ir)
    monkeypatch.setitem(WRITERS, "toy", toy)
    with pytest.raises(VerificationError, match=r"model\.toy\.onnx does not answer"):
        convert(checkpoint, tmp_path / "x.bundle", SHORT, Settings(ir=False))
    assert not (tmp_path / "x.bundle").exists()
