"""Agreement figures and golden clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_tsm.bundle.golden import Golden, measure
from edge_tsm.errors import CardError

REFERENCE = np.float32([[3, 1, 0, -1, -2, -3], [0, 4, 1, 2, 3, -4]])


def test_equal_logits_agree() -> None:
    result = measure(REFERENCE, REFERENCE, tolerance=1e-4)
    assert (result.max_abs_diff, result.top1_agreement, result.top5_agreement) == (0, 1, 1)
    assert result.cosine == pytest.approx(1)
    assert result.clips == 2


def test_differences_are_related_to_the_range() -> None:
    answer = REFERENCE.copy()
    answer[0, 0] = -10
    result = measure(REFERENCE, answer, tolerance=1e-4)
    assert result.max_abs_diff == 13
    assert result.max_rel_diff == pytest.approx(13 / 8)
    assert result.top1_agreement == 0.5
    assert result.top5_agreement == pytest.approx(0.9)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_a_number_never_agrees(value: float) -> None:
    answer = REFERENCE.copy()
    answer[0, 0] = value
    assert measure(REFERENCE, answer, tolerance=1e-4).max_rel_diff == np.inf


def test_golden_clips_survive(tmp_path: Path) -> None:
    clips = np.random.default_rng(0).integers(0, 256, (2, 8, 4, 4, 3), dtype=np.uint8)
    Golden(clips, REFERENCE).write(tmp_path)
    read = Golden.read(tmp_path)
    assert np.array_equal(read.clips, clips)
    assert np.array_equal(read.logits, REFERENCE)


@pytest.mark.parametrize("content", [None, b"", b"PK nonsense"])
def test_damaged_golden_clips(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "golden.npz").write_bytes(content)
    with pytest.raises(CardError, match="convert again"):
        Golden.read(tmp_path)
