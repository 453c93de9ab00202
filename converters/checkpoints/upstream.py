"""Checkpoints of mit-han-lab/temporal-shift-module: keys, names and side files.

Topology comes from the keys, block by block. What they cannot tell comes from `args.txt` beside
the file or from the `TSM_…` name of the file or its folder.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.checkpoints import backbones
from converters.checkpoints.keys import Reader, Tensors, find_head, literal, refuse_duplicates
from converters.recipe import COMMON_DEFAULTS, PIL_RESIZE, Convention, Topology
from edge_tsm.bundle.data_sets import SORTED_UPSTREAM
from edge_tsm.errors import CheckpointError

CONVENTION = Convention(
    name="mit",
    shift_direction="future-past",
    sampling="uniform",
    resize=PIL_RESIZE,
    defaults={
        **COMMON_DEFAULTS,
        "shift_div": 8,
        "non_local_mode": "embedded_gaussian",
    },
    sorts=SORTED_UPSTREAM,
)
OFFICIAL_DEMO = {"color": "bgr", "fps": 15.0, "horizon": 12}
"""What online_demo/main.py does: OpenCV's frames as they come, every second one of a 30 fps
camera, the sum of the last twelve logits."""
_HEADS = ("new_fc", "fc", "classifier", *backbones.HEADS)
_ARGS_BYTES = 1 << 16
# Upstream always shows 224; trainings of this project, and forks with other sides, write one.
_SIZE_KEYS = ("input_size", "crop_size", "image_size", "img_size")
_NAME = re.compile(r"^TSM_(?P<dataset>.+?)_(?P<modality>RGBDiff|RGB|Flow)_(?P<arch>[^_]+)_")


def recognizes(keys: Iterable[str]) -> bool:
    """Return whether keys (without `module.`) are those of its wrapper or of a known backbone."""
    names = list(keys)
    wrapped = any(name.startswith("base_model.") for name in names)
    return wrapped or backbones.recognizes(names)


def read(
    tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
) -> tuple[Topology, Tensors]:
    """See `Read`; `outer` holds `arch`, and facts where this project trained."""
    plain = {name.removeprefix("base_model."): tensor for name, tensor in tensors.items()}
    refuse_duplicates(tensors, plain, "`base_model.`")
    backbones.refuse_strangers(plain)
    shows_shifts = any(name.startswith("base_model.") or ".net." in name for name in tensors)
    if not shows_shifts and not online:
        raise CheckpointError(
            "no `base_model.` prefix and no shifted convolution (`.net.`): this is a plain image "
            "classifier, or an online model, which the weights cannot tell; pass --online for the "
            "latter"
        )
    topology, canonical = _read(plain, outer, path)
    return topology if shows_shifts else _online(topology, plain), canonical


def _online(topology: Topology, names: Iterable[str]) -> Topology:
    """Return the topology of an online model, whose file does not show the shifts."""
    hints = [*topology.hints, ("--online", {"shift_direction": "past"})]
    if backbones.find(list(names)) is backbones.OFFICIAL_MOBILENET:
        hints.append(("official online demo", OFFICIAL_DEMO))
    network = topology.network.with_default_shifts()
    return replace(topology, network=network, hints=hints, shift_source="--online")


def _read(plain: Tensors, outer: Mapping[str, Any], path: Path) -> tuple[Topology, Tensors]:
    head, classes, rest = find_head(plain, _HEADS)
    network, canonical = backbones.read(rest)
    warnings: list[str] = []
    hints = [*_outer_hints(outer), *_args_hints(path, warnings), *_name_hints(path, warnings)]
    if isinstance(outer.get("arch"), str):
        hints.append(("the checkpoint's `arch`", {"backbone": outer["arch"]}))
    return Topology(
        network, classes, f"{head}.weight", hints, CONVENTION, tuple(warnings)
    ), canonical


# --- what lies beside the weights --------------------------------------------------------------


def _outer_hints(outer: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Take what a training of this project writes beside the weights, and upstream's does not."""
    names = {
        "segments": "num_segments",
        "shift_div": "shift_div",
        "shift_direction": "shift_direction",
        "size": "input_size",
    }
    hints = {name: outer.get(key) for name, key in names.items()}
    labels = outer.get("labels")
    if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
        hints["labels"] = labels
    return [("the checkpoint", hints)]


def _args_hints(path: Path, warnings: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Read `args.txt` beside the checkpoint (`Namespace(name=value, …)`) without evaluating it."""
    side = path.with_name("args.txt")
    if not side.is_file():
        return []
    try:
        text = side.read_bytes()[:_ARGS_BYTES].decode("utf-8-sig")
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        call = None
    keywords = getattr(call, "keywords", [])
    if not keywords:
        warnings.append(f"{side} is not what main.py writes and was not used")
    args = {k.arg: literal(k.value) for k in keywords if k.arg}
    names = {
        "segments": "num_segments",
        "shift_div": "shift_div",
        "shift_direction": "shift_direction",
        "consensus": "consensus_type",
        "dataset": "dataset",
        "backbone": "arch",
        "dense": "dense_sample",
        "temporal pool": "temporal_pool",
        "size": next((key for key in _SIZE_KEYS if args.get(key) is not None), ""),
        "full_res": "full_res",
    }
    hints = {name: args[key] for name, key in names.items() if args.get(key) is not None}
    if isinstance(args.get("shift"), bool):
        hints["shift"] = args.get("shift_place") if args["shift"] else "none"
    return [("args.txt", hints)]


def _name_hints(path: Path, warnings: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Read a `TSM_…` name: of the file, else of its folder; no other part of the path counts."""
    for name in (path.name, path.absolute().parent.name):
        match = _NAME.match(name)
        if match:
            which = "file" if name == path.name else "folder"
            return [(f"name of the {which}", _tokens(name, match))]
        if name.startswith("TSM_"):
            warnings.append(f"the name {name} is not one that main.py gives and was not used")
    return []


def _tokens(name: str, match: re.Match[str]) -> dict[str, Any]:
    rest = "_" + name[match.end() :] + "_"
    hints: dict[str, Any] = {"dataset": match["dataset"], "backbone": match["arch"]}
    shift = re.search(r"_shift(\d+)_(blockres|block)_", rest)
    hints["shift"] = shift[2] if shift else "none"
    if shift:
        hints["shift_div"] = int(shift[1])
    consensus = re.search(r"_(avg|identity)_segment(\d+)[_.]", rest)
    if consensus:
        hints["consensus"], hints["segments"] = consensus[1], int(consensus[2])
    hints["dense"] = "_dense_" in rest or "_dense." in rest
    hints["temporal pool"] = "_tpool_" in rest
    return hints


READER = Reader("mit", recognizes, read)
