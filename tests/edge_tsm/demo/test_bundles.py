"""The demo bundles are in the package, in both forms."""

from __future__ import annotations

from edge_tsm.bundle.card import Card
from edge_tsm.demo import bundle


def test_the_clip_form_looks_at_whole_clips() -> None:
    assert Card.read(bundle()).streaming is None


def test_the_online_form_steps_frame_by_frame() -> None:
    assert Card.read(bundle("online")).streaming is not None
