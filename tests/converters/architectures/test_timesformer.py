"""TimeSformers answer as the code bases' own code does, whatever their size."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from converters.architectures import timesformer
from converters.architectures.classifier import build_reference
from converters.architectures.timesformer import (
    TimeSformer,
    TimeSformerClassifier,
    begin_as_shift,
)
from converters.bundling import card_of
from converters.checkpoints.timesformer import facebook_state
from converters.export.onnx import export_onnx
from converters.export.openvino import write_ir
from converters.planning import Plan, plan
from converters.quantization.qdq import Form, calibrate, quantize
from converters.recipe import Options
from converters.verification.reference import run_artifact
from edge_tsm.backends import RuntimeOptions, open_backend
from edge_tsm.errors import InputError
from edge_tsm.system.machine import processor
from tests.helpers import graphs
from tests.helpers.paths import module_at
from tests.helpers.timesformer import Size, UpstreamTimeSformer, random_clips, write_facebook

SMALL = [
    "fb_timesformer_jointst_8x224_d2w192",
    "mmaction2_timesformer_jointst_d2w192",
    "mmaction2_timesformer_spaceonly_d4w384",
    "paddlevideo_timesformer_divst_16f_d3w384",
]
WHOLE = [
    "fb_timesformer_divst_8x224",
    "hf_timesformer_base",
    "mmaction2_timesformer_divst",
    "paddlevideo_timesformer_8f",
]
DIVIDED = "paddlevideo_timesformer_divst_16f_d3w384"


@pytest.fixture(scope="module")
def check(shared: Path, golden_recipe: ModuleType) -> ModuleType:
    """What compares with a golden, and writes the file that it describes."""
    sys.modules.setdefault("recipe", golden_recipe)
    return module_at(shared / "golden/check.py", "golden_check")


def read(name: str, check: ModuleType, shared: Path, folder: Path) -> tuple[dict[str, Any], Plan]:
    golden = check.load(str(shared / f"golden/public/{name}.json"))
    golden["inputs"]["count"] = 1
    return golden, plan(Path(check.write_checkpoint(golden, str(folder))), Options())


def reference(planned: Plan) -> nn.Module:
    return build_reference(planned.recipe, planned.checkpoint.tensors)


def answer(model: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    def run(clip: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = model(torch.from_numpy(clip)).numpy()
        return found

    return run


def artifacts(
    planned: Plan, model: nn.Module, folder: Path
) -> dict[str, Callable[..., np.ndarray]]:
    """Both engines' answers to a batch of clips."""
    card = card_of(planned.recipe, "x", checkpoint_sha256="0" * 64)
    graph = export_onnx(model, card, folder / "x.onnx")
    write_ir(graph, card, folder / "x.xml", f16=False)

    def on(engine: str, file: str) -> Callable[[np.ndarray], np.ndarray]:
        def run(clips: np.ndarray) -> np.ndarray:
            backend = open_backend(engine, folder / file, RuntimeOptions())
            try:
                return run_artifact(backend, card, clips)
            finally:
                backend.close()

        return run

    return {"onnx": on("onnxruntime", "x.onnx"), "ir": on("openvino", "x.xml")}


@pytest.mark.parametrize("name", SMALL)
def test_all_forms_answer_as_the_code_base(
    name: str, check: ModuleType, shared: Path, tmp_path: Path
) -> None:
    golden, planned = read(name, check, shared, tmp_path)
    model = reference(planned)
    check.compare(golden, answer(model))
    for engine, path in graphs.artifacts(planned, tmp_path, model).items():
        check.compare(golden, partial(graphs.answers, path, engine, graphs.card_for(planned)))


@pytest.mark.parametrize("name", WHOLE)
def test_networks_of_full_size_answer_as_the_code_base(
    name: str, check: ModuleType, shared: Path, tmp_path: Path
) -> None:
    golden, planned = read(name, check, shared, tmp_path)
    check.compare(golden, answer(reference(planned)))


# --- what gives a wrong answer without an error --------------------------------------------------


