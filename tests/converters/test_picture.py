"""The size of pictures: chosen, learned from what lies beside the weights, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from converters import Options, plan
from converters.checkpoints import mmaction2
from converters.checkpoints.upstream import CONVENTION
from converters.facts import Fact, Hints
from converters.picture import LEAST_PX, MOST_PX, settle_picture, short_side_of
from edge_tsm.errors import CheckpointError

USUAL = Fact(CONVENTION.resize, "mit")
PIPELINE = """
model = dict(backbone=dict(type='ResNetTSM', num_segments=8), cls_head=dict(type='TSMHead'))
test_pipeline = [
    dict(type='SampleFrames', clip_len=1, num_clips=8, test_mode=True),
    dict(type='Resize', scale=(-1, 300)), dict(type='ThreeCrop', crop_size=288)]
val_pipeline = [
    dict(type='Resize', scale={scale}), dict(type='{crop}', crop_size={size})]
"""


def picture(*hints: dict[str, Any]) -> tuple[int, int]:
    found = settle_picture(USUAL, [Hints.of(f"file {i}", values) for i, values in enumerate(hints)])
    return found.size.value, found.resize.value.short_side_px


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        ([], (224, 256)),
        ([{"size": 112}], (112, 128)),
        ([{"size": 160}, {"size": 224}], (160, 182)),
        ([{"size": 256}], (256, 292)),
        ([{"size": 320}], (320, 365)),
        ([{"size": 256, "short_side": 256}], (256, 256)),
        ([{"size": 112}, {"size": 224, "short_side": 300}], (112, 128)),
        ([{"full_res": True}], (256, 256)),
        ([{"full_res": True}, {"size": 112}], (128, 128)),
        ([{"size": 224}, {"full_res": True}], (224, 256)),
        ([{"size": 224, "full_res": False}], (224, 256)),
    ],
)
def test_the_short_side_follows_the_crop(
    hints: list[dict[str, Any]], expected: tuple[int, int]
) -> None:
    assert picture(*hints) == expected


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ({"size": 100}, r"size is 100 \(file 0\).* multiples of 16 .* pass --size 96"),
        ({"size": 0}, r"size is 0 \(file 0\); it must be 1 to 10000"),
        ({"size": 32}, f"pass --size {LEAST_PX}"),
        ({"size": 1024}, f"pass --size {MOST_PX}"),
        ({"size": "224"}, "size is '224'"),
        ({"size": 160, "full_res": True}, r"size is 182 \(file 0\)"),
        ({"size": 256, "short_side": 240}, "more than the resized short side of 240"),
        ({"size": 224, "short_side": None, "full_res": None}, None),
    ],
)
def test_sides_that_networks_do_not_serve_are_refused(
    hints: dict[str, Any], message: str | None
) -> None:
    if message is None:
        assert picture(hints) == (224, 256)
        return
    with pytest.raises(CheckpointError, match=message):
        picture(hints)


def test_every_size_that_is_taken_leaves_a_margin_to_cut() -> None:
    assert all(short_side_of(px) > px for px in range(LEAST_PX, MOST_PX + 1, 16))


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("input_size=112", (112, 128, "args.txt")),
        ("crop_size=160, full_res=False", (160, 182, "args.txt")),
        ("full_res=True", (256, 256, "args.txt")),
        ("num_segments=8", (224, 256, "default")),
    ],
)
def test_a_file_of_arguments_tells_the_size(
    args: str, expected: tuple[int, int, str], checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "ckpt.pth.tar").symlink_to(checkpoint)
    (tmp_path / "args.txt").write_text(f"Namespace({args})")
    recipe = plan(tmp_path / "ckpt.pth.tar", Options()).recipe
    spec = recipe.preprocess
    found = (spec.crop_px, spec.resize.short_side_px, recipe.facts.size.source)
    assert found == expected


def test_the_users_choice_counts_more_than_a_file(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "ckpt.pth.tar").symlink_to(checkpoint)
    (tmp_path / "args.txt").write_text("Namespace(input_size=112)")
    facts = plan(tmp_path / "ckpt.pth.tar", Options(size=320)).recipe.facts
    assert (facts.size.value, facts.size.source) == (320, "option --size")
    assert facts.resize.value == "365, antialiased"
    full = plan(tmp_path / "ckpt.pth.tar", Options(full_res=True)).recipe.facts
    assert (full.size.value, full.size.source) == (128, "option --full-res")


@pytest.mark.parametrize(
    ("scale", "crop", "size", "expected"),
    [
        ("(-1, 256)", "CenterCrop", 224, {"size": 224, "short_side": 256}),
        ("(-1, 128)", "CenterCrop", 112, {"size": 112, "short_side": 128}),
        ("(340, 256)", "CenterCrop", 224, {"size": 224, "short_side": None}),
        ("(-1, 256)", "Flip", 224, {"size": 288, "short_side": 300}),
    ],
)
def test_a_config_in_a_checkpoint_tells_the_size(
    scale: str, crop: str, size: int, expected: dict[str, Any]
) -> None:
    config = PIPELINE.format(scale=scale, crop=crop, size=size)
    [(_, hints)] = mmaction2._hints({"meta": {"cfg": config}})
    assert {name: hints[name] for name in expected} == expected
