"""From a checkpoint to a bundle: every step verified before the next, all or nothing on disk."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import nn

from converters.architectures.classifier import build_online, build_reference
from converters.bundling import card_of, file_entry, temporary_bundle
from converters.export import (
    GRAPH,
    INT8_GRAPH,
    PROGRAM,
    SYMMETRIC_GRAPH,
    WRITERS,
    Writer,
    find_form,
    in_form,
    wanted,
)
from converters.export.litert import export_program
from converters.export.onnx import INT8_OPSETS, OPSET, check_opset, export_onnx
from converters.export.simplify import TIMEOUT_S, simplify
from converters.export.targets import check_targets
from converters.planning import Plan, plan
from converters.quantization.calibration import ClipSet
from converters.quantization.evidence import weigh
from converters.quantization.holdout import Assessment, Holdout, Original, compare_speed
from converters.quantization.int8 import Int8, Quantizer
from converters.recipe import Options
from converters.report import Report, Step, write_report
from converters.verification.clips import Clips, generated_clip, random_clips, real_clips
from converters.verification.online import OnlineReference
from converters.verification.reference import Check, Reference
from edge_tsm.actions.rules import RULES_FILE, write_rules
from edge_tsm.backends import ENGINES, RuntimeOptions, open_backend, readers
from edge_tsm.bundle.card import (
    CARD_FILE,
    Card,
    File,
    Precision,
    Verification,
)
from edge_tsm.bundle.golden import Golden
from edge_tsm.datatypes import Image, Logits
from edge_tsm.errors import BackendError, ConversionError, IncompleteError, VerificationError
from edge_tsm.inference.loading import load
from edge_tsm.inference.preprocess import Preprocessor
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.variants import Variant
from edge_tsm.system.machine import processor

RANDOM_CLIPS = 4
GOLDEN_CLIPS = 2

Notify = Callable[[str], None]


class Checker(Protocol):
    """What proves an artifact: the reference, or for int8 the clips kept back."""

    def check(self, path: Path, card: Card, *, engine: str, precision: str) -> Check:
        """Compare an artifact with the reference, or raise VerificationError."""
        ...


@dataclass(frozen=True)
class Settings:
    """How to convert: what to write, what to check with, whether to replace.

    `rules` (a TOML file or a preset) turn answers into actions; the bundle keeps a copy.
    Without `ir` the bundle holds ONNX only, proven on ONNX Runtime and on OpenVINO. `targets` are
    further engines to write a file for: "mnn", "litert". `opset` is ONNX's; what is usual here is
    read by old engines too. `only` names artifacts, as in `WRITERS`, that alone stay in the bundle,
    for small disks; what they are made from is written, proven and left out. Where one of them
    fails or is not proven, the others stay after all.
    """

    f16: bool = False
    ir: bool = True
    targets: tuple[str, ...] = ()
    int8: Int8 | None = None
    clips: Path | None = None
    rules: str | None = None
    force: bool = False
    simplify_timeout_s: float = TIMEOUT_S
    opset: int = OPSET
    only: tuple[str, ...] = ()


def build(
    plan: Plan, bundle: Path, settings: Settings, *, progress: Notify = lambda line: None
) -> Path:
    """Write the bundle of a plan and return it.

    `progress` gets a line per step; a line that ends with "…" announces what takes a while.

    Raises:
        IncompleteError: the bundle is there and proven, but lacks int8 or another further file.
        ConversionError: see its other subclasses; nothing is left behind then.
    """
    settings = _narrowed(settings)
    _refuse(plan, settings)
    with temporary_bundle(bundle.resolve(), force=settings.force) as folder:
        name, sha256 = bundle.name.removesuffix(".bundle"), plan.checkpoint.sha256
        card = card_of(plan.recipe, name, checkpoint_sha256=sha256)
        builder = _Builder(plan, card, folder, settings, progress)
        builder.run()
    if builder.missing:
        reasons = "; ".join(f"no {what}: {reason}" for what, reason in builder.missing.items())
        raise IncompleteError(f"{bundle} is ready, but has {reasons}", bundle=bundle)
    return bundle


def _narrowed(settings: Settings) -> Settings:
    """Return the settings by which no more is written than what alone is to stay needs.

    Raises:
        ConversionError: there is no such artifact, or nothing asks for it.
    """
    if not settings.only:
        return settings
    forms = tuple(dict.fromkeys(map(find_form, settings.only)))
    without = dataclasses.replace(settings, ir=False)
    need_ir = [form for form in forms if not WRITERS[form].wanted(without)]
    narrowed = dataclasses.replace(settings, only=forms, ir=settings.ir and bool(need_ir))
    unasked = [form for form in forms if not WRITERS[form].wanted(narrowed)]
    if unasked:
        written = [form for form, writer in WRITERS.items() if writer.wanted(settings)]
        raise ConversionError(
            f"only {unasked[0]}: this conversion writes {', '.join(written)}; further artifacts "
            "need their option: --int8 --calibrate CLIPS, --tensorrt, --fp16, --target, no --no-ir"
        )
    return narrowed


def _refuse(plan: Plan, settings: Settings) -> None:
    """Refuse, before minutes of work, what does not go together."""
    check_opset(settings.opset)
    check_targets(settings.targets)
    if plan.recipe.facts.dynamic_batch and "litert" in settings.targets:
        raise ConversionError(
            "a LiteRT file is of a fixed batch; pass --batch N instead of --dynamic-batch, or "
            "leave out --target litert"
        )
    if settings.int8 is None:
        return
    if settings.opset not in INT8_OPSETS:
        raise ConversionError(
            f"int8 is written for opsets {INT8_OPSETS[0]} to {INT8_OPSETS[-1]}, not "
            f"{settings.opset}; leave out --opset, or --int8"
        )
    if plan.recipe.facts.dynamic_batch:
        raise ConversionError(
            "int8 is of a fixed batch: a graph of any size computes its shifts as it runs, on "
            "whole numbers that have no range to quantize; pass --batch N instead of "
            "--dynamic-batch, or leave out --int8"
        )


def convert(
    checkpoint: Path,
    bundle: Path,
    options: Options | None = None,
    settings: Settings | None = None,
    *,
    progress: Notify = lambda line: None,
) -> Path:
    """Convert a checkpoint file into a proven bundle folder, and return the folder.

    Args:
        checkpoint: a file of any code base that `converters.checkpoints` reads.
        bundle: the folder to make; one that exists is replaced with `Settings(force=True)` only.
        options: what to state about the checkpoint.
        settings: which artifacts to write, and what to check them with.
        progress: gets a line per step, as `build` says.

    Raises:
        IncompleteError: the bundle is there and proven, but lacks int8 or another further file.
        ConversionError: see its other subclasses; nothing is left behind then.

    Example:
        from converters import Options, Settings, convert

        settings = Settings(f16=True)
        convert(Path("ckpt.pth.tar"), Path("x.bundle"), Options(segments=8), settings)
    """
    planned = plan(checkpoint, options or Options())
    return build(planned, bundle, settings or Settings(), progress=progress)


class _Builder:
    """One conversion: runs the steps and collects what card and report hold."""

    def __init__(
        self, plan: Plan, card: Card, folder: Path, settings: Settings, progress: Notify
    ) -> None:
        self._plan, self._card, self._folder = plan, card, folder
        self._settings, self._progress = settings, progress
        self._preprocess = Preprocessor(card.preprocess)
        self._warnings = list(plan.recipe.warnings)
        self._steps: list[Step] = []
        # What artifacts are written from: graphs, and artifacts that are finished.
        self._sources: dict[str, Callable[[], Path]] = {}
        self._unsimplified: dict[str, Path] = {}  # by graph
        self._files: dict[str, File] = {}
        self._assessments: tuple[Assessment, ...] = ()
        self._float_layers: tuple[str, ...] = ()
        self.missing: dict[str, str] = {}  # what was asked for and failed: why

    def run(self) -> None:
        """Write everything into the folder, the card last."""
        if self._settings.rules is not None:
            write_rules(self._settings.rules, self._card.labels, self._folder / RULES_FILE)
        golden = np.stack([self._generated(seed) for seed in range(GOLDEN_CLIPS)])
        groups = self._groups(golden)
        int8 = self._settings.int8
        with self._timed("int8 clips") if int8 else nullcontext():
            clips = int8.clips(self._card, warn=self._warn, count=self._count) if int8 else None
        model, reference = self._models(groups)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="work-") as work:
            self._export(model, reference, Path(work))
            for form, writer in wanted(self._settings, int8=False).items():
                with self._optional(writer):
                    self._float_artifact(form, writer, reference)
            if int8 and clips:
                self._int8(int8, clips, reference, Path(work))
        self._keep_only([WRITERS[form].file for form in self._settings.only])
        self._golden(golden, reference.run(groups["generated"]))
        self._replay()
        self._describe()

    def _keep_only(self, names: Sequence[str]) -> None:
        """Let go of all artifacts but these, if there are any, and all of them are proven."""
        if not names:
            return
        found = [self._files.get(name) for name in names]
        if not all(file is not None and file.proven for file in found):
            self._warn(f"not all of {', '.join(names)} is proven, so the other artifacts stay")
            return
        self._files = {name: file for name, file in self._files.items() if name in names}

    def _models(self, groups: dict[str, Clips]) -> tuple[nn.Module, Reference]:
        """Return the network to export, and the reference for its artifacts."""
        recipe, tensors = self._plan.recipe, self._plan.checkpoint.tensors
        with self._timed("torch"):
            if recipe.streaming is not None:
                return build_online(recipe, tensors), OnlineReference(recipe, tensors, groups)
            model = build_reference(recipe, tensors)
            return model, Reference(model, groups, order_sensitive=recipe.order_sensitive)

    def _export(self, model: nn.Module, reference: Reference, work: Path) -> None:
        """Export the network's graphs: one, or one for each form in which engines run it."""
        network = self._plan.recipe.network
        formed = self._formed(model, "onnxruntime")
        self._sources[PROGRAM] = partial(export_program, formed, self._card, work / "model.pt2")
        self._export_graph(GRAPH, formed, reference, work)
        others = [name for name in network.forms if self._settings.ir and self._own_form(name)]
        for engine in others:
            graph = in_form(GRAPH, network.forms[engine])
            self._export_graph(graph, self._formed(model, engine), reference, work, engine)

    def _formed(self, model: nn.Module, engine: str) -> nn.Module:
        """Return the network in the form that an engine runs best."""
        network = self._plan.recipe.network
        form = network.forms.get(engine)
        return model if form is None else network.formed(model, form)

    def _own_form(self, engine: str) -> str | None:
        """Return the form of an engine's graphs where it is not that of the ONNX file."""
        forms = self._plan.recipe.network.forms
        form = forms.get(engine)
        return None if form == forms.get("onnxruntime") else form

    def _export_graph(
        self,
        graph: str,
        model: nn.Module,
        reference: Reference,
        work: Path,
        engine: str = "onnxruntime",
    ) -> None:
        """Export a graph and simplify it; the plain one is kept in case the other is wrong."""
        folder = work / graph.replace(" ", "-")
        folder.mkdir()
        plain, simple = folder / "exported.onnx", folder / "simple.onnx"
        with self._step("export", plain, reference, "f32", engine):
            export_onnx(model, self._card, plain, opset=self._settings.opset)
        with self._timed("simplify"):
            problem = simplify(plain, simple, timeout_s=self._settings.simplify_timeout_s)
        self._unsimplified[graph] = plain
        self._sources[graph] = lambda: simple
        if problem is not None:
            self._keep_unsimplified(graph, problem)

    def _keep_unsimplified(self, graph: str, reason: str) -> None:
        self._warn(f"{reason}; the graph stays unsimplified")
        plain = self._unsimplified.pop(graph)
        self._sources[graph] = lambda: plain

    def _source(self, writer: Writer) -> str:
        """Return what an artifact is written from: of an engine with an own form, its graph."""
        form = self._own_form(writer.engine) if writer.target == "any" else None
        return writer.source if form is None else in_form(writer.graph, form)

    def _float_artifact(self, form: str, writer: Writer, reference: Reference) -> None:
        """Write an artifact; where the simplified graph is wrong, from the plain one."""
        try:
            self._artifact(form, writer, reference)
        except (VerificationError, BackendError) as error:
            graph = self._source(writer)
            if graph not in self._unsimplified:
                raise
            self._keep_unsimplified(graph, f"onnxsim's graph is wrong ({error})")
            self._artifact(form, writer, reference)

    def _int8(
        self, settings: Int8, clips: tuple[ClipSet, ClipSet], reference: Reference, work: Path
    ) -> None:
        """Quantize the finished f32 graph; assess all artifacts on the clips kept back."""
        if processor().int8_saturates and not settings.reduce_range:
            self._warn(
                "on this CPU (AVX2 without VNNI) OpenVINO's int8 sums can saturate; --reduce-range "
                "prevents that"
            )
        with self._timed("int8 reference"):
            frames = reference.answers if isinstance(reference, OnlineReference) else None
            holdout = Holdout(
                Original(reference.run, self._plan.recipe.order_sensitive, frames),
                self._card,
                clips[1],
                weigh(clips[1], clips[0], warn=self._warn),
                max_drop=settings.max_drop,
                count=self._count,
            )
        writers = wanted(self._settings, int8=True)
        try:
            self._quantize(settings, clips[0], holdout, work)
        except (ConversionError, BackendError) as error:
            self.missing[" and ".join(writer.file for writer in writers.values())] = str(error)
        else:
            for form, writer in writers.items():
                with self._optional(writer):
                    self._artifact(form, writer, holdout)
        self._assess(holdout, writers.values())

    def _quantize(self, settings: Int8, calibration: ClipSet, holdout: Holdout, work: Path) -> None:
        """Measure ranges, settle which layers stay float, and say how graphs are then written."""
        with self._timed("int8 layers"):
            source = self._sources["onnx"]()
            quantizer = Quantizer(
                source, self._card, calibration, settings, work=work, count=self._count
            )
            quantizer.choose(holdout, warn=self._warn)
        self._progress(f"  weights             {quantizer.choice(settings.form)}")
        self._float_layers = quantizer.float_layers
        self._sources[INT8_GRAPH] = lambda: quantizer.write(work / "int8.onnx")
        self._sources[SYMMETRIC_GRAPH] = lambda: quantizer.write(
            work / "symmetric.onnx", symmetric=True
        )
        for form in filter(None, map(self._own_form, self._plan.recipe.network.forms)):
            if (float_ := self._sources.get(in_form(GRAPH, form))) is not None:
                self._sources[in_form(INT8_GRAPH, form)] = partial(
                    quantizer.write, work / f"int8-{form}.onnx", source=float_()
                )

    def _assess(self, holdout: Holdout, writers: Iterable[Writer]) -> None:
        """Compare what the bundle holds, and what it does not because it is worse."""
        refused = [
            file_entry(self._folder / writer.file, writer, self._others(writer), proven=False)
            for writer in writers
            if writer.file not in self._files and (self._folder / writer.file).exists()
        ]
        for file in (*self._files.values(), *refused):
            for engine in file.engines:
                with suppress(BackendError):  # what does not run is missing already
                    found = holdout.assess(self._folder / file.path, file, engine)
                    self._assessments += (found,)
        if slower := compare_speed(self._assessments, processor()):
            self._warn(slower)

    @contextmanager
    def _optional(self, writer: Writer) -> Iterator[None]:
        """Go on without an artifact that fails, unless the bundle is nothing without it."""
        try:
            yield
        except (ConversionError, BackendError) as error:
            if writer.required:
                raise
            self._files.pop(writer.file, None)
            self.missing[writer.file] = str(error)

    def _artifact(self, form: str, writer: Writer, checker: Checker) -> None:
        """Write one artifact into the bundle, verified on its engines."""
        path = self._folder / writer.file
        source = self._source(writer)
        if source not in self._sources:
            raise ConversionError(f"it is made from {WRITERS[writer.source].file}, which failed")
        with self._step(writer.step, path, checker, writer.precision, writer.engine):
            writer.write(self._sources[source](), self._card, path)
        self._sources[form] = lambda: path
        checks = {writer.engine: self._steps[-1].check}
        for engine in self._others(writer):
            check = checker.check(path, self._card, engine=engine, precision=writer.precision)
            on = f"on {ENGINES[engine].title}"
            self._steps.append(Step(f"{writer.step} {on}", path.name, 0.0, check))
            self._progress(f"{f'  {on}':<20}{'':8}  {_summary(check)}")
            checks[engine] = check
        self._note_unproven(path.name, checks)
        proven = all(check.proven for check in checks.values())
        self._files[path.name] = file_entry(path, writer, list(checks)[1:], proven=proven)

    def _others(self, writer: Writer) -> list[str]:
        """Return the further engines that an artifact must be proven on."""
        if writer.target != "any" or self._settings.ir:
            return []
        return [name for name in readers(Path(writer.file)) if name != writer.engine]

    def _note_unproven(self, name: str, checks: Mapping[str, Check]) -> None:
        reasons = [reason for check in checks.values() for reason in check.reasons]
        if reasons:
            self._warn(
                f"{name} is not proven and runs only by name (--variant {name}): "
                f"{'; '.join(dict.fromkeys(reasons))}"
            )

    @contextmanager
    def _step(
        self, name: str, path: Path, checker: Checker, precision: Precision, engine: str
    ) -> Iterator[None]:
        """Time what happens inside, verify the file it writes, report both."""
        self._progress(f"{path.name} …")
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        check = checker.check(path, self._card, engine=engine, precision=precision)
        self._steps.append(Step(name, path.name, round(seconds, 2), check))
        self._progress(f"{path.name:<20}{seconds:6.1f} s  {_summary(check)}")

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        self._progress(f"{name} …")
        started = time.perf_counter()
        yield
        self._progress(f"{name:<20}{time.perf_counter() - started:6.1f} s")

    def _groups(self, golden: Image) -> dict[str, Clips]:
        """Return the clips to check with, prepared, by kind."""
        segments = self._card.sampling.segments
        groups = {
            "random": random_clips(RANDOM_CLIPS, (segments * 3, *self._card.input.shape[2:])),
            "generated": np.stack([self._preprocess.tensor(list(clip)) for clip in golden]),
        }
        if self._settings.clips is not None:
            with self._timed("real clips"):
                sampling = self._card.sampling
                groups["real"] = real_clips(
                    self._settings.clips, self._preprocess, sampling, warn=self._warn
                )
        return groups

    def _generated(self, seed: int) -> Image:
        return generated_clip(seed, self._card.sampling.segments, self._card.preprocess.crop_px)

    def _golden(self, clips: Image, logits: Logits) -> None:
        """Write the golden clips, with what int8 files answer, as these have answers of their own.

        They are those of the file's first engine; another must come as near as another machine.
        """
        golden, own = Golden(clips, logits), {}
        for file in self._files.values():
            if file.precision == "int8":
                backend = open_backend(file.engine, self._folder / file.path, RuntimeOptions())
                with Recognizer(self._card, backend) as recognizer:
                    own[file.path] = golden.answers(recognizer)
        dataclasses.replace(golden, own=own).write(self._folder)

    def _describe(self) -> None:
        """Write the reports, then the card; what the card does not list leaves the folder."""
        for what, reason in self.missing.items():
            self._warn(f"no {what}: {reason}")
        listed = {name for file in self._files.values() for name in (file.path, *file.parts)}
        for path in self._folder.glob("model.*"):
            if path.name not in listed:
                path.unlink()
        self._card = dataclasses.replace(
            self._card, files=self._files, verification=self._verification()
        )
        report = Report(
            checkpoint=str(self._plan.checkpoint.path),
            facts=self._plan.recipe.facts,
            steps=tuple(self._steps),
            warnings=tuple(self._warnings),
            assessments=self._assessments,
            float_layers=self._float_layers,
        )
        write_report(report, self._folder, self._card)
        (self._folder / CARD_FILE).write_text(self._card.to_json() + "\n", encoding="utf-8")

    def _verification(self) -> dict[str, Verification]:
        return {s.file: s.check.total for s in self._steps if s.file in self._files}

    def _replay(self) -> None:
        """Answer the golden clips from the finished files, as a device does."""
        golden, verification = Golden.read(self._folder), self._verification()
        for writer in WRITERS.values():
            entry = self._files.get(writer.file)
            for engine in entry.engines if entry else ():
                tolerance = verification[writer.file].tolerance
                with (
                    self._optional(writer),
                    load(self._folder / writer.file, engine=engine) as recognizer,
                ):
                    result = golden.replay(recognizer, tolerance=tolerance, file=writer.file)
                    if not result.max_rel_diff <= result.tolerance:
                        self._leave_out(writer.file, engine)

    def _leave_out(self, name: str, engine: str) -> None:
        """Let int8 go on without an engine that fails because its sums saturate on this CPU.

        Raises:
            VerificationError: it fails for another reason, or on the engine that the file is for.
        """
        failure, entry = f"{name} fails its own golden clips on {engine}", self._files[name]
        int8 = self._settings.int8
        narrow = int8 is not None and int8.reduce_range
        saturates = Variant(entry, engine).may_saturate(processor()) and not narrow
        if engine == entry.engine or not saturates:
            raise VerificationError(failure)
        also = {other: version for other, version in entry.also.items() if other != engine}
        self._files[name] = dataclasses.replace(entry, also=also)
        self._warn(f"{failure}, whose sums saturate on this CPU; the file is not listed for it")

    def _count(self, what: str, done: int, total: int) -> None:
        self._progress(f"{what} {done}/{total} …")

    def _warn(self, text: str) -> None:
        self._warnings.append(text)
        self._progress(f"warning: {text}")


def _summary(check: Check) -> str:
    result = check.total
    return check.summary or (
        f"max |Δ| {result.max_rel_diff:.1e} of range (≤ {result.tolerance:.0e}), "
        f"{result.clips} clips"
    )
