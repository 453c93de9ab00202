"""What will be converted: a checkpoint that was read, and its settled facts; nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from converters.checkpoints import Checkpoint, read_checkpoint
from converters.checkpoints.released import Recognized, recognize
from converters.facts import Fact
from converters.recipe import Options, Recipe, resolve
from edge_tsm.bundle.addresses import fetch_checkpoint, parse_address
from edge_tsm.errors import HubError

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
    recipe = resolve(read.topology, options)
    return Plan(read, _compared(recipe, recognize(read.path, read.sha256, recipe.classes)))


def _compared(recipe: Recipe, found: Recognized) -> Recipe:
    """Add to a recipe which published checkpoint it is of, and what goes otherwise than there."""
    warnings, release = [*recipe.warnings, *found.warnings], found.release
    if release is None:
        return replace(recipe, warnings=warnings)
    # With an interval they are those of a pathway, which not all networks count by.
    if not release.interval and release.frames != str(recipe.segments):
        warnings.append(
            f"its published accuracy, {release.accuracy}, is of {release.frames} frames; this is "
            f"{recipe.segments} (--segments {release.frames})"
        )
    fact = Fact(f"{release.code_base} {release.network}, {release.accuracy}", found.by)
    return replace(recipe, facts=replace(recipe.facts, published=fact), warnings=warnings)


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


def local_checkpoint(path: str | Path) -> Path:
    """Return where a checkpoint is on this machine: a path as it is, an address once downloaded.

    Raises:
        InputError: an address that is none.
        HubError: it cannot be downloaded, or which of its files is meant is not clear.
    """
    address = parse_address(path)
    return Path(path) if address is None else fetch_checkpoint(address, _checkpoint_files)


_FOLDER = ("config.json", "preprocessor_config.json")  # of transformers, beside the weights
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def _checkpoint_files(names: Sequence[str]) -> list[str]:
    """Choose the files of a checkpoint among those of a model.

    >>> _checkpoint_files(["README.md", "config.json", "model.safetensors", "pytorch_model.bin"])
    ['config.json', 'model.safetensors']
    >>> _checkpoint_files(["README.md", "tsm.pth"])
    ['tsm.pth']
    """
    weights = next((name for name in _WEIGHTS if name in names), None)
    if weights and _FOLDER[0] in names:
        return [*(name for name in _FOLDER if name in names), weights]
    found = [name for name in names if name.endswith(tuple(_SUFFIXES))]
    if len(found) != 1:
        some = ", ".join(found[:8]) or "none"
        raise HubError(f"checkpoints there are: {some}; write which: hf://ORG/NAME/FILE")
    return found
