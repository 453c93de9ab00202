"""Published checkpoints are recognized, and a file that is not what its name says is told."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from converters.checkpoints.released import recognize, released
from converters.planning import plan
from converters.recipe import Options
from edge_tsm.bundle.data_sets import names_of

MMACTION2 = "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb_20220831-64d69186.pth"


def test_every_row_is_in_order() -> None:
    digits = [release.sha256 for release in released() if release.sha256]
    assert len(digits) == len(set(digits)) > 50
    assert len({(r.file, r.labels) for r in released()}) == len(released())
    for release in released():
        assert re.fullmatch(r"|[0-9a-f]{8}", release.sha256)
        assert release.url.startswith("https://")
        assert release.url.endswith(release.file)
        assert names_of(release.labels)
        assert 40 < float(release.top1) < 100
        assert int(release.frames) in (4, 8, 16, 64, 96)
        assert release.interval == "" or int(release.interval) in (4, 8, 16, 32)


def test_content_counts_more_than_the_name() -> None:
    found = recognize(Path("renamed.pth"), "64d69186" + "0" * 56, 400)
    assert found.release
    assert (found.release.file, found.by, found.warnings) == (MMACTION2, "SHA-256", ())


@pytest.mark.parametrize("name", [MMACTION2, "resnet50-0676ba61.pth"])
def test_a_name_that_promises_another_content_is_told(name: str) -> None:
    found = recognize(Path(name), "ab" * 32, 400)
    assert found.release is None
    [warning] = found.warnings
    assert "starts with abababab" in warning


def test_a_name_of_several_data_sets_is_told_apart_by_its_classes() -> None:
    path = Path("SLOWFAST_8x8_R50.pyth")
    labels = [getattr(recognize(path, "0" * 64, n).release, "labels", None) for n in (400, 174, 5)]
    assert labels == ["kinetics400", "something-v2", None]


def test_what_is_converted_is_named_and_its_frames_are_compared(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    own = replace(released()[1], sha256=sha256[:8], labels="hmdb51", frames="8")
    monkeypatch.setattr("converters.checkpoints.released.released", lambda: (own,))
    recipe = plan(checkpoint, Options(segments=16)).recipe
    facts = dict(recipe.facts.rows())
    assert facts["published as"].value.startswith("mit TSM ResNet-50, top-1 71.2 %")
    assert facts["published as"].source == "SHA-256"
    assert any("is of 8 frames; this is 16 (--segments 8)" in text for text in recipe.warnings)
