"""Facts: their order and names, and that hints are read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters import Options, plan
from converters.architectures.topologies import topology
from converters.checkpoints.upstream import CONVENTION
from converters.facts import Hints
from converters.recipe import Topology, resolve
from edge_tsm.errors import CheckpointError
from tests.helpers.upstream import write_checkpoint

OWN = ["shift", "shifted blocks", "non-local", "temporal pool", "shift_div", "consensus"]
TURN = "shift direction"
COMMON = [
    *("classes", "segments", "color", "activation", "sampling", "size", "resize", "window_s"),
    *("labels", "batch"),
]


def a_topology(*hints: tuple[str, dict[str, object]]) -> Topology:
    return Topology(topology("resnet18"), 5, "new_fc.weight", hints, CONVENTION)


def test_facts_are_shown_in_one_order_under_one_name() -> None:
    facts = resolve(a_topology(), Options()).facts
    assert [name for name, _ in facts.rows()] == ["format", "backbone", *OWN, TURN, *COMMON]
    forced = resolve(a_topology(), Options(force_online=True)).facts
    own = [*OWN, TURN, "forced online"]
    assert [name for name, _ in forced.rows()] == [
        "format", "backbone", *own, *COMMON, "mode", "fps", "horizon"
    ]  # fmt: skip
    assert (forced.own["shift direction"].value, forced.window_s.source) == (
        "past",
        "horizon / fps",
    )


def test_parts_of_a_clip_are_a_fact_only_where_there_are_several() -> None:
    whole = resolve(a_topology(), Options(segments=8, shift_segments=8)).facts
    assert "shift segments" not in whole.own
    parts = resolve(a_topology(), Options(segments=8, shift_segments=4))
    assert list(parts.facts.own) == [*OWN, "shift segments", TURN]
    assert parts.shift.segments == 4


def test_a_hint_with_an_unknown_name_is_an_error_in_the_reader() -> None:
    with pytest.raises(TypeError, match="num_segments"):
        resolve(a_topology(("a file", {"num_segments": 8})), Options())
    with pytest.raises(TypeError, match="modality"):
        Hints.of("a file", {"modality": None})


def test_the_first_hint_counts_and_none_is_no_answer() -> None:
    hints = (("one", {"segments": None, "color": "bgr"}), ("two", {"segments": 4, "color": "rgb"}))
    facts = resolve(a_topology(*hints), Options()).facts
    assert (facts.segments.value, facts.segments.source) == (4, "two")
    assert (facts.color.value, facts.color.source) == ("bgr", "one")


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ({"segments": "8"}, r"segments is '8' \(a file\); it must be 2 to 128"),
        ({"shift_div": 2.5}, r"shift_div is 2\.5 \(a file\)"),
        ({"shift_direction": ["past"]}, r"shift_direction is \['past'\] \(a file\)"),
        ({"color": "gray"}, r"color is 'gray' \(a file\); it must be rgb, bgr"),
        ({"shift_segments": "4"}, "a file shifts '4' frames together"),
        ({"shift_segments": 3}, "8 frames cannot be cut into such parts"),
    ],
)
def test_values_of_a_file_are_checked(hints: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        resolve(a_topology(("a file", hints)), Options())


def test_a_text_for_a_number_is_named_whatever_else_is_asked_for(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "resnet18")
    (tmp_path / "args.txt").write_text("Namespace(num_segments='eight')")
    with pytest.raises(CheckpointError, match=r"segments is 'eight' \(args\.txt\)"):
        plan(path, Options(shift_segments=4))
    assert plan(path, Options(segments=8, shift_segments=4)).recipe.shift.segments == 4
