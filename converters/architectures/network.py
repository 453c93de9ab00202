"""What every network family offers, whatever its networks look at.

A family is one file: the spec's dataclasses, and the modules they describe. A spec is read from a
checkpoint's keys and shapes; what these do not show is settled by hints (`Network.settle`), and is
part of the settled spec. Some families see frames one by one, with a shift between them
(`FrameNetwork`), others a clip as a whole (`ClipNetwork`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor, nn

from converters.architectures.non_local import NonLocalMode
from converters.architectures.shift import Shift
from converters.facts import UNKNOWN, Fact, Hints, first, integer
from edge_tsm.errors import CheckpointError

MOST_SEGMENTS = 128
Scalar = str | int | float | bool
ShiftPlace = Literal["none", "block", "blockres", "stage"]
Namer = Callable[[str], str]


@dataclass(frozen=True)
class Evidence:
    """What a family settles its facts by.

    `sources` are hints in order of trust: the user's, the file's, the code base's (`convention` is
    its name), defaults. `size` is the side of the pictures in pixels. `shift_source` is what shows
    which blocks are shifted, None where nothing does. `online` asks for the form that takes one
    frame at a time, `force_online` also of a network that was not trained for it.
    """

    sources: Sequence[Hints]
    convention: str
    size: Fact[int]
    shift_source: str | None = None
    online: bool = False
    force_online: bool = False

    def own(self, name: str) -> Fact[object] | None:
        """Return the first claim about a fact that only the family understands."""
        return next((h.own[name] for h in self.sources if name in h.own), None)


@dataclass(frozen=True)
class Settled:
    """A network of which everything is known.

    `own` are the family's facts by the names under which they are shown, `arch` what the card says
    of the network. `shift` is None for networks without one.
    """

    network: Network
    segments: Fact[int]
    own: Mapping[str, Fact[Any]]
    arch: Mapping[str, Scalar]
    shift: Shift | None = None
    warnings: tuple[str, ...] = field(default=())


class Blueprint(Protocol):
    """What a network is built from; a `Recipe` is one."""

    @property
    def network(self) -> Network:
        """The spec."""
        ...

    @property
    def classes(self) -> int:
        """Width of the answer."""
        ...

    @property
    def segments(self) -> int:
        """Frames per clip."""
        ...

    @property
    def shift(self) -> Shift | None:
        """The shift's arithmetic, of networks that have one; its segments divide the clip's."""
        ...

    @property
    def batch(self) -> int:
        """Clips, or videos of the online form, per run."""
        ...


class Network(Protocol):
    """The spec of a network."""

    family: ClassVar[str]
    """Its key in `FAMILIES`, and in the card."""
    own_hints: ClassVar[frozenset[str]]
    """Names of hints that only this family understands (`Hints.own`, `--fact NAME=VALUE`)."""
    names: ClassVar[tuple[str, ...]]
    """What `named` knows."""

    @property
    def name(self) -> str:
        """The field's name for the network."""
        ...

    @property
    def order_sensitive(self) -> bool:
        """Whether the answer depends on the order of frames, as far as the spec says."""
        ...

    @property
    def offline_reason(self) -> str | None:
        """Why the network cannot answer one frame at a time; None where it can."""
        ...

    @property
    def variants(self) -> Mapping[str, Network]:
        """By name the networks that these weights may be of, where they do not tell which."""
        ...

    @classmethod
    def named(
        cls, name: str, *, shift: ShiftPlace, non_local: bool, temporal_pool: bool
    ) -> FrameNetwork | None:
        """Return the network with a shift that upstream builds for a name.

        None for the names of other families.
        """
        ...

    def settle(self, evidence: Evidence) -> Settled:
        """Settle what the weights do not show.

        Raises:
            CheckpointError: facts that contradict the weights or each other, or that nobody told.
        """
        ...

    @property
    def forms(self) -> Mapping[str, str]:
        """By engine the form of the graph that it runs best; none where all run one alike."""
        ...

    def formed(self, model: nn.Module, form: str) -> nn.Module:
        """Return what `classifier` made, with its weights, in a form: it answers the same."""
        ...

    def classifier(self, blueprint: Blueprint) -> nn.Module:
        """Return the network: (N, T*3, H, W), channel `t*3 + c`, to logits (N, classes).

        Its weights have the canonical names that the family's readers give. A network that is not
        settled yet is built too, to compare names and shapes with.
        """
        ...


