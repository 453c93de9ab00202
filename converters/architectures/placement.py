"""Which networks can answer one frame at a time, and where a flat file's shifts belong."""

from __future__ import annotations

from dataclasses import replace

from converters.architectures.networks import MobileNet, Network, ResNet, shift_place
from edge_tsm.errors import CheckpointError

OFFICIAL_DEMO = {"color": "bgr", "fps": 15.0, "horizon": 12}
"""What online_demo/main.py does: OpenCV's frames as they come, every second one of a 30 fps
camera, the sum of the last twelve logits."""


def place_shifts(network: Network) -> Network:
    """Return a network whose file does not show its shifts with these where upstream puts them.

    Sources: online_demo/mobilenet_v2_tsm.py (every block with a shortcut that expands),
    ops/temporal_shift.py (`make_temporal_shift`: every block, in deep networks every second).
    """
    if isinstance(network, MobileNet):
        shifted = (
            replace(b, shift=b.expand and b.stride == 1 and b.inputs == b.outputs)
            for b in network.blocks
        )
        return replace(network, blocks=tuple(shifted))
    if not isinstance(network, ResNet):
        return network
    every = 2 if len(network.stages[2]) >= 23 else 1
    stages = (
        tuple(
            replace(block, shift="none" if index % every else "blockres")
            for index, block in enumerate(stage)
        )
        for stage in network.stages
    )
    return replace(network, stages=tuple(stages))


def refuse_offline(network: Network, direction: str, *, force: bool) -> None:
    """Refuse a network that needs more than the frames so far.

    Raises:
        CheckpointError: it says why; a shift from both sides passes with `force`.
    """
    place = shift_place(network)
    reasons = {
        "temporal pooling joins frames before they are answered": network.temporal_pool,
        "its non-local blocks look at all frames of a clip": network.non_local_blocks > 0,
        "it has no temporal shift, so there is nothing to carry from frame to frame": place
        == "none",
        f"its shift is placed as `{place}`, and only `blockres` has an online form": place
        in ("block", "stage"),
    }
    for reason, holds in reasons.items():
        if holds:
            raise CheckpointError(f"{network.name} cannot run online: {reason}; leave out --online")
    if direction != "past" and not force:
        raise CheckpointError(
            f"the shift looks both ways ({direction}): online, the first fold would take the frame "
            "before, whatever it was trained on, and the second never be shifted. Fine-tune it "
            "with a shift from the past; pass --shift-direction past if it was trained so, or "
            "--force-online to convert it all the same"
        )
