"""Would another form of the int8 shift, or bytes as input, be faster than the one that is written?

    python benchmarks/shift_forms.py --out results/shift_forms.json

The int8 graph of an untrained network is rewritten in every form of FORMS, of the same answers to
the bit, and run in turns beside the form that edge-tsm writes and the network without any shift.
Ranges are of two clips, weights plainly rounded: neither changes the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from networks import ENGINE_NAMES, each_network
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from turns import Run, in_turns, told

from converters import Options, plan
from converters.architectures.classifier import build_reference
from converters.bundling import card_of
from converters.export.onnx import export_onnx
from converters.export.simplify import simplify
from converters.quantization.qdq import Form, calibrate, quantize
from converters.verification.clips import generated_clip
from edge_tsm.backends import RuntimeOptions, open_backend
from edge_tsm.inference.preprocess import Preprocessor
from tests.helpers.upstream import write_checkpoint

ARCHS = {"ResNet-50": "resnet50", "MobileNetV2": "mobilenetv2"}
MEASURED_ON = ("onnxruntime", "openvino")


@dataclass(frozen=True)
class Shifted:
    """A shift in a graph: its nodes, the bytes it reads, their size and what they hold for zero."""

    nodes: tuple[NodeProto, ...]  # slices and pads of both folds, the slice of the rest, the concat
    source: str
    output: str
    zero: str
    fold: int
    frames: int
    shape: tuple[int, ...]  # (T, C, H, W)


class Graph:
    """A graph that nodes and constants are added to under fresh names."""

    def __init__(self, model: ModelProto) -> None:
        self.model, self.nodes = model, list(model.graph.node)
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self._count = 0

    def constant(self, value: NDArray[Any]) -> str:
        """Add a constant and return its name."""
        self._count += 1
        name = f"form:{self._count}"
        self.model.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def whole(self, *numbers: int) -> str:
        """Add whole numbers, as operators take their amounts."""
        return self.constant(np.array(numbers, np.int64))

    def node(self, kind: str, inputs: list[str], *, outputs: int = 1, **attributes: Any) -> Any:
        """Return a node; its outputs have fresh names."""
        self._count += 1
        names = [f"form:{self._count}:{i}" for i in range(outputs)]
        return helper.make_node(kind, inputs, names, **attributes)

    def shifts(self) -> Iterator[Shifted]:
        """Yield the shifts, as `quantize` writes them."""
        makers = {name: node for node in self.nodes for name in node.output}
        sizes = onnx.shape_inference.infer_shapes(self.model).graph.value_info
        shapes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in sizes}
        for concat in self.nodes:
            parts = [makers.get(name) for name in concat.input]
            if [part.op_type if part else "" for part in parts] != ["Pad", "Pad", "Slice"]:
                continue
            pads, rest = parts[:2], parts[2]
            moved = [makers[pad.input[0]] for pad in pads]
            fold = int(self.constants[rest.input[1]][0]) // 2
            shape = shapes[rest.input[0]]
            nodes = (moved[0], pads[0], moved[1], pads[1], rest, concat)
            source, output = rest.input[0], concat.output[0]
            yield Shifted(nodes, source, output, pads[0].input[2], fold, shape[0], shape)

    def cut(self, source: str, *, frames: tuple[int, int], channels: tuple[int, int]) -> NodeProto:
        """Return a slice of frames and channels."""
        start, end = self.whole(frames[0], channels[0]), self.whole(frames[1], channels[1])
        made: NodeProto = self.node("Slice", [source, start, end, self.whole(0, 1)])
        return made

    def padded(self, source: str, zero: str, *, before: int, after: int) -> NodeProto:
        """Return frames of zeros before and after."""
        amounts = self.whole(before, 0, 0, 0, after, 0, 0, 0)
        made: NodeProto = self.node("Pad", [source, amounts, zero])
        return made


def split(graph: Graph, shift: Shifted) -> list[NodeProto]:
    """All channels are split once; the folds then lose a frame and gain one."""
    sizes = graph.whole(shift.fold, shift.fold, shift.shape[1] - 2 * shift.fold)
    parts = graph.node("Split", [shift.source, sizes], outputs=3, axis=1)
    whole, last = (0, shift.fold), shift.frames
    later = graph.cut(parts.output[0], frames=(1, last), channels=whole)
    sooner = graph.cut(parts.output[1], frames=(0, last - 1), channels=whole)
    pads = [
        graph.padded(later.output[0], shift.zero, before=0, after=1),
        graph.padded(sooner.output[0], shift.zero, before=1, after=0),
    ]
    joined = [pads[0].output[0], pads[1].output[0], parts.output[2]]
    return [parts, later, sooner, *pads, graph.node("Concat", joined, axis=1)]


def one_pad(graph: Graph, shift: Shifted) -> list[NodeProto]:
    """Both folds are padded at both ends at once, and cut from that."""
    fold, frames = shift.fold, shift.frames
    both = graph.cut(shift.source, frames=(0, frames), channels=(0, 2 * fold))
    pad = graph.padded(both.output[0], shift.zero, before=1, after=1)
    later = graph.cut(pad.output[0], frames=(2, frames + 2), channels=(0, fold))
    sooner = graph.cut(pad.output[0], frames=(0, frames), channels=(fold, 2 * fold))
    rest = shift.nodes[4]
    joined = [later.output[0], sooner.output[0], rest.output[0]]
    return [both, pad, later, sooner, rest, graph.node("Concat", joined, axis=1)]


def pad_of_all(graph: Graph, shift: Shifted) -> list[NodeProto]:
    """All channels are padded at both ends, and all three parts cut from that."""
    fold, frames, channels = shift.fold, shift.frames, shift.shape[1]
    pad = graph.padded(shift.source, shift.zero, before=1, after=1)
    cuts = [
        graph.cut(pad.output[0], frames=(2, frames + 2), channels=(0, fold)),
        graph.cut(pad.output[0], frames=(0, frames), channels=(fold, 2 * fold)),
        graph.cut(pad.output[0], frames=(1, frames + 1), channels=(2 * fold, channels)),
    ]
    return [pad, *cuts, graph.node("Concat", [cut.output[0] for cut in cuts], axis=1)]


def zeros_joined(graph: Graph, shift: Shifted) -> list[NodeProto]:
    """A constant frame is joined to the folds instead of a pad."""
    later, _, sooner, _, rest, _ = shift.nodes
    zero = graph.constants[shift.zero]
    frame = graph.constant(np.full((1, shift.fold, *shift.shape[2:]), zero, zero.dtype))
    ends = [
        graph.node("Concat", [later.output[0], frame], axis=0),
        graph.node("Concat", [frame, sooner.output[0]], axis=0),
    ]
    joined = [ends[0].output[0], ends[1].output[0], rest.output[0]]
    return [later, sooner, rest, *ends, graph.node("Concat", joined, axis=1)]


FORMS: dict[str, Callable[[Graph, Shifted], list[NodeProto]]] = {
    "split once": split,
    "one pad for both folds": one_pad,
    "one pad for all channels": pad_of_all,
    "frames of zeros joined": zeros_joined,
}


def in_form(source: Path, path: Path, form: Callable[[Graph, Shifted], list[NodeProto]]) -> Path:
    """Write `source` with every shift in another form."""
    graph = Graph(onnx.load(str(source)))
    replaced = {shift.output: form(graph, shift) for shift in graph.shifts()}
    if not replaced:
        raise SystemExit(f"{source}: no shift as edge-tsm writes it")
    gone = {name for shift in graph.shifts() for node in shift.nodes for name in node.output}
    nodes: list[NodeProto] = []
    for node in graph.nodes:
        if node.output[0] in replaced:
            new = replaced[node.output[0]]
            new[-1].output[0] = node.output[0]
            nodes.extend(new)
        elif node.output[0] not in gone:
            nodes.append(node)
    return _written(graph.model, nodes, path)


def of_bytes(source: Path, path: Path) -> Path:
    """Write `source` without its first quantizer: the input is what that would have made."""
    model = onnx.load(str(source))
    clip = model.graph.input[0]
    (first,) = (node for node in model.graph.node if node.input[:1] == [clip.name])
    nodes = [node for node in model.graph.node if node is not first]
    for node in nodes:
        for i, name in enumerate(node.input):
            node.input[i] = clip.name if name == first.output[0] else name
    clip.type.tensor_type.elem_type = TensorProto.UINT8
    return _written(model, nodes, path)


def _written(model: ModelProto, nodes: list[NodeProto], path: Path) -> Path:
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def int8_graph(folder: Path, arch: str, *, shift: bool) -> Path:
    """Export an untrained network and quantize it."""
    name = arch if shift else f"{arch}-no-shift"
    kind = {} if shift else {"shift": "none"}
    checkpoint = write_checkpoint(folder, arch, name=f"{name}.pth.tar", **kind)
    planned = plan(checkpoint, Options() if shift else Options(shift_place="none"))
    card = card_of(planned.recipe, name, checkpoint_sha256=planned.checkpoint.sha256)
    model = build_reference(planned.recipe, planned.checkpoint.tensors)
    plain, simple = folder / f"{name}.plain.onnx", folder / f"{name}.onnx"
    export_onnx(model, card, plain)
    if (problem := simplify(plain, simple)) is not None:
        raise SystemExit(problem)
    prepare, size = Preprocessor(card.preprocess), card.preprocess.crop_px
    frames = card.sampling.segments
    clips = [prepare.tensor(list(generated_clip(seed, frames, size)))[None] for seed in range(2)]
    ranges = calibrate(simple, [{card.input.name: clip} for clip in clips])
    return quantize(simple, folder / f"{name}.int8.onnx", ranges, Form())


def measure(arch: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Time every form on both engines; answers must be those of the form that is written."""
    written = int8_graph(folder, arch, shift=True)
    files = {"as written": written}
    for name, form in FORMS.items():
        files[name] = in_form(written, folder / f"{name}.onnx", form)
    others = {
        "bytes as input": of_bytes(written, folder / "bytes.onnx"),
        "no shift": int8_graph(folder, arch, shift=False),
    }
    return {ENGINE_NAMES[e]: _on(e, files, others, rounds) for e in MEASURED_ON}


