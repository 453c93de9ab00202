"""LiteRT as a further engine: proven on itself; needs litert-torch, which brings fifty packages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge_tsm import Card
from edge_tsm.errors import ConversionError, ExportError
from edge_tsm.inference.loading import load

pytest.importorskip("torch", reason="writing files needs what converts")

from converters import Options, Settings, convert
from converters.export import targets
from converters.export.litert import write_litert
from tests.helpers.upstream import write_checkpoint


@pytest.mark.parametrize("online", [False, True])
def test_both_forms_are_written_proven_and_loaded(online: bool, tmp_path: Path) -> None:
    for package in ("ai_edge_litert", "litert_torch"):
        pytest.importorskip(package, reason="not installed")
    options = Options(segments=4, size=64, force_online=online)
    settings = Settings(ir=False, targets=("litert",))
    checkpoint = write_checkpoint(tmp_path, "resnet18")
    bundle = convert(checkpoint, tmp_path / "x.bundle", options, settings)
    card = Card.read(bundle)
    assert card.files["model.tflite"].engines == ("litert",)
    assert 0 < card.verification["model.tflite"].max_rel_diff <= 1e-4
    with load(bundle / "model.tflite") as recognizer:
        assert recognizer.card.labels == card.labels


def test_a_converter_that_crashes_is_a_reason(tmp_path: Path) -> None:
    from edge_tsm import demo

    command = (sys.executable, "-c", "import os; os.abort()")
    card = Card.read(demo.bundle())
    with pytest.raises(ExportError, match=r"model\.tflite: litert-torch ended with code -6"):
        write_litert(tmp_path / "x.pt2", card, tmp_path / "model.tflite", command=command)
    assert not list(tmp_path.iterdir())


def test_what_is_missing_and_what_does_not_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "find_spec", lambda module: None)
    monkeypatch.setattr(targets, "installed", lambda name: False)
    with pytest.raises(ConversionError, match=r"pip install 'edge-tsm\[litert\]' litert-torch"):
        targets.check_targets(["litert"])
    monkeypatch.setattr("converters.builder.check_targets", lambda names: None)
    with pytest.raises(ConversionError, match="a LiteRT file is of a fixed batch"):
        convert(
            write_checkpoint(tmp_path, "resnet18"),
            tmp_path / "x.bundle",
            Options(segments=2, size=64, dynamic_batch=True),
            Settings(targets=("litert",)),
        )
