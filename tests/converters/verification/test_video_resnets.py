"""SlowFast and its relatives answer as upstream's code, in torch and in both forms of graphs."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from converters.architectures.classifier import build_reference
from converters.architectures.volumes import NonLocal, Pick, Pooling, Relation, formed, join
from converters.builder import Settings, build
from converters.planning import Plan, plan
from converters.quantization.calibration import ClipSet
from converters.quantization.int8 import Int8
from converters.recipe import Options
from converters.verification.clips import generated_clip
from edge_tsm import load
from edge_tsm.bundle.card import Card
from edge_tsm.bundle.golden import Golden
from tests.helpers.goldens import (
    clips_of,
    load_golden,
    options_for,
    tolerance,
    write_golden,
    write_weights,
)
from tests.helpers.graphs import answers, artifacts, card_for
from tests.helpers.video_resnets import narrow

GOLDENS = [
    *("fb_slow_r50_4x16", "fb_slow_r50_8x8", "fb_i3d_r50_8x8", "fb_slowfast_r50_4x16"),
    *("fb_slowfast_r50_8x8", "fb_slowfast_r50_4x16_256"),
    *("ptv_slow_r50", "ptv_i3d_r50", "ptv_slowfast_r50"),
    *("mmaction2_slowonly_r50_8x8", "mmaction2_slowfast_r50_4x16"),
    "paddlevideo_slowfast_r50_4x16",
]
# Of these both engines' files too: exporting takes longer than all else here. Those of the others
# are in benchmarks/results/goldens.json.
EXPORTED = ("fb_slow_r50_4x16", "mmaction2_slowfast_r50_4x16")


@pytest.mark.parametrize("name", GOLDENS)
def test_every_form_answers_as_upstream(
    name: str, shared: Path, golden_recipe: ModuleType, tmp_path: Path
) -> None:
    golden = load_golden(name, shared)
    planned = plan(write_golden(golden, golden_recipe, tmp_path), options_for(golden))
    model = build_reference(planned.recipe, planned.checkpoint.tensors)
    clips, expected = clips_of(golden, golden_recipe)[:1], golden["logits"][0]
    with torch.inference_mode():
        [logits] = model(torch.from_numpy(clips))
    assert np.abs(logits.numpy() - expected).max() <= tolerance(golden)
    if "probabilities" in golden:
        shares = torch.softmax(logits, 0).numpy()
        assert np.abs(shares - golden["probabilities"][0]).max() < 1e-6
    if name not in EXPORTED:
        return
    for engine, path in artifacts(planned, tmp_path, model).items():
        [answer] = answers(path, engine, card_for(planned), clips)
        assert np.abs(answer - expected).max() <= tolerance(golden), engine


# --- forms ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(shared: Path, golden_recipe: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Networks with an eighth of the channels, by the golden's name."""
    folder = tmp_path_factory.mktemp("small")

    def get(name: str, **options: Any) -> tuple[Plan, nn.Module]:
        golden = load_golden(name, shared)
        path = write_weights(golden, narrow(golden, golden_recipe), folder)
        planned = plan(path, Options(size=64, **options))
        return planned, build_reference(planned.recipe, planned.checkpoint.tensors)

    return get


@pytest.mark.parametrize(
    "name", ["fb_i3d_r50_8x8", "fb_slowfast_r50_8x8", "mmaction2_slowfast_r50_4x16", "ptv_slow_r50"]
)
@pytest.mark.parametrize("form", ["planes", "volumes"])
def test_each_form_answers_the_same_for_one_clip_and_for_several(
    name: str, form: str, small: Any
) -> None:
    planned, model = small(name)
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(3, planned.recipe.segments * 3, 64, 64, generator=generator)
    other = formed(model, form)
    with torch.inference_mode():
        expected = model(clips)
        assert torch.allclose(other(clips), expected, atol=1e-5)
        assert torch.allclose(other(clips[:1]), expected[:1], atol=1e-5)


def test_slow_frames_are_picked_where_each_code_base_picks_them(small: Any) -> None:
    spread, _ = small("fb_slowfast_r50_8x8")
    strided, _ = small("mmaction2_slowfast_r50_4x16")
    assert spread.recipe.network.chosen(32) == [0, 4, 8, 13, 17, 22, 26, 31]
    assert strided.recipe.network.chosen(32) == [0, 8, 16, 24]
    frames = torch.arange(32.0).reshape(1, 1, 32, 1, 1)
    assert Pick(32, [0, 10, 20, 31])(frames).flatten().tolist() == [0, 10, 20, 31]


def test_a_mean_of_probabilities_is_given_as_logits_near_the_mean_of_logits() -> None:
    logits = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(1))
    joined = join(logits, "softmax")
    assert torch.allclose(torch.softmax(joined, 1), torch.softmax(logits, 2).mean(1), atol=1e-6)
    off = joined - logits.mean(1)
    assert torch.allclose(off.amax(1), -off.amin(1), atol=1e-6)
    apart = join(logits, "sigmoid")
    assert torch.allclose(torch.sigmoid(apart), torch.sigmoid(logits).mean(1), atol=1e-6)
    assert torch.equal(join(logits, "logits"), logits.mean(1))


