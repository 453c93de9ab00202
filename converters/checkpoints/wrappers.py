"""Shifted layers in wrappers of any name: which name it is shows in what is wrapped.

Upstream puts `.net` between a shifted layer and its weights. Forks use other names; one is taken
for the shift's where it wraps exactly what the official rules shift, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial

from converters.architectures.base import FrameNetwork, shift_place
from converters.checkpoints.keys import Tensors, is_whole, refuse_duplicates, split_backbone
from edge_tsm.errors import CheckpointError

Read = Callable[[Tensors], tuple[FrameNetwork, Tensors]]
Rename = Callable[[str], str]
NET = "net"
# What compiling, checkpointing and sharding put around layers changes nothing.
_TRANSPARENT = re.compile(
    r"\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\."
)
_CANONICAL = re.compile(r"layer[1-4]\.\d+\.(?:conv\d|downsample)\.(?:conv|bn)\.")


def read_wrapped(names: Tensors, read: Read) -> tuple[FrameNetwork, Tensors, str | None]:
    """Return a network, its canonical weights, and what shows its shifts; None if nothing does.

    Args:
        names: a network's weights under the names of the file.
        read: reads weights whose shifted layers are wrapped as `net`.

    Raises:
        CheckpointError: see `read`; or layers are wrapped in another way.
    """
    plain = {_TRANSPARENT.sub("", name): tensor for name, tensor in names.items()}
    refuse_duplicates(names, plain, "a wrapper's name")
    if not any(f".{NET}." in name for name in plain):
        for wrapper, rename in _wrappers(plain):
            found = _shifted_by({rename(n): t for n, t in plain.items()}, read, len(plain))
            if found is not None:
                return (*found, f"weights ({wrapper} around what is shifted)")
    _refuse_wrapped(plain)
    network, canonical = read(plain)
    return network, canonical, None if shift_place(network) == "none" else "weights"


def _shifted_by(names: Tensors, read: Read, count: int) -> tuple[FrameNetwork, Tensors] | None:
    """Return the network if its shifts are just those that the official rules make."""
    if len(names) != count:
        return None
    try:
        network, canonical = read(names)
    except CheckpointError:
        return None
    place = shift_place(network)
    official = list(network.with_shifts(place).shifts)
    if place == "none" or list(network.shifts) not in (official, [place] * len(official)):
        return None
    layers, _ = split_backbone(network, canonical)
    own = {id(tensor) for tensor in layers.values()}
    # Else the word is a layer's own, as `fc1` in a gate.
    others = any(id(tensor) not in own for name, tensor in names.items() if f".{NET}." in name)
    return None if others or not is_whole(network, canonical) else (network, canonical)


def _wrappers(names: Tensors) -> Iterator[tuple[str, Rename]]:
    """Return the words that may be a wrapper's, and what calls it `net`.

    That of a layer comes before a convolution's weight (`conv1.WORD.weight`), that of a block after
    its number (`layer1.0.WORD.conv1.weight`).
    """
    convolutions = {name for name, tensor in names.items() if tensor.ndim == 4}
    split = [name.split(".") for name in convolutions]
    inner = {".".join(p[-n - 1 : -1]) for p in split for n in (1, 2) if len(p) > n + 2}
    outer = {p[i] for p in split for i in range(1, len(p) - 2) if p[i - 1].isdigit()}
    for word in sorted(inner, key=lambda word: (len(word), word)):
        layer = re.compile(rf"\.{re.escape(word)}\.(\w+)$")
        yield word, partial(_called_net, layer, rf".{NET}.\1", convolutions)
    for word in sorted(outer):
        block = re.compile(rf"\.(\d+)\.{re.escape(word)}\.")
        yield word, partial(_called_net, block, rf".\1.{NET}.", names.keys())


def _called_net(pattern: re.Pattern[str], net: str, which: Collection[str], name: str) -> str:
    return pattern.sub(net, name, count=1) if name in which else name


def _refuse_wrapped(names: Iterable[str]) -> None:
    for name in names:
        if _CANONICAL.match(name):
            raise CheckpointError(
                f"{name}: convolutions lie in a wrapper that does not wrap what a temporal shift "
                "would; rename the weights as torchvision does (layer1.0.conv1.weight), and pass "
                "--shift-place"
            )
