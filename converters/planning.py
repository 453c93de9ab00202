"""What will be converted: a checkpoint that was read, and its settled facts; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from converters.checkpoints import Checkpoint, read_checkpoint
from converters.recipe import Options, Recipe, resolve

_SUFFIXES = [
    ".tar",
    ".pth",
    ".pt",
    ".ckpt",
    ".best",
    ".pyth",
    ".pkl",
    ".bin",
    ".pdparams",
    ".safetensors",
    ".npz",
]


@dataclass(frozen=True)
class Plan:
    """A checkpoint that was read, and what will be made of it."""

    checkpoint: Checkpoint
    recipe: Recipe


def plan(checkpoint: Path, options: Options) -> Plan:
    """Read a checkpoint and settle its facts, writing nothing.

    Raises:
        CheckpointError: see `read_checkpoint` and `resolve`.
        InputError: an unreadable label file; `weights` that name no network.
    """
    online = options.online or options.force_online
    read = read_checkpoint(checkpoint, options.kind, online=online, weights=options.weights)
    return Plan(read, resolve(read.topology, options))


def default_bundle(checkpoint: Path) -> Path:
    """Return NAME.bundle in the current folder; `ckpt.best.pth.tar` is named by its folder.

    So is what transformers calls `model.safetensors`, whose folder's name may have a dot.
    """
    name = checkpoint.name
    for suffix in () if checkpoint.is_dir() else _SUFFIXES:
        name = name.removesuffix(suffix)
    parent = checkpoint.absolute().parent.name
    general = name in ("ckpt", "model", "pytorch_model")
    return Path(f"{parent if general and parent else name}.bundle")
