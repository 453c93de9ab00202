"""Weights that training kept in parts: under a pruning mask, or as directions and their lengths."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_LENGTH, _DIRECTION = "original0", "original1"
_PARAMETRIZED = re.compile(r"(?:(?P<layer>.*)\.)?parametrizations\.(?P<name>[^.]+)\.original[01]?")
_REMOVE = (
    "is kept in parts ({}), which only its project's code can join: there, run {}, and "
    "torch.save(model.state_dict(), 'weights.pth')"
)
_SPECTRAL = _REMOVE.format("spectral norm", "torch.nn.utils.remove_spectral_norm(layer)")
_OTHER = _REMOVE.format(
    "a parametrization", "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')"
)


def join(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return tensors with parts joined, and what is wrong with those that cannot be, by name.

    Joined is what torch computes at every call: `weight_orig * weight_mask` of
    torch.nn.utils.prune, and `g * v / |v|` of weight norm, by its old names and its new ones.
    """
    left, odd = dict(tensors), dict[str, str]()
    for name in tensors:
        whole = name.removesuffix("_orig")
        if whole != name and f"{whole}_mask" in left:
            left[whole] = left.pop(name) * left.pop(f"{whole}_mask")
        elif whole != name and f"{whole}_u" in left:
            _taken(left, name, f"{whole}_u", f"{whole}_v")
            odd[whole] = _SPECTRAL
        elif name.endswith("_g") and f"{name[:-2]}_v" in left:
            _join_norm(left, odd, name[:-2], (name, f"{name[:-2]}_v"))
        elif (found := _PARAMETRIZED.fullmatch(name)) and name in left:
            whole = ".".join(part for part in (found["layer"], found["name"]) if part)
            stem = name[: name.rindex("original")]
            _join_norm(left, odd, whole, (stem + _LENGTH, stem + _DIRECTION))
            for rest in [n for n in left if n.startswith(stem)]:
                del left[rest]
    return left, odd


def _join_norm(
    left: dict[str, Tensor], odd: dict[str, str], whole: str, names: tuple[str, str]
) -> None:
    """Join the lengths and directions of weight norm; leave a note if they are something else."""
    parts = _taken(left, *names)
    if len(parts) == 2 and _are_lengths(*parts):
        length, direction = (part.to(torch.float32) for part in parts)
        axes = [axis for axis, size in enumerate(length.shape) if size == 1]
        norm = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
        left[whole] = direction * (length / norm)
    else:
        odd[whole] = _OTHER


def _are_lengths(length: Tensor, direction: Tensor) -> bool:
    """Return whether there is a length for each index of at most one of the direction's axes."""
    if length.ndim != direction.ndim or not direction.is_floating_point():
        return False
    kept = [(a, b) for a, b in zip(length.shape, direction.shape, strict=True) if a != 1]
    return len(kept) <= 1 and all(a == b for a, b in kept)


def _taken(left: dict[str, Tensor], *names: str) -> list[Tensor]:
    return [left.pop(name) for name in names if name in left]