def test_a_larger_map_is_seen_in_windows_and_not_as_a_whole() -> None:
    windowed, whole_map = (Pooling(window, [2]) for window in (3, 0))
    x = torch.randn(1, 8, 2, 4, 4, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(windowed(x[..., :3, :3]), whole_map(x[..., :3, :3]))
    assert torch.allclose(windowed(x)[:, 0], whole_map(x[..., :3, :3]))
    assert windowed(x).shape == (1, 4, 8)


class UpstreamNonLocal(nn.Module):
    """As facebookresearch/SlowFast computes it, `models/nonlocal_helper.py`."""

    def __init__(self, weights: dict[str, torch.Tensor], relation: Relation) -> None:
        super().__init__()
        self.weights, self.relation = weights, relation

    def conv(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv3d(x, *(self.weights[f"{name}.{k}"] for k in ("weight", "bias")))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        theta = self.conv("theta", x)
        n, inner, *places = theta.shape
        pooled = nn.functional.max_pool3d(x, [1, self.relation.pool, self.relation.pool])
        theta, phi, g = (
            t.reshape(n, inner, -1)
            for t in (theta, self.conv("phi", pooled), self.conv("g", pooled))
        )
        pairs = torch.einsum("nct,ncp->ntp", theta, phi)
        if self.relation.softmax:
            pairs = (pairs * inner**-0.5).softmax(2)
        else:
            pairs = pairs / pairs.shape[2]
        found = torch.einsum("ntg,ncg->nct", pairs, g).reshape(n, inner, *places)
        norm = (self.weights[f"bn.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return x + nn.functional.batch_norm(self.conv("out", found), *norm)


@pytest.mark.parametrize("kind", ["softmax", "dot_product"])
def test_non_local_blocks_are_as_the_configuration_says(
    kind: str, shared: Path, golden_recipe: ModuleType, tmp_path: Path
) -> None:
    golden = load_golden("fb_slow_r50_4x16", shared)
    weights = narrow(golden, golden_recipe)
    name, width = "s3.pathway0_nonlocal1", weights["s3.pathway0_res1.branch2.c.weight"].shape[0]
    shapes = {"conv_out.weight": [width, width // 2, 1, 1, 1], "conv_out.bias": [width]}
    for layer in ("theta", "phi", "g"):
        shapes[f"conv_{layer}.weight"] = [width // 2, width, 1, 1, 1]
        shapes[f"conv_{layer}.bias"] = [width // 2]
    for part in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"norm.{part}"] = [width]
    weights |= {f"{name}.{k}": golden_recipe.tensor(f"{name}.{k}", s) for k, s in shapes.items()}
    config = golden["config_yaml"].replace("INSTANTIATION: dot_product", f"INSTANTIATION: {kind}")
    planned = plan(write_weights(golden, weights, tmp_path, config=config), Options(size=64))
    assert f"1 blocks, {kind.replace('_', ' ')}" in planned.recipe.facts.own["non-local"].value
    model = build_reference(planned.recipe, planned.checkpoint.tensors)
    block = model.get_submodule("stages.1.1.non_local")
    assert isinstance(block, NonLocal)
    x = torch.randn(2, width, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    expected = UpstreamNonLocal(dict(block.state_dict()), block.relation)(x)
    assert torch.allclose(block(x), expected, atol=1e-5)
    clips = torch.randn(2, 12, 64, 64, generator=torch.Generator().manual_seed(1))
    for form in ("planes", "volumes"):
        assert torch.allclose(formed(model, form)(clips), model(clips), atol=1e-5)


# --- a bundle -------------------------------------------------------------------------------------


def test_a_bundle_has_each_engines_form_and_int8_of_both(small: Any, tmp_path: Path) -> None:
    planned, _ = small("fb_slowfast_r50_4x16", segments=16)
    crops = np.stack([generated_clip(seed, 16, 64) for seed in range(6)])
    int8 = Int8(ClipSet(crops), keep_float="none", max_drop=1 - 1e-9)
    bundle = build(planned, tmp_path / "x.bundle", Settings(int8=int8))
    card = Card.read(bundle)
    assert (card.family, card.arch["backbone"]) == ("slowfast", "slowfast_r50")
    assert (card.arch["alpha"], card.arch["slow_frames"]) == (8, "linspace")
    assert (card.sampling.interval, card.sampling.rule) == (2, "start")
    assert set(card.files) == {"model.onnx", "model.xml", "model.int8.onnx", "model.int8.xml"}
    golden = Golden.read(bundle)
    for name, file in card.files.items():
        with load(bundle / name, engine=file.engine) as recognizer:
            answers = golden.answers(recognizer)
        far = np.abs(answers - golden.logits).max() / np.ptp(golden.logits)
        assert far < (0.25 if file.precision == "int8" else 1e-4), name
