"""JSON that every reader takes."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from edge_tsm.system.jsontext import to_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(VALUES)
def test_it_is_strict_json(value: object) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    json.loads(to_json(value), parse_constant=refuse)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.text()))
def test_what_json_has_stays(value: list[object]) -> None:
    assert json.loads(to_json(value)) == value
