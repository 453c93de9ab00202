"""Facts about a network, each with its source, and the hints that they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from converters.architectures.base import ShiftPlace
from converters.architectures.non_local import NonLocalMode
from converters.architectures.shift import Direction
from edge_tsm.datatypes import Activation, Color
from edge_tsm.errors import CheckpointError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Fact(Generic[T_co]):
    """A value and where it came from."""

    value: T_co
    source: str


UNKNOWN: Fact[object] = Fact(None, "default")


@dataclass(frozen=True)
class Hints:
    """What one source knows about a network; None is unknown.

    Values of type `object` are as a file has them, checked when a fact is made of them. The first
    four are only compared with the weights.
    """

    backbone: Fact[object] | None = None
    shift: Fact[object] | None = None
    non_local: Fact[object] | None = None
    temporal_pool: Fact[object] | None = None
    dataset: Fact[object] | None = None
    dense: Fact[object] | None = None
    segments: Fact[object] | None = None
    shift_div: Fact[object] | None = None
    shift_segments: Fact[object] | None = None
    shift_direction: Fact[object] | None = None
    consensus: Fact[object] | None = None
    color: Fact[object] | None = None
    activation: Fact[object] | None = None
    non_local_mode: Fact[object] | None = None
    non_local_scale: Fact[object] | None = None
    size: Fact[object] | None = None
    short_side: Fact[object] | None = None
    full_res: Fact[object] | None = None
    labels: Fact[Sequence[str]] | None = None
    fps: Fact[float] | None = None
    horizon: Fact[int] | None = None

    @classmethod
    def of(cls, source: str, values: Mapping[str, Any]) -> Hints:
        """Return the values of a source by name, where space and hyphen are `_`.

        Raises:
            TypeError: an unknown name.
        """
        return cls(
            **{
                name.replace(" ", "_").replace("-", "_"): None
                if value is None
                else Fact(value, source)
                for name, value in values.items()
            }
        )


@dataclass(frozen=True)
class Facts:
    """What is known about a network and where from, in the order in which it is shown.

    From `mode` on, facts of the online form only. `resize` and `labels` are descriptions, `weights`
    is where in the file the network lies.
    """

    format: Fact[str]
    backbone: Fact[str]
    shift: Fact[ShiftPlace]
    shifted_blocks: Fact[str]
    non_local: Fact[int]
    temporal_pool: Fact[bool]
    classes: Fact[int]
    segments: Fact[int]
    shift_div: Fact[int]
    consensus: Fact[str]
    color: Fact[Color]
    activation: Fact[Activation]
    shift_segments: Fact[int] | None
    non_local_mode: Fact[NonLocalMode] | None
    shift_direction: Fact[Direction]
    sampling: Fact[str]
    size: Fact[int]
    resize: Fact[str]
    window_s: Fact[float]
    labels: Fact[str]
    batch: Fact[int]
    weights: Fact[str] | None = None
    dynamic_batch: Fact[bool] | None = None
    mode: Fact[str] | None = None
    fps: Fact[float] | None = None
    horizon: Fact[int] | None = None
    forced_online: Fact[str] | None = None

    def rows(self) -> list[tuple[str, Fact[object]]]:
        """Return the known facts under the names by which tables and the card show them."""
        found = ((f.name, getattr(self, f.name)) for f in fields(self))
        return [(_SHOWN.get(name, name), fact) for name, fact in found if fact is not None]


_SHOWN = {
    "shifted_blocks": "shifted blocks",
    "non_local": "non-local",
    "temporal_pool": "temporal pool",
    "shift_segments": "shift segments",
    "non_local_mode": "non-local mode",
    "shift_direction": "shift direction",
    "dynamic_batch": "dynamic batch",
    "forced_online": "forced online",
}


def given(value: T | None, source: str) -> Fact[T] | None:
    """Return a fact, None without a value."""
    return None if value is None else Fact(value, source)


def first(claims: Iterable[Fact[T] | None], default: Fact[T]) -> Fact[T]:
    """Return the first claim that is one."""
    return next((claim for claim in claims if claim is not None), default)


def integer(name: str, claim: Fact[object], low: int, high: int) -> Fact[int]:
    """Return a claim that is a whole number from `low` to `high`.

    Raises:
        CheckpointError: it is not; `name` says which fact it was to be.
    """
    value = claim.value
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise CheckpointError(f"{name} is {value!r} ({claim.source}); it must be {low} to {high}")
    return Fact(value, claim.source)


def one_of(name: str, claim: Fact[object], choices: Sequence[T]) -> Fact[T]:
    """Return a claim that is one of `choices`.

    Raises:
        CheckpointError: it is not.
    """
    for choice in choices:
        if claim.value == choice:
            return Fact(choice, claim.source)
    known = ", ".join(map(str, choices))
    raise CheckpointError(f"{name} is {claim.value!r} ({claim.source}); it must be {known}")
