"""The online form: which checkpoints have one, and that it answers as upstream and the clip form.

The golden is six frames through upstream's online demo network, caches carried by its own code.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from converters.architectures.classifier import build_online, build_reference
from converters.builder import convert
from converters.planning import plan
from converters.quantization.calibration import ClipSet
from converters.quantization.evidence import weigh
from converters.quantization.holdout import Holdout, Original
from converters.recipe import Options, Recipe
from converters.verification.clips import Clips, generated_clip
from converters.verification.online import OnlineReference, compounds
from converters.verification.reference import Check, run_artifact
from edge_tsm import demo as packaged
from edge_tsm import load
from edge_tsm.backends import RuntimeOptions, open_backend
from edge_tsm.bundle.card import Card
from edge_tsm.datatypes import Logits
from edge_tsm.errors import CheckpointError, VerificationError
from edge_tsm.inference.preprocess import Preprocessor
from edge_tsm.inference.streaming import chain
from tests.helpers.goldens import load_golden
from tests.helpers.paths import ROOT
from tests.helpers.upstream import upstream_state, write_checkpoint

TRAINED = ROOT / "examples/demo/online.best.pth.tar"
GOLDEN = "mit_online_mobilenetv2"
ENGINES = ("onnxruntime", "openvino")
FILES = {"onnxruntime": "model.onnx", "openvino": "model.xml"}


def write_past(folder: Path, arch: str, **extra: Any) -> Path:
    """A checkpoint as a training of this project leaves it."""
    path = write_checkpoint(folder, arch)
    outer = torch.load(path, weights_only=True)
    torch.save({**outer, "shift_direction": "past", "num_segments": 8, **extra}, path)
    return path


def write_flat(folder: Path, arch: str) -> Path:
    """A file without a trace of the shifts, as the demo's."""
    state = upstream_state(arch)
    names = {"module.": "", "base_model.": "", ".net.": ".", "new_fc": "fc"}
    flat = OrderedDict()
    for name, tensor in state.items():
        for theirs, plain in names.items():
            name = name.replace(theirs, plain)
        flat[name.replace("fc.", "classifier.") if arch == "mobilenetv2" else name] = tensor
    path = folder / "online.pth.tar"
    torch.save(flat, path)
    return path