def _on(
    engine: str, files: dict[str, Path], others: dict[str, Path], rounds: int
) -> dict[str, Any]:
    runs = {name: _run(engine, path) for name, path in (files | others).items()}
    expected = runs["as written"]()
    for name in files:
        if not np.array_equal(runs[name](), expected):
            raise SystemExit(f"{name} answers otherwise on {engine}")
    found = in_turns(runs, rounds=rounds)
    return {
        **told("ms", found.rounds),
        "over_no_shift": {name: found.ratio(name, "no shift") for name in files},
        "over_as_written": {
            name: found.ratio(name, "as written") for name in (*files, "bytes as input")
        },
    }


def _run(engine: str, path: Path) -> Run:
    """Return a run on one clip of noise, in the type that the graph takes."""
    backend = open_backend(engine, path, RuntimeOptions())
    clip = onnx.load(str(path)).graph.input[0]
    shape = [d.dim_value for d in clip.type.tensor_type.shape.dim]
    random = np.random.default_rng(0)
    if clip.type.tensor_type.elem_type == TensorProto.UINT8:
        inputs = {clip.name: random.integers(0, 256, shape, np.uint8)}
    else:
        inputs = {clip.name: random.standard_normal(shape).astype(np.float32)}
    (output,) = (o.name for o in onnx.load(str(path)).graph.output)
    return lambda: backend.run(inputs)[output]


def main() -> None:
    """Measure each network."""
    each_network(__doc__, ARCHS, measure, rounds=7)


if __name__ == "__main__":
    main()
