"""LiteRT from torch's own graph, in a process of its own: litert-torch brings fifty packages."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from converters.export.apart import python, write_apart
from edge_tsm.bundle.card import Card
from edge_tsm.bundle.tflitefile import Names, append
from edge_tsm.errors import ExportError

TIMEOUT_S = 600.0
_PROGRAM = """
import sys

import litert_torch
import torch

source, path = sys.argv[1:]
program = torch.export.load(source)
litert_torch.convert(program.module(), program.example_inputs[0]).export(path)
"""


def export_program(model: nn.Module, card: Card, path: Path) -> Path:
    """Write the torch graph of a network, of static shape, to `path` (.pt2).

    Raises:
        ExportError: torch cannot export it.
    """
    shapes = [card.input.shape, *(cache.shape for cache in card.state)]
    try:
        with torch.no_grad():
            program = torch.export.export(model, tuple(map(torch.zeros, shapes)))
        torch.export.save(program, path)
    except Exception as error:  # it raises whatever it meets inside a network
        raise ExportError(f"torch's export failed: {error}") from error
    return path


def write_litert(
    source: Path,
    card: Card,
    path: Path,
    *,
    timeout_s: float = TIMEOUT_S,
    command: Sequence[str] = python(_PROGRAM),
) -> Path:
    """Write the torch program `source` as `path`, the card behind it.

    Raises:
        ExportError: litert-torch refuses the graph, crashes or takes too long.
    """
    names = Names(
        (card.input.name, *(cache.input for cache in card.state)),
        (card.output.name, *(cache.output for cache in card.state)),
    )
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="litert-") as work:
        written = Path(work) / path.name
        problem = write_apart("litert-torch", command, source, written, timeout_s=timeout_s)
        if problem is not None:
            raise ExportError(f"{path.name}: {problem}")
        append(written, card.embedded(), names)
        shutil.move(written, path)
    return path
