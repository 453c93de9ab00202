"""Facts about a network, each with its source, and the hints that they are made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar

from edge_tsm.bundle.card import Resize
from edge_tsm.datatypes import Activation, Color
from edge_tsm.errors import CheckpointError

T = TypeVar("T")
Triple = tuple[float, float, float]
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
    four are only compared with the weights. `interval` are frames, of videos of `rate` frames a
    second, from one of a clip to the next; `own` is what only the network's family understands, by
    name.
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
    sampling: Fact[str] | None = None
    interval: Fact[object] | None = None
    rate: Fact[float] | None = None
    resize: Fact[Resize] | None = None
    scale: Fact[float] | None = None
    mean: Fact[Triple] | None = None
    std: Fact[Triple] | None = None
    own: Mapping[str, Fact[object]] = field(default_factory=dict)

    @classmethod
    def of(cls, source: str, values: Mapping[str, Any], own: Collection[str] = ()) -> Hints:
        """Return the values of a source by name, where space and hyphen are `_`.

        Names in `own` are those that the network's family understands.

        Raises:
            TypeError: an unknown name.
        """
        known = {name: Fact(value, source) for name, value in values.items() if value is not None}
        common = {
            name.replace(" ", "_").replace("-", "_"): known.get(name)
            for name in values
            if name not in own
        }
        return cls(**common, own={name: fact for name, fact in known.items() if name in own})

    def owned(self, name: str) -> Fact[object] | None:
        """Return what the source knows of a fact that only the network's family understands."""
        return self.own.get(name)


@dataclass(frozen=True)
class Facts:
    """What is known about a network and where from, in the order in which it is shown.

    `own` are those that only the network's family has, by the name under which they are shown. From
    `mode` on, facts of the online form only. `resize` and `labels` are descriptions, `weights` is
    where in the file the network lies,
    `published` which of others' published checkpoints it is.
    """

    format: Fact[str]
    backbone: Fact[str]
    own: Mapping[str, Fact[Any]]
    classes: Fact[int]
    segments: Fact[int]
    color: Fact[Color]
    activation: Fact[Activation]
    sampling: Fact[str]
    interval: Fact[int] | None
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
    published: Fact[str] | None = None

    def rows(self) -> list[tuple[str, Fact[Any]]]:
        """Return the known facts under the names by which tables and the card show them."""
        rows: list[tuple[str, Fact[Any]]] = []
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if name == "own":
                rows += value.items()
            elif value is not None:
                rows.append((_SHOWN.get(name, name), value))
        return rows


_SHOWN = {"dynamic_batch": "dynamic batch", "published": "published as"}


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
