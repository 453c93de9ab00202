"""One decoder reads what one generator describes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

import pytest

import edge_tsm.demo
from edge_tsm.actions.rules import PRESETS, rules_schema
from edge_tsm.bundle.card import Card, card_schema
from edge_tsm.bundle.schema import Note, decode, json_schema
from edge_tsm.errors import CardError, InputError
from tests.helpers.fakes import make_card, make_online_card
from tests.helpers.schemas import SCHEMAS, shipped, text_of


@dataclass(frozen=True)
class Leaf:
    """A leaf. It has more sentences.

    Args:
        width, height: its size,
            in pixels.
    """

    width: int
    height: Annotated[float, Note(minimum=0)] = 1.0


@dataclass(frozen=True)
class Tree:
    """A tree."""

    leaves: Mapping[str, Leaf]
    kind: Literal["oak", "elm"] = "oak"
    pair: tuple[int, int] = (0, 0)
    note: str | None = None
    size: float | None = None
    first: Leaf | None = None
    tags: tuple[str | int, ...] = field(default=())


def test_everything_is_decoded() -> None:
    data = {
        "leaves": {"a": {"width": 2, "height": 3}},
        "kind": "elm",
        "pair": [1, 2],
        "size": 4,
        "first": {"width": 5},
        "tags": ["x", 1],
    }
    assert decode(Tree, data, "x") == Tree(
        {"a": Leaf(2, 3.0)}, "elm", (1, 2), None, 4.0, Leaf(5), ("x", 1)
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"f: tree is \[\], expected a table \{leaves, kind, pair, note, …\}"),
        ({}, "f: tree.leaves is missing"),
        ({"leafs": {}}, r"f: tree.leafs is unknown; did you mean 'leaves'\?"),
        ({"leaves": {"a b": {}}}, r"f: tree.leaves\['a b'\].width is missing"),
        ({"leaves": {"\x1b[1m": 1}}, r"f: tree.leaves\['\\x1b\[1m'\] is 1"),
        ({"leaves": {"a": {"width": 1.0}}}, "tree.leaves.a.width is 1.0, expected a whole"),
        ({"leaves": {"a": {"width": True}}}, "tree.leaves.a.width is True, expected a whole"),
        ({"leaves": {}, "pair": [1]}, "tree.pair has 1 items, expected 2"),
        ({"leaves": {}, "pair": [1, "2"]}, r"tree.pair\[1\] is '2', expected a whole number"),
        ({"leaves": {}, "kind": []}, r"tree.kind is \[\], this edge-tsm knows oak, elm"),
        ({"leaves": {}, "note": 1}, "tree.note is 1, expected a string or null"),
        ({"leaves": {}, "size": True}, "tree.size is True, expected a number or null"),
        ({"leaves": {}, "first": {}}, "tree.first.width is missing"),
        ({"leaves": {}, "tags": [None]}, r"tree.tags\[0\] is None, expected a string or a whole"),
    ],
)
def test_what_is_wrong_is_named(data: object, message: str) -> None:
    with pytest.raises(CardError, match=message):
        decode(Tree, data, "f", path="tree")


def test_another_error_and_another_start() -> None:
    start = Tree({}, note="x")
    assert decode(Tree, {"kind": "elm"}, "f", start=start) == Tree({}, "elm", note="x")
    with pytest.raises(InputError, match=r"^f: kind is 1"):
        decode(Tree, {"kind": 1}, "f", InputError, start=start)


def test_a_schema_says_what_the_docstrings_say() -> None:
    schema = json_schema(Leaf)
    assert schema["title"] == "A leaf. It has more sentences"
    assert schema["properties"] == {
        "width": {"type": "integer", "description": "its size, in pixels"},
        "height": {"type": "number", "minimum": 0, "description": "its size, in pixels"},
    }
    assert schema["required"] == ["width"]


class Open(TypedDict):
    """Allows more."""

    leaf: Leaf


def test_a_typed_dict_allows_more_keys_and_a_dataclass_does_not() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate({"leaf": {"width": 1}, "more": 1}, json_schema(Open))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"leaf": {"width": 1, "more": 1}}, json_schema(Open))


# --- what is shipped ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_shipped_schema_is_what_the_types_say(name: str) -> None:
    pytest.importorskip("jsonschema").Draft202012Validator.check_schema(SCHEMAS[name]())
    assert shipped(name).read_text("utf-8") == text_of(name), (
        f"edge_tsm/{name} differs from the types: run `python -m tests.helpers.schemas`"
    )


@pytest.mark.parametrize(
    "card", [make_card(), make_online_card(), Card.read(edge_tsm.demo.bundle())]
)
def test_cards_are_as_the_schema_says(card: Card) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    data = json.loads(card.to_json())
    jsonschema.validate(data, card_schema())
    for wrong in ({"schema": 1}, {"state": []}, {"labels": "x"}, {"family": None}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(data | wrong, card_schema())


def test_rules_are_as_the_schema_says() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    rules: dict[str, Any] = {
        "preset": next(iter(PRESETS)),
        "thresholds": {"a b": {"on": 1, "off": 0}},
    }
    jsonschema.validate(rules, rules_schema())
    for wrong in ({"preset": "x"}, {"onn": 1}, {"mean_answers": 1.5}, {"thresholds": {"a": 1}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(rules | wrong, rules_schema())
