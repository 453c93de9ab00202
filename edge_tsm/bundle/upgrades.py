"""Cards of older schemas, turned into today's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from edge_tsm.bundle.card import Cache, Scalar
from edge_tsm.bundle.schema import decode
from edge_tsm.errors import CardError


def upgraded(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a card of schema 1 or 2 in schema 3; `where` names its origin in errors.

    Raises:
        CardError: it is not of the schema that it names.
    """
    for upgrade in (_from_1, _from_2)[data["schema"] - 1 :]:
        data = upgrade(data, where)
    return {**data}


@dataclass(frozen=True)
class _OldInput:
    name: str
    shape: tuple[int, ...]
    layout: Literal["N(T*C)HW", "NCHW"]
    dtype: Literal["float32"]


@dataclass(frozen=True)
class _OldStreaming:
    fps: float
    horizon: int


@dataclass(frozen=True)
class _Old:
    """The keys of schema 1 that are others in schema 2."""

    arch: dict[str, Scalar]
    input: _OldInput
    state: tuple[Cache, ...]
    streaming: _OldStreaming | None


_FAMILIES = {  # the first letters of `arch.backbone` in schema 1
    "resnet": "resnet",
    "wide_resnet": "resnet",
    "mobilenet": "mobilenet",
    "mobileone": "mobileone",
    "pplcnet": "lcnet",
}


def _from_1(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a card of schema 1 in schema 2, which names the family, and says "online" once.

    Raises:
        CardError: an ill-typed key, or a card that is online in some places only.
    """
    parts = {field.name: data[field.name] for field in fields(_Old) if field.name in data}
    old, rest = decode(_Old, parts, where, path="card"), {**data}
    mode, layout = old.arch.get("mode") == "online", old.input.layout == "NCHW"
    if len({old.streaming is not None, mode, layout, bool(old.state)}) > 1:
        raise CardError(
            f"{where}: card.arch.mode, input.layout, state, streaming: some say online, some do not"
        )
    backbone = str(old.arch.get("backbone"))
    family = (name for start, name in _FAMILIES.items() if backbone.startswith(start))
    del rest["state"]
    if "family" in rest:
        raise CardError(f"{where}: card.family is unknown to schema 1")
    return {
        **rest,
        "schema": 2,
        "family": next(family, "unknown"),
        "arch": {key: value for key, value in old.arch.items() if key != "mode"},
        "input": {key: value for key, value in data["input"].items() if key != "layout"},
        "streaming": old.streaming and {**data["streaming"], "caches": data["state"]},
    }


def _from_2(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a card of schema 2 in schema 3.

    That knows unproven files, batches of any size, and clips with an interval between frames.

    What is ill-typed stays as it is, for the decoder to name.

    Raises:
        CardError: a key that schema 2 does not have.
    """
    given, files, sampling = data.get("input"), data.get("files"), data.get("sampling")
    new = [("input", given, "dynamic_batch")]
    new += [("sampling", sampling, "interval"), ("sampling", sampling, "fps")]
    new += [(f"files.{n}", f, "proven") for n, f in _items(files)]
    for place, value, key in new:
        if isinstance(value, dict) and key in value:
            raise CardError(f"{where}: card.{place}.{key} is unknown to schema 2")
    upgraded = {**data, "schema": 3}
    if isinstance(given, dict):
        upgraded["input"] = {**given, "dynamic_batch": False}
    if isinstance(sampling, dict):
        upgraded["sampling"] = {**sampling, "interval": None, "fps": None}
    if isinstance(files, dict):
        upgraded["files"] = {
            name: {**file, "proven": True} if isinstance(file, dict) else file
            for name, file in files.items()
        }
    return upgraded


def _items(value: object) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, dict) else []
