"""Pixels equal upstream's PIL path."""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_tsm.bundle.card import Preprocess, Resize
from edge_tsm.errors import InputError
from edge_tsm.inference.preprocess import Preprocessor
from tests.helpers.fakes import make_card
from tests.helpers.upstream_pixels import upstream_crop, upstream_crops

PREPROCESS = Preprocessor(make_card().preprocess)
SIZES = [(640, 480), (1280, 720), (320, 240), (171, 128)]


def test_every_level_is_upstreams_float_to_the_bit() -> None:
    """ToTorchFormatTensor and GroupNormalize: divided by 255, less the mean, over the deviation."""
    spec = make_card().preprocess
    crop = np.resize(np.arange(256, dtype=np.uint8), (224, 224))
    levels = np.arange(256, dtype=np.float32) * np.float32(spec.scale)
    for plane, mean, std in zip(
        PREPROCESS.tensor([np.stack([crop] * 3, axis=2)]), spec.mean, spec.std, strict=True
    ):
        np.testing.assert_array_equal(plane, ((levels - np.float32(mean)) / np.float32(std))[crop])


@pytest.mark.parametrize("size", SIZES)
def test_pixels_and_tensor_are_upstreams(
    size: tuple[int, int], shared: Path, golden_recipe: ModuleType
) -> None:
    folder = shared / "golden/preprocess"
    cases = json.loads((folder / "transforms.json").read_text())["cases"]
    case = next(c for c in cases if (c["width"], c["height"]) == size)
    frames = [golden_recipe.natural_frame(*size, t) for t in range(8)]
    assert [zlib.crc32(f.tobytes()) for f in frames] == case["frame_crc32"]
    crops = [PREPROCESS.crop(np.ascontiguousarray(f[..., ::-1])) for f in frames]
    golden = np.load(folder / "crops.npz")[f"crop_{size[0]}x{size[1]}"]
    assert np.abs(crops[3].astype(int) - golden).max() <= 1
    tensor = PREPROCESS.tensor(crops)
    assert tensor.shape == (24, 224, 224)
    level = 1 / 255 / 0.224
    for probe in case["probes"]:
        assert abs(tensor[tuple(probe["index"])] - probe["value"]) <= level + 1e-5
    means = np.asarray(case["tensor_mean_per_channel"])
    assert np.abs(tensor.mean((1, 2)) - means).max() <= level / 10


