"""What every network family offers: a spec as plain values, and the modules that it builds.

A family is one file: the spec's dataclasses, and the modules they describe. A spec is read from a
checkpoint's keys. Canonical weight names are those of the modules: a convolution with its batch
norm is `NAME.conv.weight`, `NAME.bn.{weight,bias,running_mean,running_var}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal, Protocol

from torch import nn

from converters.architectures.non_local import NonLocalMode
from converters.architectures.shift import Shift
from edge_tsm.errors import CheckpointError

ShiftPlace = Literal["none", "block", "blockres", "stage"]
Namer = Callable[[str], str]


class Network(Protocol):
    """The spec of a network; `ShiftedNetwork` answers what most families answer alike."""

    family: ClassVar[str]
    """Its key in `FAMILIES`, and in the card."""
    names: ClassVar[tuple[str, ...]]
    """What `named` knows."""

    @property
    def name(self) -> str:
        """The field's name for the network."""
        ...

    @property
    def features(self) -> int:
        """Width of what the classifier sees."""
        ...

    @property
    def shifts(self) -> Sequence[ShiftPlace]:
        """Where each block (or stage) is shifted."""
        ...

    @property
    def temporal_pool(self) -> bool:
        """Whether frames are joined on the way, which halves the segments."""
        ...

    @property
    def non_local_blocks(self) -> int:
        """How many non-local blocks there are."""
        ...

    @property
    def non_local_mode(self) -> NonLocalMode | None:
        """How non-local blocks relate positions, as far as is known; None without such blocks."""
        ...

    @property
    def offline_reason(self) -> str | None:
        """Why the network cannot answer one frame at a time; None where it can."""
        ...

    @property
    def variants(self) -> Mapping[str, Network]:
        """By name the networks that these weights may be of, where they do not tell which."""
        ...

    @property
    def upstream_namer(self) -> Namer | None:
        """What renames a weight of the backbone for upstream's code; None where that has none."""
        ...

    @classmethod
    def named(
        cls, name: str, *, shift: ShiftPlace, non_local: bool, temporal_pool: bool
    ) -> Network | None:
        """Return the network that upstream builds for `name`; None for other families' names."""
        ...

    def build(self, shift: Shift) -> nn.Module:
        """Return the backbone: (T*N, 3, H, W) time-major to features (T*N, F)."""
        ...

    def with_default_shifts(self) -> Network:
        """Return the network with its shifts where upstream puts them.

        For weights that do not show them: of an image classifier, or of an online model.
        """
        ...

    def with_shifts(self, place: ShiftPlace) -> Network:
        """Return the network with its shifts where upstream puts those of a place.

        For `none`, a network without shifts as it is.
        """
        ...

    def with_non_local(self, mode: NonLocalMode, *, scale: bool) -> Network:
        """Return the network whose non-local blocks, where there are any, work so."""
        ...


class ShiftedNetwork:
    """A spec's usual answers: time is seen by shifts only, and upstream does not know it."""

    names: ClassVar[tuple[str, ...]] = ()

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
    def offline_reason(self: Network) -> str | None:
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
    def variants(self) -> Mapping[str, Network]:
        """See `Network`."""
        return {}

    @property
    def upstream_namer(self) -> Namer | None:
        """See `Network`."""
        return None

    @classmethod
    def named(
        cls, name: str, *, shift: ShiftPlace, non_local: bool, temporal_pool: bool
    ) -> Network | None:
        """See `Network`."""
        return None

    def with_default_shifts(self: Network) -> Network:
        """See `Network`."""
        return self

    def with_shifts(self: Network, place: ShiftPlace) -> Network:
        """See `Network`; most networks have one place, whatever it is called."""
        return self if place == "none" else self.with_default_shifts()

    def with_non_local(self: Network, mode: NonLocalMode, *, scale: bool) -> Network:
        """See `Network`."""
        return self


def shift_place(network: Network) -> ShiftPlace:
    """Return where the network is shifted; the networks known here use one place only."""
    return next((place for place in network.shifts if place != "none"), "none")


def refuse_offline(network: Network, direction: str, *, force: bool) -> None:
    """Refuse a network that needs more than the frames so far.

    Raises:
        CheckpointError: it says why; a shift from both sides passes with `force`.
    """
    if reason := network.offline_reason:
        raise CheckpointError(f"{network.name} cannot run online: {reason}; leave out --online")
    if direction != "past" and not force:
        raise CheckpointError(
            f"the shift looks both ways ({direction}): online, the first fold would take the frame "
            "before, whatever it was trained on, and the second would never be shifted. Fine-tune "
            "it with a shift from the past; pass --shift-direction past if it was trained so, or "
            "--force-online to convert it all the same"
        )
