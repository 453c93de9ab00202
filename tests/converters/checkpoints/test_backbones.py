"""Files with other backbones than upstream's: read by their names, or refused by the network's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from converters.checkpoints import backbones
from converters.planning import plan
from converters.recipe import Options
from edge_tsm.errors import CheckpointError
from tests.helpers.backbones import checkpoint, recorded

GOLDENS = recorded()


def empty(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def written(folder: Path, name: str, **outer: object) -> Path:
    """A checkpoint of a fork of TSM with a library's backbone; its weights are all zero."""
    state = checkpoint(GOLDENS[name], shifted=True, meta=True)
    zeros = {f"module.{key}": torch.zeros(tensor.shape) for key, tensor in state.items()}
    path = folder / "ckpt.best.pth.tar"
    torch.save({"state_dict": zeros, **outer}, path)
    return path


def test_a_fork_with_a_librarys_backbone_is_read(tmp_path: Path) -> None:
    facts = plan(written(tmp_path, "torchvision regnet_x_400mf"), Options()).recipe.facts
    assert (facts.backbone.value, facts.own["shift"].value) == ("regnet_x_400mf", "blockres")
    assert facts.own["shifted blocks"].value == "22 of 22"


def test_names_that_fit_two_networks_need_the_name(tmp_path: Path) -> None:
    path = written(tmp_path, "timm efficientnet_b0")
    with pytest.raises(CheckpointError, match=r"pass --backbone .* efficientnet_b0 or tf_eff"):
        plan(path, Options())
    for name, eps in (("efficientnet_b0", 1e-5), ("tf_efficientnet_b0_ns", 1e-3)):
        recipe = plan(path, Options(backbone=name)).recipe
        assert recipe.network.habits.eps == eps
        assert recipe.facts.backbone.source == "option --backbone"


def test_the_name_is_found_beside_the_weights(tmp_path: Path) -> None:
    path = written(tmp_path, "timm mobilenetv3_small_100", arch="tf_mobilenetv3_small_100")
    recipe = plan(path, Options()).recipe
    assert recipe.network.name == "tf_mobilenetv3_small"
    assert recipe.facts.backbone.source == "the checkpoint's `arch`"
    assert not recipe.warnings


def test_a_name_that_the_weights_contradict_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "torchvision regnet_x_400mf")
    with pytest.raises(CheckpointError, match=r"resnet50 contradicts .* regnet_x_400mf"):
        plan(path, Options(backbone="resnet50"))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("torchvision mobilenet_v2", ".conv.0.0.net.", ".conv.0.net.0."),
        ("torchvision mobilenet_v3_small", ".block.0.0.net.", ".block.0.net.0."),
        ("torchvision regnet_x_400mf", ".f.a.0.net.", ".f.a.net.0."),
        ("timm regnety_004", ".conv1.conv.net.", ".conv1.net.conv."),
    ],
)
def test_convolution_and_norm_may_be_wrapped_together(name: str, old: str, new: str) -> None:
    state = checkpoint(GOLDENS[name], shifted=True, meta=True)
    names = {key.removeprefix("base_model.").replace(old, new): t for key, t in state.items()}
    network, _ = backbones.read({k.replace("new_fc", "head"): t for k, t in names.items()})
    shifted = [place for place in network.shifts if place == "blockres"]
    assert len(shifted) == len(GOLDENS[name]["wrapped"])


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("timm efficientnet_b0", "blocks.1.1.conv_dw.", "blocks.1.1.conv_dw.net."),
        ("torchvision regnet_y_400mf", "block1-0.f.b.0.", "block1-0.f.b.0.net."),
    ],
)
def test_a_shift_elsewhere_is_refused(name: str, old: str, new: str) -> None:
    state = checkpoint(GOLDENS[name], shifted=False, meta=True)
    moved = {key.removeprefix("base_model.").replace(old, new): t for key, t in state.items()}
    with pytest.raises(CheckpointError, match="a shift is known before"):
        backbones.read(moved)


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("base_model.conv1_7x7_s2.weight", (64, 3, 7, 7), "a BNInception network"),
        ("layers.0.blocks.0.attn.relative_position_bias_table", (169, 3), "a Swin Transformer"),
        ("cls_token", (1, 1, 768), r"a vision transformer \(ViT\)"),
        ("blocks.0.attn.qkv.weight", (2304, 768), r"a vision transformer \(ViT\)"),
        ("encoder.layers.encoder_layer_0.ln_1.weight", (768,), r"a vision transformer \(ViT\)"),
        ("blocks.0.attn.pool_q.weight", (96, 1, 3, 3, 3), "an MViT"),
        ("blocks.0.temporal_attn.qkv.weight", (2304, 768), "a TimeSformer"),
        ("downsample_layers.0.0.weight", (96, 3, 4, 4), "a ConvNeXt"),
        ("features.1.0.layer_scale", (96, 1, 1), "a ConvNeXt"),
        ("Mixed_5b.branch1x1.conv.weight", (64, 192, 1, 1), "an Inception-v3"),
        ("features.denseblock1.denselayer1.conv1.weight", (128, 64, 1, 1), "a DenseNet"),
        ("features.0.weight", (64, 3, 3, 3), "a VGG"),
        ("backbone.conv1_s.conv.weight", (24, 3, 1, 3, 3), "an X3D"),
        ("blocks.0.conv.conv_t.weight", (24, 3, 1, 3, 3), "an X3D"),
        ("layer1.0.conv1.0.0.weight", (144, 64, 1, 3, 3), r"an R\(2\+1\)D network"),
        ("Conv3d_1a_7x7.conv3d.weight", (64, 3, 7, 7, 7), "an I3D network"),
        ("conv3a.weight", (256, 128, 3, 3, 3), "a C3D"),
        ("slow_path.conv1.conv.weight", (64, 3, 1, 7, 7), "a SlowFast network"),
        ("conv1.weight", (64, 3, 5, 7, 7), r"conv1\.weight is a 3-D convolution"),
        ("conv1.weight", (64, 15, 7, 7), "15 channels: an RGBDiff network"),
        ("features.0.0.weight", (32, 10, 3, 3), "10 channels: an optical-flow network"),
    ],
)
def test_other_networks_are_refused_by_name(
    key: str, shape: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    torch.save({key: torch.zeros(shape), "fc.weight": torch.zeros(5, 64)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=message):
        plan(tmp_path / "x.pth", Options(online=True))


def test_networks_of_the_same_builder_are_told_apart() -> None:
    state = checkpoint(GOLDENS["timm efficientnet_b0"], shifted=False, meta=True)
    names = {key.removeprefix("base_model."): tensor for key, tensor in state.items()}
    names["blocks.3.0.conv_dw.weight"] = empty(240, 1, 7, 7)
    with pytest.raises(CheckpointError, match="16 blocks, which are those of no network"):
        backbones.read(names)


def test_a_gate_of_unknown_strides_is_refused() -> None:
    state = checkpoint(GOLDENS["timm legacy_seresnet50"], shifted=False, meta=True)
    names = {key.removeprefix("base_model.layer0."): tensor for key, tensor in state.items()}
    with pytest.raises(CheckpointError, match="`se_module` and `layer0` belong together"):
        backbones.read({key.removeprefix("base_model."): t for key, t in names.items()})
