"""The reference network as files: the forms in which a bundle can hold it.

A form is an entry in `WRITERS`. A conversion writes those that are wanted, in the table's order,
each verified before the next.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from converters.export.litert import write_litert
from converters.export.mnn import write_mnn
from converters.export.onnx import stamp
from converters.export.openvino import write_ir
from edge_tsm.bundle.card import Card, Precision, Target
from edge_tsm.errors import ExportError

# The graphs that a conversion makes on its way; they carry no card and stay out of the bundle.
# A network that engines run in different forms has one of each for every form (`in_form`).
GRAPH, INT8_GRAPH, SYMMETRIC_GRAPH = "graph", "int8 graph", "symmetric int8 graph"
PROGRAM = "torch program"  # the network as torch's own graph


def in_form(graph: str, form: str) -> str:
    """Return what a graph is called in a form of a network that is not its first."""
    return f"{graph} of {form}"


class Int8Choices(Protocol):
    """What is chosen about int8 artifacts."""

    @property
    def tensorrt(self) -> bool:
        """Whether TensorRT's form is wanted."""
        ...


class Choices(Protocol):
    """What is chosen about artifacts (`Settings`)."""

    @property
    def ir(self) -> bool:
        """Whether OpenVINO IR is wanted."""
        ...

    @property
    def f16(self) -> bool:
        """Whether an IR with 16-bit weights is wanted."""
        ...

    @property
    def targets(self) -> Collection[str]:
        """Further engines that a file is wanted for, of `targets.TARGETS`."""
        ...

    @property
    def int8(self) -> Int8Choices | None:
        """What is wanted of int8, None for nothing."""
        ...


@dataclass(frozen=True)
class Writer:
    """One form of artifact: how a conversion's steps call it, its file, who wants and writes it.

    `source` is the graph above, or the form in `WRITERS`, that `write(source, card, path)` starts
    from. The artifact is verified on `engine`; one for any target also on the other engines that
    read it, where the bundle holds no IR. One that is `optional` may fail, as all but f32 may.
    """

    step: str
    file: str
    precision: Precision
    engine: str
    source: str
    write: Callable[[Path, Card, Path], Path]
    wanted: Callable[[Choices], bool]
    target: Target = "any"
    optional: bool = False

    @property
    def graph(self) -> str:
        """The graph that it is made from, directly or by way of other artifacts."""
        writer = self
        while writer.source in WRITERS:
            writer = WRITERS[writer.source]
        return writer.source

    @property
    def required(self) -> bool:
        """Whether there is no bundle where the artifact, wanted, fails."""
        return self.precision == "f32" and not self.optional


WRITERS: dict[str, Writer] = {
    "onnx": Writer(
        step="ONNX",
        file="model.onnx",
        precision="f32",
        engine="onnxruntime",
        source=GRAPH,
        write=stamp,
        wanted=lambda choices: True,
    ),
    "ir": Writer(
        step="OpenVINO IR",
        file="model.xml",
        precision="f32",
        engine="openvino",
        source="onnx",
        write=write_ir,
        wanted=lambda choices: choices.ir,
    ),
    "ir-f16": Writer(
        step="OpenVINO IR",
        file="model.f16.xml",
        precision="f16",
        engine="openvino",
        source="onnx",
        write=partial(write_ir, f16=True),
        wanted=lambda choices: choices.f16,
    ),
    "mnn": Writer(
        step="MNN",
        file="model.mnn",
        precision="f32",
        engine="mnn",
        source="onnx",
        write=write_mnn,
        wanted=lambda choices: "mnn" in choices.targets,
        optional=True,
    ),
    "mnn-f16": Writer(
        step="MNN",
        file="model.f16.mnn",
        precision="f16",
        engine="mnn",
        source="onnx",
        write=partial(write_mnn, f16=True),
        wanted=lambda choices: "mnn" in choices.targets and choices.f16,
    ),
    "litert": Writer(
        step="LiteRT",
        file="model.tflite",
        precision="f32",
        engine="litert",
        source=PROGRAM,
        write=write_litert,
        wanted=lambda choices: "litert" in choices.targets,
        optional=True,
    ),
    "int8-onnx": Writer(
        step="int8",
        file="model.int8.onnx",
        precision="int8",
        engine="onnxruntime",
        source=INT8_GRAPH,
        write=stamp,
        wanted=lambda choices: choices.int8 is not None,
    ),
    "int8-ir": Writer(
        step="int8 IR",
        file="model.int8.xml",
        precision="int8",
        engine="openvino",
        source="int8-onnx",
        write=write_ir,
        wanted=lambda choices: choices.int8 is not None and choices.ir,
    ),
    "int8-tensorrt": Writer(
        step="int8 for TensorRT",
        file="model.int8.trt.onnx",
        precision="int8",
        engine="onnxruntime",
        source=SYMMETRIC_GRAPH,
        write=partial(stamp, target="tensorrt"),
        wanted=lambda choices: choices.int8 is not None and choices.int8.tensorrt,
        target="tensorrt",
    ),
}


def find_form(name: str) -> str:
    """Return the entry of `WRITERS` of that name, whose words may come in any order.

    Raises:
        ExportError: there is none.

    >>> find_form("onnx-int8")
    'int8-onnx'
    """
    words = set(name.lower().split("-"))
    found = next((form for form in WRITERS if set(form.split("-")) == words), None)
    if found is None:
        raise ExportError(f"there is no artifact {name!r}; there are {', '.join(WRITERS)}")
    return found


def wanted(choices: Choices, *, int8: bool) -> dict[str, Writer]:
    """Return the int8 or the float entries of `WRITERS` that are wanted, in order."""
    return {
        form: writer
        for form, writer in WRITERS.items()
        if (writer.precision == "int8") is int8 and writer.wanted(choices)
    }