@pytest.fixture(scope="module")
def demo(shared: Path, golden_recipe: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the golden's checkpoint, which is a flat file."""
    golden, folder = load_golden(GOLDEN, shared), tmp_path_factory.mktemp("demo")
    path = folder / golden["suggested_file_name"]
    arrays = golden_recipe.state_dict(golden)
    torch.save(OrderedDict((k, torch.from_numpy(np.asarray(v))) for k, v in arrays.items()), path)
    return convert(path, folder / "demo.bundle", Options(online=True))


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A one-way ResNet-18 for two streams."""
    folder = tmp_path_factory.mktemp("past")
    return convert(
        write_past(folder, "resnet18"), folder / "x.bundle", Options(online=True, batch=2)
    )


# --- as upstream --------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_chained_frames_answer_as_the_official_demo(
    engine: str, demo: Path, shared: Path, golden_recipe: ModuleType
) -> None:
    golden, card = load_golden(GOLDEN, shared), Card.read(demo)
    clip = np.concatenate([golden_recipe.online_frame(t) for t in range(6)], axis=1)
    with load(demo, engine=engine) as recognizer:
        [answers] = run_artifact(recognizer.backend, card, clip)
    assert np.abs(answers - golden["logits"]).max() <= golden["tolerance_abs"]


def test_the_demo_is_known_by_its_name_less_weights(demo: Path) -> None:
    card = Card.read(demo)
    assert (card.online, card.family) == (True, "mobilenet")
    assert card.arch["shifted_blocks"] == "10 of 17"
    assert card.arch["shift_direction"] == "past"
    assert "forced_online" not in card.arch
    assert card.preprocess.color == "bgr"
    assert card.provenance.inferred["color"] == "official online demo"
    assert card.streaming is not None
    assert (card.streaming.fps, card.streaming.horizon) == (15, 12)
    assert (card.input.name, card.input.shape, card.layout) == (
        "frame", (1, 3, 224, 224), "NCHW"
    )  # fmt: skip
    assert len(card.state) == 10
    assert sum(int(np.prod(cache.shape)) for cache in card.state) == 27_048
    assert card.state[0].shape == (1, 3, 56, 56)


def test_the_graph_is_static_and_names_every_cache(demo: Path) -> None:
    card, graph = Card.read(demo), onnx.load(str(demo / "model.onnx")).graph
    assert [i.name for i in graph.input] == ["frame", *(cache.input for cache in card.state)]
    assert [o.name for o in graph.output] == ["logits", *(cache.output for cache in card.state)]
    assert {n.op_type for n in graph.node} <= {
        "Conv", "Clip", "Add", "Slice", "Concat", "ReduceMean", "Gemm", "Constant"
    }  # fmt: skip


def test_the_report_tells_what_was_chained(demo: Path) -> None:
    report = json.loads((demo / "report.json").read_text())
    groups = report["steps"][-1]["check"]["groups"]
    assert groups.keys() == {"random", "generated", "reversed", "24 steps"}
    assert "10 caches" in (demo / "report.md").read_text()


# --- the same network in both forms -------------------------------------------------------------


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "mobilenetv2"])
def test_online_is_the_clip_form_frame_by_frame(arch: str, tmp_path: Path) -> None:
    planned = plan(write_past(tmp_path, arch), Options(online=True))
    recipe, tensors = planned.recipe, planned.checkpoint.tensors
    clip_form, online = build_reference(recipe, tensors), build_online(recipe, tensors)
    clips = torch.randn(2, 24, 64, 64, generator=torch.Generator().manual_seed(0))
    caches: list[torch.Tensor] = []
    with torch.no_grad():
        frames = clip_form.frames(clips).reshape(8, 2, -1)
        for t in range(8):
            logits, *caches = online(clips[:, 3 * t : 3 * t + 3], *caches)
            assert torch.allclose(logits, frames[t], atol=1e-4 * float(frames.max()))
        assert torch.allclose(clip_form(clips), frames.mean(0), atol=1e-5)
    assert {k for k in online.state_dict()} == {k for k in clip_form.state_dict()}


def test_a_one_way_checkpoint_is_also_a_clip_model(tmp_path: Path) -> None:
    recipe = plan(write_past(tmp_path, "resnet18"), Options()).recipe
    assert recipe.shift.direction == "past"
    assert recipe.facts.own["shift direction"].source == "the checkpoint"
    assert recipe.streaming is None


@pytest.mark.parametrize("engine", ENGINES)
def test_two_streams_in_one_engine(engine: str, past: Path) -> None:
    """Pushed side by side they answer as alone, and as whole clips."""
    generator = np.random.default_rng(5)
    clips = generator.integers(0, 256, (2, 8, 224, 224, 3), dtype=np.uint8)
    with load(past, engine=engine) as recognizer:
        whole = [answer.logits for answer in recognizer.predict_many(map(list, clips))]
        stream, alone = recognizer.stream(), recognizer.stream()
        for crops in clips.swapaxes(0, 1):
            both, single = stream.push_all(list(crops)), alone.push(crops[0])
    span = float(np.ptp(whole))
    for answer, expected in zip([*both, single], [*whole, whole[0]], strict=True):
        assert np.abs(answer.logits - expected).max() <= 1e-5 * span


@pytest.mark.parametrize("engine", ENGINES)
def test_the_engine_does_not_write_into_a_state_that_is_kept(engine: str, past: Path) -> None:
    card = Card.read(past)
    frames = np.random.default_rng(0).standard_normal((2, 9, 224, 224), np.float32)
    with load(past, engine=engine) as recognizer:
        kept, copies = [], []
        for inputs, outputs in chain(card, recognizer.backend, frames):
            kept += [*inputs.values(), *outputs.values()]
            copies += [array.copy() for array in (*inputs.values(), *outputs.values())]
    assert all(map(np.array_equal, kept, copies))


def test_less_precision_is_not_the_default(demo: Path) -> None:
    """OpenVINO left alone takes bf16 where the CPU has it; the f32 hint of the runtime holds.

    Measured with bf16: every answer is off by 1.5 to 3 % of the range, from the first frame on.
    """
    card = Card.read(demo)
    clips = np.random.default_rng(1).standard_normal((1, 36, 224, 224), np.float32)
    answers = {}
    for precision in ("f32", "bf16"):
        options = RuntimeOptions(precision=precision)  # type: ignore[arg-type]
        backend = open_backend("openvino", demo / "model.xml", options)
        answers[precision] = run_artifact(backend, card, clips)[0]
        backend.close()
    with load(demo, engine="onnxruntime") as recognizer:
        exact = run_artifact(recognizer.backend, card, clips)[0]
    drift = {k: np.abs(v - exact).max(1) / np.ptp(exact) for k, v in answers.items()}
    assert drift["f32"].max() <= 5e-5
    if drift["bf16"].max() <= 5e-5:
        pytest.skip("this CPU has no bf16")
    assert drift["bf16"].max() > 30 * drift["f32"].max()


# --- which checkpoints --------------------------------------------------------------------------


def test_a_flat_file_needs_the_word(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"plain image classifier, or an online model.*--online"
    ):
        plan(write_flat(tmp_path, "mobilenetv2"), Options())


@pytest.mark.parametrize(
    ("arch", "shifted", "color", "rate"),
    [
        ("resnet18", "8 of 8", "rgb", (2.667, 8)),
        ("resnet101", "18 of 33", "rgb", (2.667, 8)),
        ("mobilenetv2", "10 of 17", "bgr", (15, 12)),
    ],
)
def test_flat_files_are_shifted_by_upstreams_rule(
    arch: str, shifted: str, color: str, rate: tuple[float, int], tmp_path: Path
) -> None:
    recipe = plan(write_flat(tmp_path, arch), Options(online=True)).recipe
    assert recipe.facts.own["shifted blocks"].value == shifted
    assert recipe.facts.own["shift"].source == "--online"
    assert recipe.preprocess.color == color
    assert recipe.streaming is not None
    assert (recipe.streaming.fps, recipe.streaming.horizon) == rate


def test_what_an_option_says_comes_first(tmp_path: Path) -> None:
    path = write_flat(tmp_path, "mobilenetv2")
    options = Options(online=True, color="rgb", fps=10, horizon=5)
    recipe = plan(path, options).recipe
    assert recipe.preprocess.color == "rgb"
    assert recipe.streaming is not None
    assert (recipe.streaming.fps, recipe.streaming.horizon, recipe.sampling.window_s) == (
        10,
        5,
        0.5,
    )
    recipe = plan(path, Options(online=True, window_s=2)).recipe
    assert recipe.streaming is not None
    assert recipe.streaming.fps == 6


@pytest.mark.parametrize(
    ("arch", "kind", "message"),
    [
        ("resnet18", {}, r"looks both ways \(future-past\).*--force-online"),
        ("resnet18", {"shift": "none"}, "nothing shows whether this resnet18 shifts"),
        ("resnet18", {"shift": "block"}, "placed as `block`"),
        ("resnet18", {"temporal_pool": True}, "temporal pooling"),
        ("resnet50", {"non_local": True}, "non-local"),
    ],
)
def test_what_cannot_run_online(
    arch: str, kind: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path, arch, **kind)
    with pytest.raises(CheckpointError, match=message):
        plan(path, Options(online=True, shift_direction="past" if kind else None))


def test_force_marks_what_it_made(checkpoint: Path) -> None:
    recipe = plan(checkpoint, Options(force_online=True)).recipe
    assert recipe.shift.direction == "past"
    assert recipe.facts.own["forced online"].value == "trained future-past"
    assert "answers poorly" in recipe.warnings[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 15}, "--fps is for online models"),
        ({"horizon": 15}, "--horizon is for online models"),
        ({"online": True, "fps": 0.0}, "fps is 0.0"),
        ({"online": True, "fps": float("nan")}, "fps is nan"),
        ({"online": True, "horizon": -1}, "horizon is -1"),
        ({"online": True, "shift_segments": 4}, "not in parts"),
        ({"shift_direction": "sideways"}, "shift_direction is 'sideways'"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        plan(write_past(tmp_path, "resnet18"), Options(**options))


def test_args_txt_tells_the_direction_too(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "resnet18")
    (tmp_path / "args.txt").write_text("Namespace(shift_direction='past', num_segments=4)")
    recipe = plan(path, Options(online=True)).recipe
    assert recipe.facts.own["shift direction"].source == "args.txt"
    assert recipe.segments == 4


def test_a_fold_that_is_empty_has_no_cache(tmp_path: Path) -> None:
    planned = Options(online=True, shift_div=128)
    with pytest.raises(CheckpointError, match="too few channels"):
        convert(write_past(tmp_path, "mobilenetv2"), tmp_path / "x.bundle", planned)


# --- the proof catches what it is for -----------------------------------------------------------


def test_growing_errors_are_told_from_noise() -> None:
    steps = np.arange(1, 25, dtype=np.float32)
    assert compounds(1e-6 * 1.5**steps, noise=1e-5)
    assert not compounds(1e-7 * steps, noise=1e-5)
    noise = np.random.default_rng(0).uniform(1e-3, 2e-3, 24).astype(np.float32)
    assert not compounds(noise, noise=2e-3)


@pytest.fixture(scope="module")
def reference(past: Path) -> OnlineReference:
    checkpoint = past.parent / "ckpt.best.pth.tar"
    planned = plan(checkpoint, Options(online=True, batch=2))
    recipe: Recipe = planned.recipe
    clips = np.random.default_rng(0).standard_normal((2, 24, 224, 224), np.float32)
    return OnlineReference(recipe, planned.checkpoint.tensors, {"random": clips})


def rewired(bundle: Path, folder: Path, change: str) -> Path:
    """The bundle's graph, with its caches ignored or handed out in the wrong order."""
    model = onnx.load(str(bundle / "model.onnx"))
    if change == "zero":
        for output in [o for o in model.graph.output if o.name != "logits"]:
            node = next(n for n in model.graph.node if output.name in n.output)
            kept, node.output[0] = node.output[0], f"real_{output.name}"
            model.graph.node.append(onnx.helper.make_node("Sub", [node.output[0]] * 2, [kept]))
    else:
        names = [o.name for o in model.graph.output if o.name.startswith("next_cache")]
        first, second = names[:2]  # of one shape in ResNet-18
        for node in model.graph.node:
            for i, name in enumerate(node.output):
                node.output[i] = {first: second, second: first}.get(name, name)
    path = folder / "model.onnx"
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("change", ["zero", "swap"])
def test_lost_or_mixed_state_is_caught(
    change: str, past: Path, reference: OnlineReference, tmp_path: Path
) -> None:
    path = rewired(past, tmp_path, change)
    with pytest.raises(VerificationError, match=r"model\.onnx"):
        reference.check(path, Card.read(past), engine="onnxruntime", precision="f32")


# --- int8 ---------------------------------------------------------------------------------------


def test_int8_state_loses_nothing_by_traveling_as_float() -> None:
    """A cache comes out by the scale by which it goes in: it holds one of 256 values."""
    bundle = packaged.bundle("online")
    graph = onnx.load(str(bundle / "model.int8.onnx")).graph
    makers = {output: node for node in graph.node for output in node.output}
    for cache in Card.read(bundle).state:
        [taken] = [node for node in graph.node if cache.input in node.input]
        given = makers[cache.output]
        assert (taken.op_type, given.op_type) == ("QuantizeLinear", "DequantizeLinear")
        assert list(taken.input[1:]) == list(given.input[1:])


def test_int8_is_chained_too_and_growing_errors_are_refused() -> None:
    bundle = packaged.bundle("online")
    card, planned = Card.read(bundle), plan(TRAINED, Options(online=True))
    crops = np.stack([generated_clip(seed, 8, 224) for seed in range(2)])
    tensor = Preprocessor(card.preprocess).tensor(list(crops[0]))[None]
    reference = OnlineReference(planned.recipe, planned.checkpoint.tensors, {"a clip": tensor})

    def check(frames: Callable[[Clips], Logits]) -> Check:
        original = Original(reference.run, order_sensitive=False, frames=frames)
        clips, silent = ClipSet(crops), list[str]().append
        evidence = weigh(clips, ClipSet(crops[:0]), warn=silent)
        holdout = Holdout(original, card, clips, evidence, max_drop=1)
        path = bundle / "model.int8.onnx"
        return holdout.check(path, card, engine="onnxruntime", precision="int8")

    groups = check(reference.answers).groups
    assert groups.keys() == {"kept back", "generated", "24 steps"}
    assert groups["24 steps"].max_rel_diff < 0.2
    away = np.geomspace(1e-3, 100, 24, dtype=np.float32)[:, None]
    with pytest.raises(VerificationError, match=r"model\.int8\.onnx: errors grow .* in 24 steps"):
        check(lambda clips: reference.answers(clips) + away)
