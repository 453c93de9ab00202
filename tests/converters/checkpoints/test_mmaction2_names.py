"""The model zoo's file names tell the segments: CLIPxINTERVALxCLIPS."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.architectures.mobileone import MobileOne
from converters.architectures.topologies import topology
from converters.checkpoints.mmaction2 import CONVENTION, _name_hints
from converters.recipe import Options, Topology, resolve
from edge_tsm.errors import CheckpointError

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
    warnings: list[str] = []
    ((source, hints),) = _name_hints(Path(name), RESNET, warnings)
    assert hints == {"segments": segments}
    assert f"1x1x{segments} in the name of the" in source
    assert warnings == []


@pytest.mark.parametrize("name", ["epoch_50.pth", "tsm_r50_8xb16.pth", "a/b1x1x16c.pth"])
def test_other_names_say_nothing(name: str) -> None:
    assert _name_hints(Path(name), RESNET, []) == []


def test_clips_of_several_frames_are_no_tsms() -> None:
    warnings: list[str] = []
    assert _name_hints(Path("x_4x16x1_y.pth"), RESNET, warnings) == []
    told = "4x16x1 in the name of the file is no TSM's, whose clips have one frame each"
    assert warnings == [told]


@pytest.mark.parametrize("name", ["tsm_r50_segment16_k400.pth", "TSM_x_avg_segment16_e50.pth"])
def test_segments_are_read_in_upstreams_words_too(name: str) -> None:
    ((source, hints),) = _name_hints(Path(name), RESNET, [])
    assert (hints, source) == ({"segments": 16}, "segment16 in the name of the file")


def test_a_name_that_contradicts_the_file_is_refused_unless_the_user_decides() -> None:
    hints = [
        ("config in `meta`", {"segments": 8}),
        *_name_hints(Path("t_1x1x16_e.pth"), RESNET, []),
    ]
    read = Topology(RESNET, 5, "cls_head.fc_cls.weight", hints, CONVENTION)
    with pytest.raises(CheckpointError, match=r"1x1x16 .* says 16 segments, config .* says 8"):
        resolve(read, Options())
    assert resolve(read, Options(segments=16)).segments == 16


def test_the_published_mobileone_shifts_eight_frames_together() -> None:
    path = Path("tsm_imagenet-pretrained-mobileone-s4_8xb16-1x1x16-50e_kinetics400-rgb.pth")
    ((_, hints),) = _name_hints(path, MobileOne(()), [])
    assert hints == {"segments": 16, "shift_segments": 8}
