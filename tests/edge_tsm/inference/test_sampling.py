"""Frame indices equal upstream's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_tsm.errors import CardError, InputError
from edge_tsm.inference.sampling import (
    TEST_RULES,
    IndexRule,
    index_rule,
    uniform_indices,
)


@pytest.mark.parametrize("segments", [8, 16])
@pytest.mark.parametrize("rule", ["uniform", "dense", "twice"])
def test_test_indices_are_upstreams(rule: str, segments: int, shared: Path) -> None:
    golden = json.loads((shared / "golden/preprocess/indices.json").read_text())
    table = golden[f"{rule}_{segments}"]
    assert {"1", "7", "8", "400"} <= table.keys()
    for count, expected in table.items():
        assert [i + 1 for i in TEST_RULES[rule](int(count), segments)] == expected


@given(st.integers(1, 100_000), st.integers(1, 64))
def test_indices_are_in_order_and_in_range(count: int, segments: int) -> None:
    indices = uniform_indices(count, segments)
    assert len(indices) == segments
    assert indices == sorted(indices)
    assert indices[0] >= 0
    assert indices[-1] < count


@pytest.mark.parametrize("rule", TEST_RULES.values())
def test_nothing_cannot_be_sampled(rule: IndexRule) -> None:
    with pytest.raises(InputError, match="from 0 frames"):
        rule(0, 8)


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(CardError, match="'golden-ratio'"):
        index_rule("golden-ratio")
