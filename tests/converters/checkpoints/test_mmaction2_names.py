"""The model zoo's file names tell the segments: CLIPxINTERVALxCLIPS."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from converters.architectures.mobileone import MobileOne
from converters.architectures.topologies import topology
from converters.checkpoints.mmaction2 import CONVENTION, _name_hints
from converters.planning import plan
from converters.recipe import Options, Topology, resolve
from edge_tsm.errors import CheckpointError
from tests.helpers.upstream import write_checkpoint

RESNET = topology("resnet50")


@pytest.mark.parametrize(
    ("name", "segments"),
    [
        ("tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_kinetics400-rgb_20220831-64d69186.pth", 16),
        ("tsm_r50_1x1x8_50e_kinetics400_rgb.pth", 8),
        ("tsm_imagenet-pretrained-r50_8xb16-dense-1x1x8-100e_kinetics400-rgb/epoch_50.pth", 8),
        ("tsm_r50_flip_randaugment_1x1x16_50e_sthv2_rgb/best.pth", 16),
    ],
)
def test_segments_are_the_clips(name: str, segments: int) -> None:
    ((source, hints),) = _name_hints(Path(name), RESNET)
    assert hints == {"segments": segments}
    assert f"1x1x{segments} in the name of the" in source


@pytest.mark.parametrize("name", ["epoch_50.pth", "tsm_r50_8xb16.pth", "a/b1x1x16c.pth"])
def test_other_names_say_nothing(name: str) -> None:
    assert _name_hints(Path(name), RESNET) == []


@pytest.mark.parametrize("kind", ["mmaction2", "mit"])
def test_a_name_of_several_frames_contradicts_single_ones(kind: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "resnet18", name="slowonly_4x16x1_e50.pth.tar")
    if kind == "mmaction2":
        path = as_mmaction2(path, {})
    with pytest.raises(CheckpointError, match=r"4x16x1 in the name of the file .*TSM") as caught:
        plan(path, Options())
    assert "4 frames" in str(caught.value)
    assert "rename the file" in str(caught.value)
    plan(path.rename(tmp_path / "pictures_640x480x3_e50.pth.tar"), Options())


def as_mmaction2(path: Path, meta: dict[str, object]) -> Path:
    """Rewrite a ResNet without shifts, or with, under mmaction2's names."""
    state = torch.load(path, weights_only=True)["state_dict"]
    found = {}
    for name, tensor in state.items():
        name = name.removeprefix("module.base_model.").replace("module.new_fc", "cls_head.fc_cls")
        name = re.sub(r"(^|\.)bn(\d)\.", r"\1conv\2.bn.", name)
        name = re.sub(r"(^|\.)(conv\d)(\.net)?\.weight$", r"\1\2.conv\3.weight", name)
        name = name.replace("downsample.0", "downsample.conv").replace(
            "downsample.1", "downsample.bn"
        )
        found[name if name.startswith("cls_head") else f"backbone.{name}"] = tensor
    torch.save({"meta": meta, "state_dict": found}, path)
    return path


@pytest.mark.parametrize(
    ("name", "config", "source"),
    [
        ("c2d_r50-in1k-pre_8xb32-8x8x1-100e_kinetics400-rgb.pth", "", "the name c2d_r50"),
        ("best.pth", "model = dict(backbone=dict(type='C2D', depth=18))", "its config in `meta`"),
    ],
)
def test_a_c2d_is_no_tsn(name: str, config: str, source: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "resnet18", name=name, shift="none")
    as_mmaction2(path, {"cfg": config})
    with pytest.raises(CheckpointError, match="mmaction2's C2D") as caught:
        plan(path, Options())
    assert source in str(caught.value)


@pytest.mark.parametrize("name", ["tsm_r50_segment16_k400.pth", "TSM_x_avg_segment16_e50.pth"])
def test_segments_are_read_in_upstreams_words_too(name: str) -> None:
    ((source, hints),) = _name_hints(Path(name), RESNET)
    assert (hints, source) == ({"segments": 16}, "segment16 in the name of the file")


def test_a_name_that_contradicts_the_file_is_refused_unless_the_user_decides() -> None:
    hints = [
        ("config in `meta`", {"segments": 8}),
        *_name_hints(Path("t_1x1x16_e.pth"), RESNET),
    ]
    read = Topology(RESNET, 5, "cls_head.fc_cls.weight", hints, CONVENTION)
    with pytest.raises(CheckpointError, match=r"1x1x16 .* says 16 segments, config .* says 8"):
        resolve(read, Options())
    assert resolve(read, Options(segments=16)).segments == 16


def test_the_published_mobileone_shifts_eight_frames_together() -> None:
    path = Path("tsm_imagenet-pretrained-mobileone-s4_8xb16-1x1x16-50e_kinetics400-rgb.pth")
    ((_, hints),) = _name_hints(path, MobileOne(()))
    assert hints == {"segments": 16, "shift_segments": 8}


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("blocks.0.attn.pool_q.weight", (96, 1, 3, 3, 3), "this is an MViT"),
        ("conv1_s.conv.weight", (24, 3, 1, 3, 3), "this is an X3D"),
        ("conv1.conv.conv_s.weight", (45, 3, 1, 7, 7), r"this is an R\(2\+1\)D network"),
        ("layers.0.blocks.0.attn.relative_position_bias_table", (9, 3), "this is a Swin"),
    ],
)
def test_other_networks_of_mmaction2_are_refused_by_name(
    key: str, shape: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    head = {"cls_head.fc_cls.weight": torch.zeros(5, 64), "cls_head.fc_cls.bias": torch.zeros(5)}
    torch.save({"state_dict": {f"backbone.{key}": torch.zeros(shape), **head}}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=message):
        plan(tmp_path / "x.pth", Options())
