"""Checkpoints of mit-han-lab/temporal-shift-module, its forks, and image networks alike.

Topology comes from the keys, block by block. What they cannot tell comes from what lies beside the
weights (`beside`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from converters.checkpoints import backbones
from converters.checkpoints.beside import hints_beside
from converters.checkpoints.clip_names import segment_names
from converters.checkpoints.keys import Reader, Tensors, search_head, split_backbone
from converters.checkpoints.wrappers import read_wrapped
from converters.recipe import COMMON_DEFAULTS, PIL_RESIZE, Convention, Topology
from edge_tsm.bundle.data_sets import SORTED_UPSTREAM

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
_OWN_HEADS = ("fc", "classifier", *backbones.HEADS)


def recognizes(keys: Iterable[str]) -> bool:
    """Return whether keys are those of a backbone in torchvision's or upstream's names."""
    return backbones.recognizes(list(keys))


def read(
    tensors: Tensors, outer: Mapping[str, Any], path: Path, *, online: bool
) -> tuple[Topology, Tensors]:
    """See `Read`; `outer` holds `arch`, and facts where this project trained."""
    backbones.refuse_strangers(tensors)
    network, canonical, shift_source = read_wrapped(tensors, backbones.read)
    layers, rest = split_backbone(network, canonical)
    biased = rest.keys()
    head, classes, rest = search_head(rest, network.features, _OWN_HEADS)
    source = f"{head}.weight" + ("" if f"{head}.bias" in biased else ", no bias")
    warnings: list[str] = []
    hints = hints_beside(outer, path, warnings)
    if not path.absolute().parent.name.startswith("TSM_"):  # which `hints_beside` reads
        hints += segment_names(path)
    if online and shift_source is None and head != "new_fc":  # which only the clip form has
        hints.append(("--online", {"shift": "blockres", "shift_direction": "past"}))
        if backbones.find(list(tensors)) is backbones.OFFICIAL_MOBILENET:
            hints.append(("official online demo", OFFICIAL_DEMO))
    topology = Topology(network, classes, source, hints, CONVENTION, tuple(warnings), shift_source)
    return topology, layers | rest


READER = Reader(
    "mit",
    recognizes,
    read,
    "base_model.conv1.weight, base_model.layer1.0.conv1.net.weight, new_fc.weight",
)
