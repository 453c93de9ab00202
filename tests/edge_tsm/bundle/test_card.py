"""The card is read strictly."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edge_tsm.demo
from edge_tsm.bundle.card import METADATA_KEY, Card, File, Verification
from edge_tsm.errors import CardError
from tests.helpers.fakes import make_card

CARD = dataclasses.replace(
    make_card(),
    files={
        "model.xml": File(
            "model.xml", "00", "f32", "openvino", "1", {"model.bin": "11"}, {}, "any", proven=True
        )
    },
    verification={"model.xml": Verification(6, 1e-6, 1e-6, 1e-4, 1.0, 1.0, 1.0, 0.0)},
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


def _place(data: Any, path: tuple[str, ...]) -> Any:
    """Return the mapping that holds the last key of a path."""
    for key in path[:-1]:
        data = data[key]
    return data


@pytest.mark.parametrize("path", _paths(json.loads(CARD.to_json())), ids=".".join)
def test_every_missing_key_is_named(path: tuple[str, ...]) -> None:
    data = json.loads(CARD.to_json())
    del _place(data, path)[path[-1]]
    with pytest.raises(
        CardError, match="schema" if path == ("schema",) else rf"{path[-1]} is missing"
    ):
        Card.from_json(json.dumps(data), where="x")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), 4, "schema 4, this edge-tsm reads 1 to 3"),
        (("schema",), 0, "schema 0, this edge-tsm reads 1 to 3"),
        (("schema",), "1", "schema '1'"),
        (("schema",), True, "schema True"),
        (("extra",), 1, "card.extra is unknown"),
        (("label",), [], "card.label is unknown; did you mean 'labels'?"),
        (("labels",), "a", r"card\.labels is 'a', expected a list, each item a string"),
        (("labels",), [1], r"card\.labels\[0\] is 1"),
        (("labels",), [], "labels: there are none"),
        (("verification",), {}, "does not cover files"),
        (("preprocess", "std"), [0, 1, 1], "std: 0"),
        (("preprocess", "scale"), float("nan"), "scale is nan, expected a number"),
        (("input", "shape"), [0, 24, 224, 224], "has no batch"),
        (("streaming",), {"fps": 15.0, "horizon": 12, "caches": []}, "not N x"),
        (("streaming",), 15, r"streaming is 15, expected a table \{fps, horizon, caches\}"),
        (("sampling", "segments"), True, "segments is True"),
        (("sampling", "segments"), 16, "not N x"),
        (("sampling", "window_s"), 0, "more than 0 to 3600 s"),
        (("sampling", "interval"), 0, "sampling.interval: 0 is not from 1"),
        (("sampling", "fps"), 0.0, "sampling.fps: 0.0 is not more than 0"),
        (("input", "dtype"), "f16", r"dtype is 'f16', this edge-tsm knows float32"),
        (("preprocess", "mean"), [0.1, "x", 0.1], r"mean\[1\] is 'x', expected a number"),
        (("preprocess", "mean"), [0.1], "has 1 items, expected 3"),
        (("preprocess", "color"), "yuv", "color is 'yuv'"),
        (("preprocess", "resize", "short_side_px"), 200, "crop_px: 224 exceeds"),
        (("arch", "segments"), None, r"arch\.segments is None, expected a string or a whole"),
        (("files", "model.xml", "target"), "x", r"files\['model.xml'\]\.target is 'x'"),
        (("files", "model.xml", "path"), "../../etc/passwd", "they must be equal"),
        (("files", "model.xml", "parts"), {"../x": "0"}, "outside the bundle"),
    ],
)
def test_wrong_values_are_named(path: tuple[str, ...], value: Any, message: str) -> None:
    data = json.loads(CARD.to_json())
    _place(data, path)[path[-1]] = value
    with pytest.raises(CardError, match=message):
        Card.from_json(json.dumps(data), where="x")


@given(st.text())
def test_any_text_is_a_card_error(text: str) -> None:
    with pytest.raises(CardError):
        Card.from_json(text, where="x")


# --- bundles made before: schema 1 --------------------------------------------------------------


@pytest.mark.parametrize(("kind", "caches"), [("clip", 0), ("online", 10)])
def test_bundles_made_before_are_read(kind: str, caches: int) -> None:
    bundle = edge_tsm.demo.bundle(kind)
    assert json.loads((bundle / "card.json").read_text())["schema"] == 1
    card = Card.read(bundle)
    assert (card.schema, card.family, len(card.state)) == (3, "mobilenet", caches)
    assert card.online is (kind == "online")
    assert "mode" not in card.arch
    assert Card.from_json(card.to_json(), where="x") == card


@pytest.mark.parametrize("kind", ["clip", "online"])
@pytest.mark.parametrize("file", ["model.onnx", "model.int8.onnx"])
def test_artifacts_made_before_still_hold_their_card(kind: str, file: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    bundle = edge_tsm.demo.bundle(kind)
    session = onnxruntime.InferenceSession(bundle / file, providers=["CPUExecutionProvider"])
    text = session.get_modelmeta().custom_metadata_map[METADATA_KEY]
    card = dataclasses.replace(Card.read(bundle), files={}, verification={})
    assert Card.from_json(text, where=file) == card


def before(*, kind: str = "online") -> dict[str, Any]:
    data: dict[str, Any] = json.loads((edge_tsm.demo.bundle(kind) / "card.json").read_text())
    return data


@pytest.mark.parametrize(
    ("backbone", "family"),
    [
        ("resnet50", "resnet"),
        ("wide_resnet50_2", "resnet"),
        ("mobilenetv3", "mobilenet"),
        ("mobileone_s4", "mobileone"),
        ("pplcnet_v2", "lcnet"),
        ("another", "unknown"),
    ],
)
def test_a_backbone_tells_the_family(backbone: str, family: str) -> None:
    data = before()
    data["arch"]["backbone"] = backbone
    assert Card.from_json(json.dumps(data), where="x").family == family


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("arch", "mode"), "clip", "some say online"),
        (("input", "layout"), "N(T*C)HW", "some say online"),
        (("input", "layout"), "NCTHW", r"layout is 'NCTHW', this edge-tsm knows N\(T\*C\)HW"),
        (("state",), [], "some say online"),
        (("state",), "x", "card.state is 'x', expected a list"),
        (("streaming",), None, "some say online"),
        (("streaming", "horizon"), 0, "horizon from 1"),
        (("streaming", "caches"), [], "caches is unknown"),
        (("arch",), 1, "card.arch is 1"),
        (("family",), "x", "card.family is unknown"),
        (("labels",), "x", "card.labels is 'x'"),
    ],
)
def test_wrong_values_of_schema_1_are_named(
    path: tuple[str, ...], value: Any, message: str
) -> None:
    data = before()
    _place(data, path)[path[-1]] = value
    with pytest.raises(CardError, match=message):
        Card.from_json(json.dumps(data), where="x")


@pytest.mark.parametrize("key", ["arch", "input", "state", "streaming", "labels"])
def test_every_missing_key_of_schema_1_is_named(key: str) -> None:
    data = before()
    del data[key]
    with pytest.raises(CardError, match=f"card.{key} is missing"):
        Card.from_json(json.dumps(data), where="x")


def test_a_folder_without_card(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="not a bundle"):
        Card.read(tmp_path)


# --- bundles made before: schema 2 --------------------------------------------------------------


def _schema_2() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(CARD.to_json())
    data["schema"] = 2
    del data["input"]["dynamic_batch"]
    del data["sampling"]["interval"], data["sampling"]["fps"]
    for file in data["files"].values():
        del file["proven"]
    return data


def test_a_card_of_schema_2_is_read_as_proven_and_of_a_fixed_batch() -> None:
    assert Card.from_json(json.dumps(_schema_2()), where="x") == CARD


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("input", "dynamic_batch"), False, "input.dynamic_batch is unknown to schema 2"),
        (("files", "model.xml", "proven"), True, "files.model.xml.proven is unknown to schema 2"),
        (("sampling", "interval"), 2, "sampling.interval is unknown to schema 2"),
        (("files",), [], r"card\.files is \[\]"),
        (("input",), None, r"card\.input is None"),
    ],
)
def test_wrong_values_of_schema_2_are_named(
    path: tuple[str, ...], value: Any, message: str
) -> None:
    data = _schema_2()
    _place(data, path)[path[-1]] = value
    with pytest.raises(CardError, match=message):
        Card.from_json(json.dumps(data), where="x")


def test_a_graph_of_any_batch_has_none_of_its_own() -> None:
    data: dict[str, Any] = json.loads(CARD.to_json())
    data["input"] |= {"dynamic_batch": True, "shape": [2, *CARD.input.shape[1:]]}
    with pytest.raises(CardError, match=r"input\.shape: .* has a batch, though dynamic_batch"):
        Card.from_json(json.dumps(data), where="x")