class Classifier(nn.Module):
    """A network in two parts, which a training takes apart: features, and a linear `head`."""

    head: nn.Linear

    def features(self, x: Tensor) -> Tensor:
        """Return the rows that the head answers, of N clips."""
        raise NotImplementedError

    def average(self, logits: Tensor, *, clips: int) -> Tensor:
        """Return the logits of N clips from those of the rows."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of N clips."""
        return self.average(self.head(self.features(x)), clips=x.shape[0])


class FrameNetwork(Network, Protocol):
    """The spec of a network that sees frames one by one, with a shift between them.

    Canonical weight names are those of the modules: a convolution with its batch norm is
    `NAME.conv.weight`, `NAME.bn.{weight,bias,running_mean,running_var}`, in a `backbone`.
    `base.ShiftedNetwork` answers what most families answer alike.
    """

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
    def variants(self) -> Mapping[str, FrameNetwork]:
        """See `Network`."""
        ...

    @property
    def upstream_namer(self) -> Namer | None:
        """What renames a weight of the backbone for upstream's code; None where that has none."""
        ...

    def build(self, shift: Shift) -> nn.Module:
        """Return the backbone: (T*N, 3, H, W) time-major to features (T*N, F)."""
        ...

    def with_default_shifts(self) -> FrameNetwork:
        """Return the network with its shifts where upstream puts them.

        For weights that do not show them: of an image classifier, or of an online model.
        """
        ...

    def with_shifts(self, place: ShiftPlace) -> FrameNetwork:
        """Return the network with its shifts where upstream puts those of a place.

        For `none`, a network without shifts as it is.
        """
        ...

    def with_non_local(self, mode: NonLocalMode, *, scale: bool) -> FrameNetwork:
        """Return the network whose non-local blocks, where there are any, work so."""
        ...


class ClipNetwork:
    """The usual answers of a spec whose network sees a clip as a whole."""

    own_hints: ClassVar[frozenset[str]] = frozenset()
    names: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def named(
        cls, name: str, *, shift: ShiftPlace, non_local: bool, temporal_pool: bool
    ) -> FrameNetwork | None:
        """See `Network`."""
        return None

    @property
    def order_sensitive(self) -> bool:
        """See `Network`."""
        return True

    @property
    def offline_reason(self) -> str | None:
        """See `Network`."""
        return "it looks at all frames of a clip at once"

    @property
    def variants(self) -> Mapping[str, Network]:
        """See `Network`."""
        return {}

    @property
    def forms(self) -> Mapping[str, str]:
        """See `Network`."""
        return {}

    def formed(self, model: nn.Module, form: str) -> nn.Module:
        """See `Network`."""
        return model


def refuse_online(network: Network, evidence: Evidence) -> None:
    """Refuse a network that needs more than the frames so far, where the online form is wanted.

    Raises:
        CheckpointError: it says why.
    """
    if (evidence.online or evidence.force_online) and (reason := network.offline_reason):
        raise CheckpointError(f"{network.name} cannot run online: {reason}; leave out --online")


def settle_segments(evidence: Evidence, *, fewest: int = 1) -> Fact[int]:
    """Return how many frames a clip has.

    Raises:
        CheckpointError: nobody told, or too few or too many.
    """
    claim = first((hints.segments for hints in evidence.sources), UNKNOWN)
    if claim is UNKNOWN:
        raise CheckpointError(
            "nothing tells how many frames a clip has, neither the file nor its name; pass "
            "--segments"
        )
    return integer("segments", claim, fewest, MOST_SEGMENTS)
