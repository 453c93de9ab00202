"""The card is read strictly."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_tsm.bundle.card import Card, File, Verification
from edge_tsm.errors import CardError
from tests.helpers.fakes import make_card

CARD = dataclasses.replace(
    make_card(),
    files={
        "model.xml": File("model.xml", "00", "f32", "openvino", "1", {"model.bin": "11"}, {}, "any")
    },
    verification={"model.xml": Verification(6, 1e-6, 1e-6, 1e-4, 1.0, 1.0, 1.0)},
)


def test_a_card_survives_the_round_trip() -> None:
    assert Card.from_json(CARD.to_json(), where="x") == CARD


def test_the_embedded_card_says_nothing_of_files() -> None:
    embedded = Card.from_json(CARD.embedded(), where="x")
    assert embedded == dataclasses.replace(CARD, files={}, verification={})


def _paths(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key of the schema; free-form mappings and lists are values."""
    found = []
    for key, value in data.items():
        found.append((*path, key))
        if isinstance(value, dict) and key not in (
            "arch",
            "files",
            "verification",
            "inferred",
            "tools",
        ):
            found += _paths(value, (*path, key))
    return found


@pytest.mark.parametrize("path", _paths(json.loads(CARD.to_json())), ids=".".join)
def test_every_missing_key_is_named(path: tuple[str, ...]) -> None:
    data = json.loads(CARD.to_json())
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    with pytest.raises(
        CardError, match="schema" if path == ("schema",) else rf"{path[-1]} is missing"
    ):
        Card.from_json(json.dumps(data), where="x")


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("schema",), 2, "schema 2, this edge-tsm reads 1"),
        (("schema",), "1", "schema '1'"),
        (("extra",), 1, "card.extra is unknown"),
        (("labels",), "a", r"card\.labels is 'a', expected list"),
        (("labels",), [1], r"card\.labels\[0\] is 1"),
        (("labels",), [], "labels: there are none"),
        (("verification",), {}, "does not cover files"),
        (("preprocess", "std"), [0, 1, 1], "std: 0"),
        (("preprocess", "scale"), float("nan"), "not finite"),
        (("input", "shape"), [0, 24, 224, 224], "has no batch"),
        (("state",), [{"input": "a", "output": "b", "shape": [1]}], "some say online"),
        (("streaming",), {"fps": 15.0, "horizon": 12}, "not N x"),
        (("arch", "mode"), "online", "some say online"),
        (("sampling", "segments"), True, "segments is True"),
        (("sampling", "segments"), 16, "not N x"),
        (("sampling", "window_s"), 0, "window_s > 0"),
        (("input", "layout"), "NCTHW", r"layout is 'NCTHW', this edge-tsm knows N\(T\*C\)HW"),
        (("preprocess", "mean"), [0.1], "has 1 items, expected 3"),
        (("preprocess", "color"), "yuv", "color is 'yuv'"),
        (("preprocess", "resize", "short_side_px"), 200, "crop_px: 224 exceeds"),
        (("arch", "segments"), None, r"arch\.segments is None"),
        (("files", "model.xml", "path"), "../../etc/passwd", "outside the bundle"),
        (("files", "model.xml", "parts"), {"../x": "0"}, "outside the bundle"),
    ],
)
def test_wrong_values_are_named(path: tuple[str, ...], value: Any, told: str) -> None:
    data = json.loads(CARD.to_json())
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(CardError, match=told):
        Card.from_json(json.dumps(data), where="x")


@given(st.text())
def test_any_text_is_a_card_error(text: str) -> None:
    with pytest.raises(CardError):
        Card.from_json(text, where="x")


def test_a_folder_without_card(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="not a bundle"):
        Card.read(tmp_path)