@settings(max_examples=40)
@given(width=st.integers(16, 900), height=st.integers(16, 900), seed=st.integers(0, 9))
def test_cropping_first_gives_the_same_pixels(width: int, height: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    ours = PREPROCESS.crop(image, color="rgb").astype(int)
    assert np.abs(ours - upstream_crop(image)).max() <= 1


@pytest.mark.parametrize("count", [3, 5, 10])
@pytest.mark.parametrize("size", [*SIZES, (240, 426), (256, 256)])
def test_several_crops_are_upstreams(size: tuple[int, int], count: int) -> None:
    rng = np.random.default_rng(count)
    image = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    crops = PREPROCESS.crops(np.ascontiguousarray(image[..., ::-1]), count)
    expected = upstream_crops(image, count)
    assert len(crops) == count
    for ours, theirs in zip(crops, expected, strict=True):
        assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("size", SIZES)
def test_of_several_crops_the_center_one_lies_where_the_single_one_does(
    size: tuple[int, int], shared: Path, golden_recipe: ModuleType
) -> None:
    """Upstream's center of several is a multiple of quarters: up to two pixels from CenterCrop."""
    golden = np.load(shared / "golden/preprocess/crops.npz")[f"crop_{size[0]}x{size[1]}"]
    frame = golden_recipe.natural_frame(*size, 3)
    crop = PREPROCESS.crops(frame, 5, color="rgb")[4].astype(int)
    distances = [
        np.abs(crop[:, max(0, -x) : 224 - max(0, x)] - golden[:, max(0, x) : 224 + min(0, x)]).max()
        for x in range(-2, 3)
    ]
    assert min(distances) <= 1


def test_one_crop_is_the_crop() -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    [crop] = PREPROCESS.crops(image, 1)
    assert np.array_equal(crop, PREPROCESS.crop(image))


def test_without_antialiasing_several_crops_agree_with_the_single_one() -> None:
    spec = make_card().preprocess
    spec = dataclasses.replace(spec, resize=dataclasses.replace(spec.resize, antialias=False))
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    image = image.repeat(2, 0).repeat(2, 1)
    preprocess = Preprocessor(spec)
    center = preprocess.crops(image, 5)[4].astype(int)
    assert np.abs(center - preprocess.crop(image)).max() <= 1


@dataclasses.dataclass(frozen=True)
class Pixels:
    """How a code base prepares pictures: (short side, crop), antialias, rounding, mean and std."""

    side: int
    crop: int
    antialias: bool
    long_side: Literal["truncate", "round"]
    offset: Literal["even", "floor", "ceil"]
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def preprocess(self) -> Preprocess:
        resize = Resize(self.side, "bilinear", self.antialias, "keep", self.long_side)
        norm = {"scale": self.scale, "mean": self.mean, "std": self.std}
        return Preprocess("rgb", resize, self.crop, self.offset, **norm)


def facebook(
    side: int,
    crop: int,
    *,
    antialias: bool = False,
    offset: Literal["even", "floor", "ceil"] = "ceil",
) -> Pixels:
    mean, std = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
    return Pixels(side, crop, antialias, "truncate", offset, 1 / 255, mean, std)


def mmaction2(side: int, crop: int, mean: Any, std: Any) -> Pixels:
    return Pixels(side, crop, False, "round", "floor", 1.0, mean, std)


_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_HALF = ((127.5,) * 3, (127.5,) * 3)
# Golden, how, which of three crops (None: the only one).
VIDEO_PIXELS: list[tuple[str, Pixels, int | None]] = [
    ("slowfast_256_crop0of3", facebook(256, 256), 0),
    ("slowfast_256_crop1of3", facebook(256, 256), 2),
    ("slowfast_256_crop2of3", facebook(256, 256), 1),
    ("slowfast_scale256_crop224_center", facebook(256, 224), None),
    ("timesformer_224_crop0of3", facebook(224, 224), 0),
    ("timesformer_224_crop1of3", facebook(224, 224), None),
    ("timesformer_224_crop2of3", facebook(224, 224), 1),
    ("timesformer_448_center", facebook(448, 448), None),
    ("mmaction2_slowfast_256_center224", mmaction2(256, 224, *_IMAGENET), None),
    ("mmaction2_slowfast_256_threecrop0", mmaction2(256, 256, *_IMAGENET), 0),
    ("mmaction2_slowfast_256_threecrop1", mmaction2(256, 256, *_IMAGENET), 1),
    ("mmaction2_slowfast_256_threecrop2", mmaction2(256, 256, *_IMAGENET), 2),
    ("mmaction2_timesformer_256_center224", mmaction2(256, 224, *_HALF), None),
    ("mmaction2_timesformer_224_threecrop0", mmaction2(224, 224, *_HALF), 0),
    ("pytorchvideo_hub_scale256_center256", facebook(256, 256, offset="even"), None),
    ("hf_timesformer_224_center", facebook(224, 224, antialias=True, offset="floor"), None),
    ("paddlevideo_slowfast_256_crop0of3", facebook(256, 256, antialias=True), 0),
    ("paddlevideo_slowfast_256_crop1of3", facebook(256, 256, antialias=True), None),
    ("paddlevideo_slowfast_256_crop2of3", facebook(256, 256, antialias=True), 1),
    ("paddlevideo_timesformer_224_left_or_top", facebook(224, 224, offset="floor"), 0),
    ("paddlevideo_timesformer_224_right_or_bottom", facebook(224, 224, offset="floor"), 1),
    ("paddlevideo_timesformer_224_center", facebook(224, 224, offset="floor"), 2),
]


@pytest.fixture(scope="module")
def video_pixels(shared: Path) -> dict[str, Any]:
    """Pixels that SlowFast's and TimeSformer's code bases gave, by size of the source."""
    text = (shared / "golden/preprocess/video_transforms.json").read_text()
    sizes: dict[str, Any] = json.loads(text)["sizes"]
    return sizes


@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_those_of_slowfast_and_timesformer_within_a_gray_level(
    size: tuple[int, int], video_pixels: dict[str, Any], golden_recipe: ModuleType
) -> None:
    goldens = video_pixels[f"{size[0]}x{size[1]}"]
    frames = [golden_recipe.natural_frame(*size, t) for t in range(8)]
    assert [zlib.crc32(f.tobytes()) for f in frames] == goldens["crc32_of_source_frames"]
    for name, how, crop in VIDEO_PIXELS:
        preprocess, golden = Preprocessor(how.preprocess), goldens[name]
        count = 1 if crop is None else 3
        crops = [preprocess.crops(f, count, color="rgb")[crop or 0] for f in frames]
        tensor = preprocess.tensor(crops).reshape(8, 3, how.crop, how.crop).transpose(1, 0, 2, 3)
        level = how.scale / min(how.std)
        for c, t, y, x, value in golden["values_c_t_y_x"]:
            assert abs(tensor[c, t, y, x] - value) <= level + 1e-4, (name, c, t, y, x)
        for c in range(3):
            assert abs(tensor[c].mean() - golden["mean"][c]) <= level / 5, name
            assert abs(tensor[c].std(ddof=1) - golden["std"][c]) <= level / 4, name


def test_another_number_of_crops_is_refused() -> None:
    with pytest.raises(InputError, match="4 crops"):
        PREPROCESS.crops(np.zeros((10, 10, 3), np.uint8), 4)


def test_the_tensor_is_exact() -> None:
    crops = [
        np.random.default_rng(t).integers(0, 256, (224, 224, 3), dtype=np.uint8) for t in (0, 1)
    ]
    tensor = PREPROCESS.tensor(crops)
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    for t, crop in enumerate(crops):
        expected = (crop.astype(np.float32) / 255 - mean) / std
        assert np.abs(tensor[3 * t : 3 * t + 3] - expected.transpose(2, 0, 1)).max() < 1e-6


def test_bgr_and_rgb_meet() -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    swapped = np.ascontiguousarray(image[..., ::-1])
    assert np.array_equal(
        PREPROCESS.crop(image, color="bgr"), PREPROCESS.crop(swapped, color="rgb")
    )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((10, 10), np.uint8), r"this one has \(10, 10\)"),
        (np.zeros((10, 10, 4), np.uint8), "convert gray or BGRA"),
        (np.zeros((0, 10, 3), np.uint8), "this one has"),
        (np.zeros((10, 10, 3), np.float32), "this one is float32"),
        ([[0]], "this one is list"),
    ],
)
def test_what_is_no_picture_is_said(image: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PREPROCESS.crop(image)
