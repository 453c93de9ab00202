"""Labels of a checkpoint: counts that disagree, orders of code bases, built-in lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from converters.checkpoints.mmaction2 import CONVENTION as MMACTION2
from converters.checkpoints.upstream import CONVENTION as UPSTREAM
from converters.planning import plan
from converters.recipe import Options, Topology, resolve
from edge_tsm.bundle.data_sets import names_of
from edge_tsm.errors import CheckpointError


def test_counts_that_differ_are_both_named(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "three.txt").write_text("a\nb\nc\n")
    with pytest.raises(CheckpointError, match=r"has 3 labels, the checkpoint 5 classes"):
        plan(checkpoint, Options(labels=str(tmp_path / "three.txt")))


@pytest.mark.parametrize(
    ("code_base", "first"), [("mit", "Doing other things"), ("mmaction2", "Swiping Left")]
)
def test_the_code_base_decides_the_order_of_an_official_list(
    code_base: str, first: str, checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "jester-v1-labels.csv"
    path.write_text("\n".join(names_of("jester")))
    recipe = resolve(_jester(checkpoint, code_base), Options(labels=path))
    assert recipe.labels.names[0] == first
    assert ("sorted as mit" in recipe.labels.source) == (code_base == "mit")
    assert recipe.warnings == []
    assert (
        resolve(_jester(checkpoint, code_base), Options(labels="jester")).labels.names[0] == first
    )


@pytest.mark.parametrize("code_base", ["mit", "mmaction2"])
def test_the_other_code_bases_order_is_pointed_out(
    code_base: str, checkpoint: Path, tmp_path: Path
) -> None:
    other = names_of("jester") if code_base == "mit" else sorted(names_of("jester"))
    (tmp_path / "category.txt").write_text("\n".join(other))
    recipe = resolve(_jester(checkpoint, code_base), Options(labels=tmp_path / "category.txt"))
    assert recipe.labels.names == tuple(other)
    assert "another order" in recipe.warnings[0]
    assert "--labels jester" in recipe.warnings[0]


def test_a_fitting_built_in_list_is_offered_and_not_assumed(checkpoint: Path) -> None:
    recipe = resolve(_jester(checkpoint, "mit"), Options())
    assert recipe.labels.names[0] == "class_0"
    assert "pass --labels jester" in recipe.warnings[0]


def _jester(checkpoint: Path, code_base: str) -> Topology:
    """The topology of a checkpoint, as if it had Jester's classes and came from `code_base`."""
    convention = {"mit": UPSTREAM, "mmaction2": MMACTION2}[code_base]
    topology = plan(checkpoint, Options()).checkpoint.topology
    return replace(topology, classes=27, convention=convention, hints=())
