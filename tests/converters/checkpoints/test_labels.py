"""A label file and a checkpoint that disagree."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.planning import plan
from converters.recipe import Options
from edge_tsm.errors import CheckpointError


def test_counts_that_differ_are_both_named(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "three.txt").write_text("a\nb\nc\n")
    with pytest.raises(CheckpointError, match=r"has 3 labels, the checkpoint 5 classes"):
        plan(checkpoint, Options(labels=str(tmp_path / "three.txt")))
