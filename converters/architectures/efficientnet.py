"""EfficientNet-B0 to B3: MobileNet's blocks with other activations and gates, shifted alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from converters.architectures.base import ShiftPlace
from converters.architectures.mobilenet import InvertedResidual, MobileNet, scaled

# (expansion, channels, repeats, stride, kernel). Source: Tan & Le, 2019, "EfficientNet", table 1.
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
# name: (width, depth, picture size). Source: lukemelas/EfficientNet-PyTorch, utils.py.
EFFICIENTNETS: dict[str, tuple[float, float, int]] = {
    "efficientnet_b0": (1.0, 1.0, 224),
    "efficientnet_b1": (1.0, 1.1, 240),
    "efficientnet_b2": (1.1, 1.2, 260),
    "efficientnet_b3": (1.2, 1.4, 300),
}


@dataclass(frozen=True)
class EfficientNet(MobileNet):
    """An EfficientNet."""

    family: ClassVar[str] = "efficientnet"
    names: ClassVar[tuple[str, ...]] = tuple(EFFICIENTNETS)

    @classmethod
    def named(
        cls, name: str, *, shift: ShiftPlace, non_local: bool, temporal_pool: bool
    ) -> MobileNet | None:
        """See `Network`; a shift goes where MobileNet has it."""
        if name not in EFFICIENTNETS:
            return None
        network = efficientnet(name)
        return network if shift == "none" else network.with_default_shifts()


def efficientnet(name: str) -> EfficientNet:
    """Return an EfficientNet of `EFFICIENTNETS` without shifts."""
    width, depth, _ = EFFICIENTNETS[name]
    inputs = stem = scaled(32, width)
    blocks = []
    for expansion, usual, repeats, first_stride, kernel in _STAGES:
        for index in range(math.ceil(repeats * depth)):
            block = InvertedResidual(
                inputs,
                hidden=inputs * expansion,
                outputs=scaled(usual, width),
                stride=1 if index else first_stride,
                expand=expansion > 1,
                shift=False,
                kernel=kernel,
                activation="silu",
                squeeze=inputs // 4,
                gate="sigmoid",
                squeeze_activation="silu",
            )
            blocks.append(block)
            inputs = block.outputs
    return EfficientNet(name, stem, tuple(blocks), scaled(1280, width), "silu")
