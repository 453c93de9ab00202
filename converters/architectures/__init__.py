"""Network families: for each a spec as plain values, and the modules that it builds."""

from __future__ import annotations

from converters.architectures.efficientnet import EfficientNet
from converters.architectures.lcnet import LcNet
from converters.architectures.mobilenet import MobileNet
from converters.architectures.mobileone import MobileOne
from converters.architectures.network import Network
from converters.architectures.regnet import RegNet
from converters.architectures.resnet import ResNet
from converters.architectures.resnet3d import ResNet3d
from converters.architectures.slowfast import SlowFast
from converters.architectures.timesformer import TimeSformer

FAMILIES: dict[str, type[Network]] = {
    family.family: family
    for family in (
        *(MobileNet, ResNet, MobileOne, LcNet, EfficientNet, RegNet),
        *(ResNet3d, SlowFast, TimeSformer),
    )
}
"""The spec class of each family, by the name that a bundle's card gives it."""

__all__ = ["FAMILIES", "Network"]
