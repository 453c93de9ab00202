"""What lies beside the weights: arguments in the file, `args.txt`, names of file and folder."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from converters.checkpoints.inert import Inert
from converters.checkpoints.keys import literal

Hint = tuple[str, dict[str, Any]]
_ARGS_BYTES = 1 << 16
_MOST_LEVELS = 3  # of settings in settings
_NAME = re.compile(r"^TSM_(?P<dataset>.+?)_(?P<modality>RGBDiff|RGB|Flow)_(?P<arch>[^_]+)_")
# What arguments are called in upstream's code and in forks of it: name of the hint.
_ARGUMENTS = {
    "num_segments": "segments",
    "num_segment": "segments",
    "n_segment": "segments",
    "n_segments": "segments",
    "shift_div": "shift_div",
    "n_div": "shift_div",
    "shift_direction": "shift_direction",
    "consensus_type": "consensus",
    "dataset": "dataset",
    "arch": "backbone",
    "base_model": "backbone",
    "dense_sample": "dense",
    "temporal_pool": "temporal pool",
    # Upstream always shows 224; trainings of this project, and forks with other sides, write one.
    "img_size": "size",
    "image_size": "size",
    "crop_size": "size",
    "input_size": "size",
    "full_res": "full_res",
    "output_activation": "activation",
}
_SHIFT_SWITCHES = ("shift", "is_shift", "temporal_shift", "use_shift")


def told(source: str, hints: Mapping[str, Any]) -> list[Hint]:
    """Return what a source says as hints: none of it where it says nothing.

    >>> told("config", {"segments": 8, "alpha": None}), told("config", {"alpha": None})
    ([('config', {'segments': 8})], [])
    """
    known = {name: value for name, value in hints.items() if value is not None}
    return [(source, known)] if known else []


def hints_beside(outer: Mapping[str, Any], path: Path, warnings: list[str]) -> list[Hint]:
    """Return what is known beside the weights, in order of trust.

    Args:
        outer: what the file holds besides.
        path: the file, for `args.txt` beside it and the names of file and folder.
        warnings: takes what could not be used.
    """
    return [
        _outer_hints(outer),
        *_settings_hints(outer),
        *_args_hints(path, warnings),
        *_name_hints(path, warnings),
        *([("the checkpoint's `arch`", {"backbone": outer["arch"]})] if _is_text(outer) else []),
    ]


def _is_text(outer: Mapping[str, Any]) -> bool:
    return isinstance(outer.get("arch"), str)


def argument_hints(args: Mapping[str, Any]) -> dict[str, Any]:
    """Return hints by name from the arguments of a training, however nested.

    A name that has two values at different places is no hint.
    """
    values: dict[str, list[Any]] = {}
    for name, value in _flat(args):
        values.setdefault(name.lower(), []).append(value)
    stated = {name: found[0] for name, found in values.items() if _agree(found)}
    hints = {
        hint: stated[name] for name, hint in _ARGUMENTS.items() if stated.get(name) is not None
    }
    # Upstream's own loss is `nll`, a softmax; forks with several classes a clip name another.
    if "activation" not in hints and str(stated.get("loss_type")).lower().startswith("bce"):
        hints["activation"] = "sigmoid"
    place = stated.get("shift_place")
    switch = next((stated[name] for name in _SHIFT_SWITCHES if name in stated), None)
    if switch is False or place is not None:
        hints["shift"] = "none" if switch is False else _place(place)
    return hints


def _agree(values: list[Any]) -> bool:
    return all(value == values[0] for value in values[1:])


def _place(place: Any) -> Any:
    """Return a place as upstream's code understands it: whatever contains `blockres`."""
    return "blockres" if isinstance(place, str) and "blockres" in place else place


def _flat(value: Any, levels: int = _MOST_LEVELS) -> Iterator[tuple[str, Any]]:
    """Return names and plain values in settings of any form."""
    for name, item in _settings(value).items():
        if isinstance(item, Inert) and "_val" in item.fields:  # OmegaConf's leaves
            item = item.fields["_val"]
        if isinstance(item, str | int | float | bool | list) or item is None:
            yield name, item
        elif levels:
            yield from _flat(item, levels - 1)


def _settings(value: Any) -> dict[str, Any]:
    fields = value.fields if isinstance(value, Inert) else value
    if not isinstance(fields, Mapping):
        return {}
    inner = fields.get("_content")  # OmegaConf's nodes
    return (
        _settings(inner)
        if inner is not None
        else {name: item for name, item in fields.items() if isinstance(name, str)}
    )


def _settings_hints(outer: Mapping[str, Any]) -> Iterator[Hint]:
    """Read the arguments of a training that were saved with the weights, under any key."""
    for key, value in outer.items():
        if isinstance(value, Inert | Mapping) and (hints := argument_hints(_settings(value))):
            yield f"the checkpoint's `{key}`", hints


def _outer_hints(outer: Mapping[str, Any]) -> Hint:
    """Take what a training of this project writes beside the weights, and upstream's does not."""
    names = {
        "segments": "num_segments",
        "shift_div": "shift_div",
        "shift_direction": "shift_direction",
        "size": "input_size",
        "activation": "output_activation",
    }
    hints = {name: outer.get(key) for name, key in names.items()}
    labels = outer.get("labels")
    if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
        hints["labels"] = labels
    return "the checkpoint", hints


def _args_hints(path: Path, warnings: list[str]) -> list[Hint]:
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
    return [("args.txt", argument_hints(args))]


def _name_hints(path: Path, warnings: list[str]) -> list[Hint]:
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