def _first_copy_counts(model: TimeSformerClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    first = timesformer.OfFrames.cls_of
    monkeypatch.setattr(
        timesformer.OfFramesTogether, "cls_of", lambda self, s: first(self, s)[:, :1]
    )


def _time_reaches_the_class_token(
    model: TimeSformerClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = model.tokens

    def late(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        cls, patches = tokens(x)
        return cls + model.time_embed[:, :1], patches

    monkeypatch.setattr(model, "tokens", late)


def _every_attention(model: TimeSformerClassifier) -> list[timesformer.SelfAttention]:
    return [m for m in model.modules() if isinstance(m, timesformer.SelfAttention)]


def _fused(attention: timesformer.SelfAttention) -> torch.Tensor:
    return torch.cat([attention.q.weight, attention.k.weight, attention.v.weight])


def _keys_come_first(model: TimeSformerClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    for attention in _every_attention(model):
        attention.q, attention.k, attention.v = attention.k, attention.v, attention.q


def _heads_are_outside(model: TimeSformerClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    for attention in _every_attention(model):
        rows = _fused(attention).reshape(attention.heads, 3, attention.each, -1)
        for layer, part in zip((attention.q, attention.k, attention.v), range(3), strict=True):
            layer.weight = nn.Parameter(rows[:, part].reshape(layer.weight.shape))


def _square_matrices_are_not_transposed(
    model: TimeSformerClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    for attention in _every_attention(model):
        attention.proj.weight = nn.Parameter(attention.proj.weight.T.contiguous())


MISTAKES = [
    _first_copy_counts,
    _time_reaches_the_class_token,
    _keys_come_first,
    _heads_are_outside,
    _square_matrices_are_not_transposed,
]


@pytest.fixture(scope="module")
def divided(
    check: ModuleType, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Plan]:
    return read(DIVIDED, check, shared, tmp_path_factory.mktemp("divided"))


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.__name__)
def test_a_mistake_would_be_noticed(
    mistake: Callable[..., None],
    divided: tuple[dict[str, Any], Plan],
    check: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    golden, planned = divided
    model = reference(planned)
    assert isinstance(model, TimeSformerClassifier)
    mistake(model, monkeypatch)
    with pytest.raises(AssertionError, match="differs by"):
        check.compare(golden, answer(model))


# --- other sizes ---------------------------------------------------------------------------------

SIZES = [
    Size(),
    Size(frames=16, classes=2, depth=1),
    Size(frames=96, depth=1),
    Size(frames=3, px=112, patch=8, width=96, heads=3),
    Size(biased=False),
    Size(px=80, depth=3, frames=1),
]


def converted(size: Size, folder: Path, **more: Any) -> tuple[UpstreamTimeSformer, Plan]:
    upstream = UpstreamTimeSformer(size)
    path = write_facebook(upstream, folder / "x.pyth")
    return upstream, plan(path, Options(interval=2, own={"heads": size.heads}, **more))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_size_answers_as_upstream(size: Size, tmp_path: Path) -> None:
    upstream, planned = converted(size, tmp_path)
    expected = upstream.answers(random_clips(size))
    found = answer(reference(planned))(random_clips(size))
    assert np.abs(found - expected).max() <= 1e-4 * np.ptp(expected)


@pytest.mark.parametrize("more", [{}, {"batch": 2}, {"dynamic_batch": True}], ids=str)
def test_graphs_compute_no_shapes_and_take_their_batch(
    more: dict[str, Any], tmp_path: Path
) -> None:
    size = Size()
    upstream, planned = converted(size, tmp_path, **more)
    clips = random_clips(size)
    for run in artifacts(planned, reference(planned), tmp_path).values():
        expected = upstream.answers(clips)
        assert np.abs(run(clips) - expected).max() <= 1e-4 * np.ptp(expected)
    nodes = onnx.load(str(tmp_path / "x.onnx")).graph.node
    kinds = [node.op_type for node in nodes]
    assert "Tile" not in kinds
    assert {"LayerNormalization", "Erf", "Softmax"} <= set(kinds)
    # The class token is one for each clip: only that asks a batch of any size for its size.
    assert kinds.count("Shape") <= (2 if more.get("dynamic_batch") else 0)


def test_engines_fuse_the_gelu(tmp_path: Path) -> None:
    import onnxruntime

    _, planned = converted(Size(), tmp_path)
    artifacts(planned, reference(planned), tmp_path)
    settings = onnxruntime.SessionOptions()
    settings.optimized_model_filepath = str(tmp_path / "fused.onnx")
    onnxruntime.InferenceSession(
        str(tmp_path / "x.onnx"), settings, providers=["CPUExecutionProvider"]
    )
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "fused.onnx")).graph.node]
    assert {"Gelu", "BiasGelu"} & set(kinds)
    assert "Erf" not in kinds


def test_what_training_writes_is_read_as_it_was(tmp_path: Path) -> None:
    size = Size()
    _, planned = converted(size, tmp_path)
    model = reference(planned)
    assert isinstance(model, TimeSformerClassifier)
    path = tmp_path / "own.pyth"
    torch.save({"model_state": facebook_state(model)}, path)
    again = plan(path, Options(interval=2))
    clips = random_clips(size)
    assert np.abs(answer(reference(again))(clips) - answer(model)(clips)).max() < 1e-5
    upstream = UpstreamTimeSformer(size, seed=1)
    upstream.load_state_dict(
        {n.removeprefix("model."): t for n, t in facebook_state(model).items()}
    )
    assert np.abs(upstream.answers(clips) - answer(model)(clips)).max() < 1e-4


FLOATS = ("Softmax", "LayerNormalization", "Erf", "Add", "MatMul")


def test_all_linear_layers_are_int8_and_sums_that_norms_read_are_not(tmp_path: Path) -> None:
    size = Size()
    upstream, planned = converted(size, tmp_path)
    artifacts(planned, reference(planned), tmp_path)
    clips = random_clips(size, 6)
    feeds = [{"clip": clip[None]} for clip in clips]
    graph, int8 = tmp_path / "x.onnx", tmp_path / "int8.onnx"
    quantize(graph, int8, calibrate(graph, feeds), Form())
    model = onnx.load(str(int8))
    made = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        sources = {made[name].op_type for name in node.input if name in made}
        places = node.op_type == "Add" and len(sources) < len(node.input)  # of the first layer's
        if node.op_type in ("Gemm", "Conv"):
            assert sources == {"DequantizeLinear"}, node.name
        elif node.op_type in FLOATS and not places:
            assert "DequantizeLinear" not in sources, node.name
    expected, card = upstream.answers(clips), card_of(planned.recipe, "x", checkpoint_sha256="0")
    exact = ("onnxruntime",) if processor().int8_saturates else ("onnxruntime", "openvino")
    for engine in exact:
        backend = open_backend(engine, int8, RuntimeOptions())
        found = run_artifact(backend, card, clips)
        backend.close()
        assert np.abs(found - expected).max() < 0.1 * np.ptp(expected), engine


def test_attention_may_begin_as_a_shift() -> None:
    """Before any training, two heads look one frame back and one ahead, whatever is seen."""
    spec = TimeSformer("divided", 2, 128, 256, patch=16, patches=2, frames=8, heads=2)
    model = spec.classifier(SimpleNamespace(segments=8, classes=3))
    begin_as_shift(model, seed=1)
    clips = torch.randn(2, 24, 32, 32, generator=torch.Generator().manual_seed(0))
    block = model.blocks[0]
    with torch.no_grad():
        tokens = block.temporal_norm1(model.tokens(clips)[1])
        parts = block.temporal_attn._parts(tokens, tokens)
        q, k, _ = (part.permute(0, 2, 3, 1, 4) for part in parts)
    asked = (q @ k.transpose(-1, -2)).argmax(-1)  # (N, places, heads, T)
    frames = torch.arange(8)
    assert (asked[:, :, 0] == (frames - 1).clamp(min=0)).all()
    assert (asked[:, :, 1] == (frames + 1).clamp(max=7)).all()


def test_only_attention_over_time_begins_as_a_shift() -> None:
    spec = TimeSformer("joint", 2, 128, 256, patch=16, patches=2, frames=8, heads=2)
    model = spec.classifier(SimpleNamespace(segments=8, classes=3))
    with pytest.raises(InputError, match="divided"):
        begin_as_shift(model, seed=1)
