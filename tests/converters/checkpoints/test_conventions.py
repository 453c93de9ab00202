"""Preprocessing and sampling of mmaction2 and PaddleVideo, against what their own code did."""

from __future__ import annotations

import json
from types import ModuleType

import numpy as np
import pytest

from converters.checkpoints.mmaction2 import CONVENTION as MMACTION2
from converters.checkpoints.paddle import PP_TSM, TSM
from converters.recipe import Convention, preprocess_of
from edge_tsm.bundle.card import Sampling
from edge_tsm.inference.preprocess import Preprocessor, scaled_size
from edge_tsm.inference.sampling import Sampler
from tests.helpers.goldens import HERE

GOLDEN = json.loads((HERE / "preprocess/frameworks.json").read_text())
CONVENTIONS = {"mmaction2": MMACTION2, "pp_tsm": PP_TSM, "paddle_tsm": TSM}


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["key"])
def test_pixels_are_the_frameworks(case: dict, golden_recipe: ModuleType) -> None:
    convention: Convention = CONVENTIONS[case["convention"]]
    width, height = case["width"], case["height"]
    spec = preprocess_of(convention, "rgb")
    assert scaled_size(width, height, spec.resize) == tuple(case["scaled"])
    frame = golden_recipe.natural_frame(width, height, 3)
    crop = Preprocessor(spec).crop(frame, color="rgb")[::4, ::4].astype(int)
    golden = np.load(HERE / "preprocess/crops.npz")[case["key"]]
    assert np.abs(crop - golden).max() <= 1


@pytest.mark.parametrize("rule", GOLDEN["indices"])
def test_indices_are_the_frameworks(rule: str) -> None:
    name, _, segments = rule.rpartition("_")
    table = GOLDEN["indices"][rule]
    assert {"1", "40", "300"} <= table.keys()
    for count, expected in table.items():
        assert Sampler(Sampling(name, int(segments), 1, 1, None, None))(int(count)) == expected


def test_conventions_name_the_rules_that_were_compared() -> None:
    assert {c.sampling for c in CONVENTIONS.values()} == {"uniform", "paddle_center", "paddle_left"}
