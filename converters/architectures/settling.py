"""What the weights of a network with a temporal shift do not show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from converters.architectures.network import (
    MOST_SEGMENTS,
    Evidence,
    FrameNetwork,
    Settled,
    ShiftPlace,
)
from converters.architectures.non_local import NonLocalMode
from converters.architectures.shift import DIRECTIONS, Direction, Shift
from converters.facts import UNKNOWN, Fact, Hints, first, integer, one_of
from edge_tsm.errors import CheckpointError

_WEIGHTED_MODES: tuple[NonLocalMode, ...] = ("embedded_gaussian", "dot_product")
_PLACES: tuple[ShiftPlace, ...] = ("blockres", "block", "none")
PLACE_OPTION = "option --shift-place"


def settle_shifted(network: FrameNetwork, evidence: Evidence) -> Settled:
    """Settle where and how frames are shifted, how many there are, and how they are joined.

    Raises:
        CheckpointError: facts that contradict the weights or each other, or that nobody told.
    """
    sources = evidence.sources
    network, place = _shift(network, evidence.shift_source, sources)
    network, mode = _non_local(network, sources)
    segments = _segments(network, sources)
    by_segments = Fact(segments.value, f"{evidence.convention}: segments")
    div = first((hints.shift_div for hints in sources), by_segments)
    shifted = [where != "none" for where in network.shifts]
    own: dict[str, Fact[Any] | None] = {
        "shift": place,
        "shifted blocks": Fact(f"{sum(shifted)} of {len(shifted)}", place.source),
        "non-local": Fact(network.non_local_blocks, "weights"),
        "temporal pool": Fact(network.temporal_pool, "weights"),
        "shift_div": integer("shift_div", div, 2, 128),
        "consensus": _consensus(sources),
        "shift segments": _shift_segments(segments, sources),
        "non-local mode": mode,
        "shift direction": _direction(sources),
    }
    facts = {name: fact for name, fact in own.items() if fact is not None}
    if evidence.online or evidence.force_online:
        facts = _online(network, facts, force=evidence.force_online)
    return Settled(
        network,
        segments,
        facts,
        _arch(network, segments.value, facts),
        _shift_of(segments, facts),
        (*_contradictions(facts, sources), *_forced(facts)),
    )


def _shift_of(segments: Fact[int], facts: Mapping[str, Fact[Any]]) -> Shift:
    return Shift(
        facts.get("shift segments", segments).value,
        facts["shift_div"].value,
        facts["shift direction"].value,
    )


def _arch(network: FrameNetwork, segments: int, facts: Mapping[str, Fact[Any]]) -> dict[str, Any]:
    """Return what the card says of the network."""
    place = shift_place(network)
    return {
        "backbone": network.name,
        "segments": segments,
        "shift_segments": facts["shift segments"].value if "shift segments" in facts else segments,
        "shift_div": facts["shift_div"].value,
        "shift_place": place,
        "shift_direction": facts["shift direction"].value if place != "none" else "none",
        "shifted_blocks": facts["shifted blocks"].value,
        "non_local_blocks": network.non_local_blocks,
        "temporal_pool": network.temporal_pool,
        "consensus": "avg",
        **({"forced_online": True} if "forced online" in facts else {}),
    }


def shift_place(network: FrameNetwork) -> ShiftPlace:
    """Return where the network is shifted; the networks known here use one place only."""
    return next((place for place in network.shifts if place != "none"), "none")


def refuse_offline(network: FrameNetwork, direction: str, *, force: bool) -> None:
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


# --- the shift -----------------------------------------------------------------------------------


def _shift(
    network: FrameNetwork, shown_by: str | None, sources: Sequence[Hints]
) -> tuple[FrameNetwork, Fact[ShiftPlace]]:
    """Settle where the network is shifted: by its weights, else by what is stated.

    Raises:
        CheckpointError: statements contradict the weights or each other, or there is no evidence.
    """
    claims = [_claimed(network, hints.shift) for hints in sources if hints.shift is not None]
    if shown_by is not None:
        shown = Fact(shift_place(network), shown_by)
        _refuse_contradiction(claims, shown)
        return network, shown
    if not claims:
        raise CheckpointError(
            f"nothing shows whether this {network.name} shifts frames, neither its names nor "
            "arguments in or beside the file: it may be a TSM whose code shifts in a function, a "
            "TSN, a plain image classifier, or an online model; pass --shift-place blockres or "
            "block for a TSM (blockres is the official default), --shift-place none, or --online"
        )
    if claims[0].source != PLACE_OPTION:
        _refuse_contradiction(claims[1:], claims[0])
    return network.with_shifts(claims[0].value), claims[0]


def _claimed(network: FrameNetwork, claim: Fact[object]) -> Fact[ShiftPlace]:
    """Return a statement as the network understands it: some have one place, whatever is said."""
    place = one_of("shift place", claim, _PLACES)
    return (
        place
        if place.value == "none"
        else replace(place, value=shift_place(network.with_shifts(place.value)))
    )


def _refuse_contradiction(claims: Iterable[Fact[ShiftPlace]], other: Fact[ShiftPlace]) -> None:
    weights = other.source.startswith("weights")
    says = f"the {other.source} show" if weights else f"{other.source} says"
    for claim in claims:
        if claim.value == other.value:
            continue
        if claim.source == PLACE_OPTION:
            advice = "leave out the option"
        else:
            advice = "remove or rename what is wrong" if weights else "decide with --shift-place"
        raise CheckpointError(
            f"{claim.source} says shift {claim.value}, {says} {other.value}; the answers depend on "
            f"it: {advice}"
        )


# --- single facts --------------------------------------------------------------------------------


def _segments(network: FrameNetwork, sources: Sequence[Hints]) -> Fact[int]:
    fewest = 1 if shift_place(network) == "none" else 2
    claim = first((hints.segments for hints in sources), UNKNOWN)
    segments = integer("segments", claim, fewest, MOST_SEGMENTS)
    if network.temporal_pool and segments.value % 2:
        raise CheckpointError(f"temporal pooling halves the segments; {segments.value} is odd")
    return segments


def _consensus(sources: Sequence[Hints]) -> Fact[str]:
    claim = first((hints.consensus for hints in sources), UNKNOWN)
    if claim.value != "avg":
        raise CheckpointError(
            f"consensus {claim.value!r} ({claim.source}) leaves one answer per frame; pass "
            "--consensus avg to average them"
        )
    return Fact("avg", claim.source)


def _direction(sources: Sequence[Hints]) -> Fact[Direction]:
    claim = first((hints.shift_direction for hints in sources), UNKNOWN)
    return one_of("shift_direction", claim, DIRECTIONS)


def _shift_segments(segments: Fact[int], sources: Sequence[Hints]) -> Fact[int] | None:
    """Return how many frames are shifted together, where that is not the whole clip."""
    # A file's parts belong to a clip of its own length, not to one the user chose.
    trusted = sources[:1] if segments.source == "option --segments" else sources
    for part in (hints.shift_segments for hints in trusted):
        if part is None or part.value == segments.value:
            continue
        if not isinstance(part.value, int) or part.value < 2 or segments.value % part.value:
            raise CheckpointError(
                f"{part.source} shifts {part.value!r} frames together, but {segments.value} frames "
                "cannot be cut into such parts"
            )
        return Fact(part.value, part.source)
    return None


def _non_local(
    network: FrameNetwork, sources: Sequence[Hints]
) -> tuple[FrameNetwork, Fact[NonLocalMode] | None]:
    """Settle how non-local blocks relate positions, which their weights show in part."""
    known = network.non_local_mode
    if known is None:
        return network, None
    for hints in () if known == "gaussian" else sources:
        if hints.non_local_mode is not None:
            mode = one_of("non-local mode", hints.non_local_mode, _WEIGHTED_MODES)
            scale = hints.non_local_scale is not None and bool(hints.non_local_scale.value)
            return network.with_non_local(mode.value, scale=scale), mode
    return network, Fact(known, "weights")


def _online(
    network: FrameNetwork, facts: dict[str, Fact[Any]], *, force: bool
) -> dict[str, Fact[Any]]:
    """Turn the facts of the clip form into those of the online form."""
    trained = facts["shift direction"]
    refuse_offline(network, trained.value, force=force)
    if "shift segments" in facts:
        raise CheckpointError("an online model shifts from frame to frame, not in parts of a clip")
    if trained.value == "past":
        return facts
    forced = Fact(f"trained {trained.value}", trained.source)
    return {
        **facts,
        "shift direction": Fact("past", "--force-online"),
        "forced online": forced,
    }


def _contradictions(facts: Mapping[str, Fact[Any]], sources: Iterable[Hints]) -> Iterator[str]:
    """Compare hints about the topology with the weights, which win."""
    for hints in sources:
        claims = {"non-local": hints.non_local, "temporal pool": hints.temporal_pool}
        for name, claim in claims.items():
            if claim is not None and claim.value != facts[name].value:
                yield (
                    f"{claim.source} says {name} {claim.value}, the weights say {facts[name].value}"
                )


def _forced(facts: Mapping[str, Fact[Any]]) -> Iterator[str]:
    if "forced online" in facts:
        yield (
            f"forced online: this network was {facts['forced online'].value} and answers poorly "
            "when it sees the past only; measure before you rely on it"
        )
