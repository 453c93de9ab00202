"""What TimeSformer files and folders say about themselves, of four code bases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from converters.builder import Settings, convert
from converters.checkpoints import read_checkpoint
from converters.planning import plan
from converters.recipe import Options, Recipe
from edge_tsm.errors import CheckpointError
from tests.helpers.timesformer import (
    Size,
    UpstreamTimeSformer,
    transformers_state,
    write_facebook,
)

CFG = """
DATA: {NUM_FRAMES: 4, SAMPLING_RATE: 16, MEAN: [0.4, 0.5, 0.6], STD: [0.2, 0.2, 0.2]}
TRAIN: {DATASET: kinetics}
TIMESFORMER: {ATTENTION_TYPE: divided_space_time}
"""
MODEL = UpstreamTimeSformer(Size())


def recipe_of(path: Path, **options: Any) -> Recipe:
    return plan(path, Options(**options)).recipe


def facts(recipe: Recipe) -> dict[str, Any]:
    return {name: fact.value for name, fact in recipe.facts.rows()}


# --- facebookresearch/TimeSformer ----------------------------------------------------------------


def test_the_configuration_in_the_file_is_read(tmp_path: Path) -> None:
    recipe = recipe_of(write_facebook(MODEL, tmp_path / "x.pyth", cfg=CFG))
    assert (recipe.sampling.rule, recipe.sampling.interval, recipe.sampling.fps) == (
        "start",
        16,
        30,
    )
    assert recipe.sampling.window_s == pytest.approx(4 * 16 / 30, abs=1e-3)
    assert (recipe.preprocess.mean, recipe.preprocess.std) == ((0.4, 0.5, 0.6), (0.2, 0.2, 0.2))
    assert not recipe.preprocess.resize.antialias
    assert recipe.preprocess.color == "rgb"


class CfgNode(dict):  # as fvcore's, which is not installed where files are read
    """A configuration that was saved as an object."""


def test_a_configuration_object_is_read_without_its_class(tmp_path: Path) -> None:
    cfg = CfgNode(DATA=CfgNode(SAMPLING_RATE=8), TRAIN=CfgNode(DATASET="ssv2"))
    recipe = recipe_of(write_facebook(MODEL, tmp_path / "x.pyth", cfg=cfg))
    assert recipe.sampling.rule == "parts"
    assert recipe.sampling.interval is None


@pytest.mark.parametrize("cfg", ["a: [", "- 1", "x" * (1 << 21), 7, None])
def test_a_damaged_configuration_says_nothing(cfg: object, tmp_path: Path) -> None:
    path = write_facebook(MODEL, tmp_path / "x.pyth", cfg=cfg)
    assert recipe_of(path, interval=4).sampling.interval == 4
    with pytest.raises(CheckpointError, match="pass --interval"):
        recipe_of(path)


@pytest.mark.parametrize(
    ("name", "interval", "rule"),
    [
        ("TimeSformer_divST_4x8_64_K400.pyth", 8, "start"),
        ("TimeSformer_divST_4x16.pyth", 16, "start"),
        ("TimeSformer_divST_4_64_SSv2.pyth", None, "parts"),
    ],
)
def test_the_file_s_name_is_evidence(
    name: str, interval: int | None, rule: str, tmp_path: Path
) -> None:
    sampling = recipe_of(write_facebook(MODEL, tmp_path / name)).sampling
    assert (sampling.interval, sampling.rule) == (interval, rule)


@pytest.mark.parametrize("key", ["model_state", "state_dict", "model"])
def test_any_outer_key_and_wrapper_will_do(key: str, tmp_path: Path) -> None:
    state = {f"module.model.{name}": t for name, t in MODEL.state_dict().items()}
    torch.save({key: state}, tmp_path / "x.pth")
    assert facts(recipe_of(tmp_path / "x.pth", interval=4))["attention"] == "divided"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segments": 8}, "weights have 4 times; pass --segments 4"),
        ({"size": 128}, "4 x 4 positions of 16 pixels; pass --size 64"),
        ({"own": {"heads": 7}}, "does not divide the tokens' 64 numbers"),
        ({"own": {"attention": "joint"}}, "weights are of divided"),
        ({"own": {"depth": 3}}, "--fact depth"),
        ({"online": True}, "cannot run online"),
    ],
)
def test_what_contradicts_the_weights_is_refused(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write_facebook(MODEL, tmp_path / "x.pyth", cfg=CFG)
    with pytest.raises(CheckpointError, match=message):
        recipe_of(path, **options)


def test_heads_that_nothing_tells_are_asked_for(tmp_path: Path) -> None:
    path = write_facebook(UpstreamTimeSformer(Size(width=48, heads=2)), tmp_path / "x.pyth")
    with pytest.raises(CheckpointError, match="--fact heads=N"):
        recipe_of(path, interval=4)
    assert facts(recipe_of(path, interval=4, own={"heads": 2}))["heads"] == 2


def test_an_image_transformer_is_not_taken_for_a_video_network(tmp_path: Path) -> None:
    names = MODEL.state_dict()
    image = {n: t for n, t in names.items() if "temporal" not in n and n != "time_embed"}
    torch.save(image, tmp_path / "vit.pth")
    with pytest.raises(CheckpointError, match=r"vision transformer \(ViT\)"):
        recipe_of(tmp_path / "vit.pth", interval=4)
    stated = recipe_of(tmp_path / "vit.pth", interval=4, own={"attention": "space_only"})
    assert (stated.segments, stated.order_sensitive) == (8, False)


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    state = {f"model.{n}": t for n, t in MODEL.state_dict().items()}
    del state["model.blocks.1.attn.proj.weight"]
    torch.save({"model_state": state}, tmp_path / "x.pyth")
    with pytest.raises(CheckpointError, match=r"missing: blocks\.1\.attn\.proj\.weight"):
        read_checkpoint(tmp_path / "x.pyth")


# --- PaddleVideo ---------------------------------------------------------------------------------


def test_pp_timesformer_is_known_by_the_biases_it_lacks(tmp_path: Path) -> None:
    model = UpstreamTimeSformer(Size(biased=False))
    state = {
        f"backbone.{n}" if not n.startswith("head.") else n.replace("head.", "head.fc."): (
            t.T.contiguous() if t.ndim == 2 else t
        )
        for n, t in model.state_dict().items()
    }
    torch.save(state, tmp_path / "x.pth")
    recipe = recipe_of(tmp_path / "x.pth", interval=4)
    assert facts(recipe)["format"] == "PaddleVideo PP-TimeSformer"
    assert (recipe.preprocess.mean, recipe.preprocess.std) == ((0, 0, 0), (1, 1, 1))
    assert recipe.arch["qkv_bias"] is False


# --- transformers --------------------------------------------------------------------------------

CONFIG = {
    "model_type": "timesformer",
    "attention_type": "divided_space_time",
    "num_attention_heads": 2,
    "num_frames": 4,
    "layer_norm_eps": 1e-6,
    "hidden_act": "gelu",
    "id2label": {"0": "a", "1": "b", "2": "c", "3": "d", "4": "e"},
}
PICTURES = {
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.25, 0.25, 0.25],
    "size": {"shortest_edge": 72},
    "crop_size": {"height": 64, "width": 64},
    "resample": 2,
}


def folder_of(
    path: Path, config: Any = CONFIG, pictures: Any = PICTURES, *, pickled: bool = False
) -> Path:
    path.mkdir(exist_ok=True)
    state = transformers_state(MODEL)
    if pickled:
        torch.save(state, path / "pytorch_model.bin")
    else:
        save_file({n: t.contiguous() for n, t in state.items()}, path / "model.safetensors")
    for name, content in (("config.json", config), ("preprocessor_config.json", pictures)):
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(content)
            (path / name).write_text(text)
    return path


@pytest.mark.parametrize("pickled", [False, True])
def test_a_model_folder_says_everything(pickled: bool, tmp_path: Path) -> None:
    recipe = recipe_of(folder_of(tmp_path / "my-model", pickled=pickled), interval=32)
    assert recipe.labels.names == ("a", "b", "c", "d", "e")
    assert facts(recipe)["heads"] == 2
    preprocess = recipe.preprocess
    assert (preprocess.mean, preprocess.std) == ((0.5,) * 3, (0.25,) * 3)
    assert (preprocess.resize.short_side_px, preprocess.crop_px) == (72, 64)
    assert preprocess.resize.antialias
    assert preprocess.crop_offset == "floor"
    assert not recipe.warnings


def test_without_a_preprocessor_the_published_one_is_taken_and_said(tmp_path: Path) -> None:
    recipe = recipe_of(folder_of(tmp_path, pictures=None), interval=32)
    assert recipe.preprocess.mean == (0.45, 0.45, 0.45)
    assert any("mean 0.45, std 0.225" in warning for warning in recipe.warnings)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**CONFIG, "hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({**CONFIG, "num_frames": 8}, "weights have 4 times"),
        ({**CONFIG, "layer_norm_eps": "x"}, "epsilon is 'x'"),
        ("{", "config.json cannot be read"),
        ("[1]", "no JSON object"),
    ],
)
def test_wrong_configurations_are_refused(config: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        recipe_of(folder_of(tmp_path, config), interval=32)


@pytest.mark.parametrize(
    "table", [{"0": "a"}, {"0": 1}, [], {str(i): f"LABEL_{i}" for i in range(5)}]
)
def test_labels_that_are_none_are_not_used(table: Any, tmp_path: Path) -> None:
    recipe = recipe_of(folder_of(tmp_path, {**CONFIG, "id2label": table}), interval=32)
    assert recipe.labels.names[0] == "class_0"


def test_a_folder_becomes_a_bundle(tmp_path: Path) -> None:
    source, bundle = folder_of(tmp_path / "source"), tmp_path / "x.bundle"
    convert(source, bundle, Options(interval=8), Settings(ir=False))
    card = json.loads((bundle / "card.json").read_text())
    assert card["family"] == "timesformer"
    assert card["sampling"]["interval"] == 8
