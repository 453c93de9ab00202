"""Artifacts answer as the frameworks' own code did, on the goldens and on real video.

Goldens under tests/goldens were made as those of the shared data were: by running PaddleVideo's and
mmaction2's own networks on weights and clips of the shared recipe.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from converters.architectures.classifier import build_reference
from converters.builder import convert
from converters.export.onnx import export_onnx
from converters.export.openvino import write_ir
from converters.planning import plan
from converters.recipe import Options
from converters.verification.reference import run_artifact
from edge_tsm import Pipeline, load, open_source
from edge_tsm.backends import RuntimeOptions, open_backend
from edge_tsm.bundle.card import Card
from edge_tsm.data.clips import read_dataset
from edge_tsm.evaluation.evaluate import evaluate
from tests.helpers.goldens import (
    HERE,
    clips_of,
    load_golden,
    options_for,
    tolerance,
    write_golden,
)

MIT = [
    "mit_tsm_resnet18_8f",
    "mit_tsm_resnet50_8f",
    "mit_tsm_mobilenetv2_8f",
    "mit_tsm_resnet50_8f_nl",
    "mit_tsn_resnet50_8f",
]
OTHERS = ["mmaction2_tsm_resnet50_8f", "paddlevideo_tsm_resnet50_8f"]
OWN = sorted(path.stem for path in HERE.glob("*.json"))


@pytest.mark.parametrize("name", MIT)
def test_bundles_answer_as_upstream(
    name: str, shared: Path, golden_recipe: ModuleType, tmp_path: Path
) -> None:
    golden = load_golden(name, shared)
    bundle = convert(write_golden(golden, golden_recipe, tmp_path), tmp_path / "x.bundle")
    clips, card = clips_of(golden, golden_recipe), Card.read(bundle)
    for engine in ("onnxruntime", "openvino"):
        with load(bundle, engine=engine) as recognizer:
            answers = run_artifact(recognizer.backend, card, clips)
        assert np.abs(answers - golden["logits"]).max() <= tolerance(golden), engine


@pytest.mark.parametrize("name", OTHERS + OWN)
def test_artifacts_answer_as_the_framework(
    name: str, shared: Path, golden_recipe: ModuleType, bundle: Path, tmp_path: Path
) -> None:
    """The steps of a conversion without its own verification, which other tests cover."""
    golden = load_golden(name, shared)
    segments = golden["config"]["num_segments"]
    options = options_for(golden)
    planned = plan(write_golden(golden, golden_recipe, tmp_path), options)
    model = build_reference(planned.recipe, planned.checkpoint.tensors)
    clips, bound = clips_of(golden, golden_recipe), tolerance(golden)
    with torch.no_grad():
        rows = [model(torch.from_numpy(clip[None])).numpy()[0] for clip in clips]
    assert np.abs(np.stack(rows) - golden["logits"]).max() <= bound
    card = _card_for(Card.read(bundle), segments, len(golden["logits"][0]))
    onnx = export_onnx(model, card, tmp_path / "x.onnx")
    write_ir(onnx, card, tmp_path / "x.xml", f16=False)
    for engine, file in (("onnxruntime", "x.onnx"), ("openvino", "x.xml")):
        backend = open_backend(engine, tmp_path / file, RuntimeOptions())
        answers = run_artifact(backend, card, clips)
        backend.close()
        assert np.abs(answers - golden["logits"]).max() <= bound, engine


def _card_for(card: Card, segments: int, classes: int) -> Card:
    """A card with the shapes of input and answer; export and runs need no more of it."""
    import dataclasses

    shape = (1, 3 * segments, 224, 224)
    labels = tuple(map(str, range(classes)))
    return dataclasses.replace(
        card, labels=labels, input=dataclasses.replace(card.input, shape=shape)
    )


@pytest.mark.parametrize("name", [*OTHERS, "pptsm_mobilenetv3_8f"])
def test_bundles_of_other_frameworks_are_like_any(
    name: str, shared: Path, golden_recipe: ModuleType, tmp_path: Path
) -> None:
    """Conversion with all checks; the card states the framework's facts."""
    golden = load_golden(name, shared)
    card = Card.read(convert(write_golden(golden, golden_recipe, tmp_path), tmp_path / "x.bundle"))
    assert all(proven.max_rel_diff <= proven.tolerance for proven in card.verification.values())
    paddle, pp = name.startswith(("paddle", "pptsm")), name.startswith("pptsm")
    assert card.arch["shift_direction"] == ("past-future" if paddle else "future-past")
    assert card.preprocess.resize.aspect == ("4:3" if pp else "keep")
    assert card.preprocess.resize.antialias is paddle
    rules = {"mmaction2": "uniform", "paddlevideo": "paddle_left", "pptsm": "paddle_center"}
    assert card.sampling.rule == rules[name.split("_")[0]]


@pytest.fixture(scope="module")
def fight(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The genuine checkpoint of upstream's main.py, converted with no option but --labels."""
    [run] = (shared / "weights").glob("TSM_fight_*")
    target = tmp_path_factory.mktemp("fight") / "fight.bundle"
    return convert(run / "ckpt.pth.tar", target, Options(labels=str(run / "labels.txt")))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_answers_on_real_video_are_upstreams(engine: str, fight: Path, shared: Path) -> None:
    golden = json.loads((shared / "golden/real_clips.json").read_text())
    assert len(golden["clips"]) == 48
    with load(fight, engine=engine) as recognizer:
        assert list(recognizer.card.labels) == golden["classes"]
        for name, expected in golden["clips"].items():
            source = open_source(shared / "clips/surv_fight" / name)
            [answer] = Pipeline(source, recognizer)
            assert answer.window is not None
            assert [i + 1 for i in answer.window.frames] == expected["indices"]
            assert np.abs(answer.logits - expected["logits"]).max() <= 0.02
            assert answer.logits.argmax() == np.argmax(expected["logits"])


def test_an_evaluation_is_upstreams(fight: Path, shared: Path) -> None:
    golden = json.loads((shared / "golden/real_clips.json").read_text())
    dataset = read_dataset(shared / "clips/surv_fight/val.txt")
    with load(fight) as recognizer:
        found = evaluate({"fight": recognizer}, dataset)
    assert found.figures("fight").correct == round(golden["top1"] * 48)
    expected = [golden["clips"][sample.name]["logits"] for sample in dataset]
    assert np.abs(found.logits("fight") - expected).max() <= 0.02
