"""Bundles answer as upstream's own code did, on the goldens and on real video."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from converters.build import Options, convert
from converters.verify import run_artifact
from edge_tsm import Pipeline, load, open_source
from edge_tsm.card import Card

MIT = [
    "mit_tsm_resnet18_8f",
    "mit_tsm_resnet50_8f",
    "mit_tsm_mobilenetv2_8f",
    "mit_tsm_resnet50_8f_nl",
    "mit_tsn_resnet50_8f",
]


def write_golden(golden: dict, recipe: ModuleType, folder: Path) -> Path:
    """Write the checkpoint a golden describes, laid out as upstream's training leaves it."""
    tensors = OrderedDict(
        (key, torch.from_numpy(np.asarray(value)))
        for key, value in recipe.state_dict(golden).items()
    )
    path = folder / golden["training_run_path"]
    path.parent.mkdir(parents=True)
    outer = dict(golden["outer"]["keys"], state_dict=tensors, optimizer={"state": {}})
    torch.save(outer, path)
    return path


@pytest.mark.parametrize("name", MIT)
def test_logits_are_upstreams(
    name: str, shared: Path, golden_recipe: ModuleType, tmp_path: Path
) -> None:
    golden = json.loads((shared / f"golden/public/{name}.json").read_text())
    bundle = convert(write_golden(golden, golden_recipe, tmp_path), tmp_path / "x.bundle")
    expected = np.asarray(golden["logits"], np.float32)
    clips = np.concatenate([golden_recipe.clip(i, 8) for i in range(len(expected))])
    spread = expected.max() - expected.min()
    # A tenth of what reversing time changes: a shift the wrong way round cannot pass.
    reversal = min(golden["sensitivity"]["max_abs_diff_if_time_reversed"])
    allowed = min(1e-3 * spread, 0.1 * reversal) if golden["config"]["is_shift"] else 1e-3 * spread
    card = Card.read(bundle)
    for engine in ("onnxruntime", "openvino"):
        with load(bundle, engine=engine) as recognizer:
            answers = run_artifact(recognizer.backend, card, clips)
        assert np.abs(answers - expected).max() <= allowed, engine


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
