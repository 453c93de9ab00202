"""The picture a network is shown: its side, and the resize before the center crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from converters.facts import Fact, Hints, integer
from edge_tsm.bundle.card import Resize
from edge_tsm.errors import CheckpointError

TRAINED_PX = 224
# Every family halves a picture four times and then once more, which may round up (112: 7 to 4). Of
# a side that is odd before that, kernels see the right border where they do not see the left one.
# Below 64 the last map is all border; above 512 the maps of eight frames take gigabytes.
STEP_PX, LEAST_PX, MOST_PX = 16, 64, 512


@dataclass(frozen=True)
class Picture:
    """The side of the center crop, and the resize that it is cut from."""

    size: Fact[int]
    resize: Fact[Resize]


def short_side_of(size_px: int) -> int:
    """Return the shorter side that pictures get before a crop of `size_px`.

    Source: mit-han-lab/temporal-shift-module, ops/models.py, `scale_size`: 256 for 224.

    >>> [short_side_of(size_px) for size_px in (112, 160, 224, 256, 320)]
    [128, 182, 256, 292, 365]
    """
    return size_px * 256 // 224


def settle_picture(resize: Fact[Resize], sources: Sequence[Hints]) -> Picture:
    """Settle the picture from hints, in order of trust, and the usual `resize` of the code base.

    A resized side, or `full_res` (the crop is the whole of it, upstream's test option), counts only
    where no source that is trusted more gives the size.

    Raises:
        CheckpointError: a side that the networks do not serve.
    """
    usual = Hints(size=Fact(TRAINED_PX, "default"))
    giver = next(hints for hints in (*sources, usual) if hints.size is not None)
    size = _side("size", giver.size)
    side = giver.short_side or Fact(short_side_of(size.value), f"{size.value} * 256 // 224")
    short_side = _side("short side", side)
    trusted = (*takewhile(lambda hints: hints is not giver, sources), giver)
    if full := next((h.full_res for h in trusted if h.full_res and h.full_res.value is True), None):
        size = Fact(short_side.value, full.source)
    _refuse(size, short_side)
    source = resize.source if giver is usual else f"{resize.source}, {short_side.source}"
    return Picture(size, Fact(replace(resize.value, short_side_px=short_side.value), source))


def _side(name: str, claim: Fact[object] | None) -> Fact[int]:
    return integer(name, claim or Fact(None, "default"), 1, 10_000)


def _refuse(size: Fact[int], short_side: Fact[int]) -> None:
    px = size.value
    if px % STEP_PX or not LEAST_PX <= px <= MOST_PX:
        near = min(max(round(px / STEP_PX) * STEP_PX, LEAST_PX), MOST_PX)
        raise CheckpointError(
            f"size is {px} ({size.source}); networks that halve a picture again and again "
            f"take multiples of {STEP_PX} from {LEAST_PX} to {MOST_PX}; pass --size {near}"
        )
    if px > short_side.value:
        raise CheckpointError(
            f"size is {px} ({size.source}), more than the resized short side of "
            f"{short_side.value} ({short_side.source}); pass --size"
        )
