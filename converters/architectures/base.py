"""What networks that see frames one by one, with a shift between them, answer alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from converters.architectures.classifier import VideoClassifier
from converters.architectures.network import (
    Blueprint,
    Evidence,
    FrameNetwork,
    Namer,
    Network,
    Settled,
    ShiftPlace,
)
from converters.architectures.non_local import NonLocalMode
from converters.architectures.settling import refuse_offline, settle_shifted, shift_place
from converters.architectures.shift import Shift

__all__ = [
    "FrameNetwork",
    "Namer",
    "Network",
    "ShiftPlace",
    "ShiftedNetwork",
    "refuse_offline",
    "shift_place",
]


class ShiftedNetwork:
    """A spec's usual answers: time is seen by shifts only, and upstream does not know it."""

    names: ClassVar[tuple[str, ...]] = ()
    own_hints: ClassVar[frozenset[str]] = frozenset()

    @property
    def order_sensitive(self: FrameNetwork) -> bool:
        """See `Network`."""
        return shift_place(self) != "none" or self.temporal_pool

    @property
    def temporal_pool(self) -> bool:
        """See `Network`."""
        return False

    @property
    def non_local_blocks(self) -> int:
        """See `Network`."""
        return 0

    @property
    def non_local_mode(self) -> NonLocalMode | None:
        """See `Network`."""
        return None

    @property
    def offline_reason(self: FrameNetwork) -> str | None:
        """See `Network`."""
        place = shift_place(self)
        reasons = {
            "temporal pooling joins frames before they are answered": self.temporal_pool,
            "its non-local blocks look at all frames of a clip": self.non_local_blocks > 0,
            "it has no temporal shift, so there is nothing to carry from frame to frame": place
            == "none",
            f"its shift is placed as `{place}`, and only `blockres` has an online form": place
            in ("block", "stage"),
        }
        return next((reason for reason, holds in reasons.items() if holds), None)

    @property
    def variants(self) -> Mapping[str, FrameNetwork]:
        """See `Network`."""
        return {}

    @property
    def upstream_namer(self) -> Namer | None:
        """See `Network`."""
        return None

    @classmethod
    def named(
        cls, name: str, *, shift: ShiftPlace, non_local: bool, temporal_pool: bool
    ) -> FrameNetwork | None:
        """See `Network`."""
        return None

    def with_default_shifts(self: FrameNetwork) -> FrameNetwork:
        """See `Network`."""
        return self

    def with_shifts(self: FrameNetwork, place: ShiftPlace) -> FrameNetwork:
        """See `Network`; most networks have one place, whatever it is called."""
        return self if place == "none" else self.with_default_shifts()

    def with_non_local(self: FrameNetwork, mode: NonLocalMode, *, scale: bool) -> FrameNetwork:
        """See `Network`."""
        return self

    @property
    def forms(self) -> Mapping[str, str]:
        """See `Network`."""
        return {}

    def formed(self, model: nn.Module, form: str) -> nn.Module:
        """See `Network`."""
        return model

    def settle(self: FrameNetwork, evidence: Evidence) -> Settled:
        """See `Network`."""
        return settle_shifted(self, evidence)

    def classifier(self: FrameNetwork, blueprint: Blueprint) -> nn.Module:
        """See `Network`."""
        shift = blueprint.shift or Shift(blueprint.segments, 8)
        parts = blueprint.segments // shift.segments
        return VideoClassifier(self, blueprint.classes, shift, parts=parts)
