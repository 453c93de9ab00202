"""The form of the graph: its size, its operator set, and a batch of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest

from converters import Int8, Options, Settings, convert
from converters.export import onnx as export
from edge_tsm import Card, load
from edge_tsm.datatypes import Image
from edge_tsm.errors import ConversionError, VerificationError

SMALL = Options(size=64, segments=2, dynamic_batch=True)


@pytest.fixture(scope="module")
def dynamic(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("form") / "any.bundle"
    return convert(checkpoint, target, SMALL, Settings(opset=20))


def clips(count: int) -> list[list[Image]]:
    noise = np.random.default_rng(count).integers(0, 256, (count, 2, 64, 64, 3), dtype=np.uint8)
    return [list(clip) for clip in noise]


def test_the_card_says_any_batch_and_the_size(dynamic: Path) -> None:
    card = Card.read(dynamic)
    assert (card.input.shape, card.input.dynamic_batch) == ((1, 6, 64, 64), True)
    assert (card.preprocess.crop_px, card.preprocess.resize.short_side_px) == (64, 73)
    assert card.provenance.inferred["dynamic batch"] == "option --dynamic-batch"
    assert "Input Nx6x64x64" in (dynamic / "report.md").read_text()


def test_the_graphs_leave_the_batch_open(dynamic: Path) -> None:
    model = onnx.load(str(dynamic / "model.onnx"))
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 20)]
    for tensor in (model.graph.input[0], model.graph.output[0]):
        assert tensor.type.tensor_type.shape.dim[0].dim_param == "batch"
    ir = openvino.Core().read_model(dynamic / "model.xml")
    assert ir.input(0).partial_shape[0].is_dynamic
    assert ir.input(0).partial_shape[1:].to_shape() == [6, 64, 64]


@pytest.mark.parametrize("variant", ["model.onnx", "model.xml"])
@pytest.mark.parametrize("count", [2, 5])
def test_clips_in_one_run_do_not_mix(dynamic: Path, variant: str, count: int) -> None:
    with load(dynamic, variant=variant) as recognizer:
        together = np.stack([p.logits for p in recognizer.predict_many(clips(count))])
        alone = np.stack([recognizer.predict(clip).logits for clip in clips(count)])
    assert np.abs(together - alone).max() < 1e-4 * np.ptp(alone)
    assert np.abs(alone[0] - alone[1]).max() > 1e-2 * np.ptp(alone)


def test_a_graph_that_bakes_one_clip_in_is_refused(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced on one clip the frames of several stay in the order in which they came."""
    monkeypatch.setattr(export, "_TRACED_CLIPS", 1)
    with pytest.raises(VerificationError, match="does not answer as the checkpoint does"):
        convert(checkpoint, tmp_path / "x.bundle", SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "settings", "message"),
    [
        (SMALL, Settings(opset=10), "opset is 10; graphs of 11 to 20"),
        (SMALL, Settings(opset=21), "opset is 21"),
        (Options(batch=2, dynamic_batch=True), Settings(), "--batch 2 exactly so many"),
        (SMALL, Settings(int8=Int8(Path("clips"))), "--batch N instead of --dynamic-batch"),
        (Options(), Settings(int8=Int8(Path("clips")), opset=18), "for opsets 13 to 17, not 18"),
    ],
)
def test_what_does_not_go_together_is_refused_before_any_work(
    options: Options, settings: Settings, message: str, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(checkpoint, tmp_path / "x.bundle", options, settings)
    assert not list(tmp_path.iterdir())
