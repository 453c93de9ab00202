"""The sections of a conversion's report, which report.md and report.html show alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from converters.quantization.holdout import MOST_FLOAT_CLIPS, Assessment
from converters.quantization.judgment import Flip, Judgment
from converters.report.content import Report
from edge_tsm.bundle.card import Card
from edge_tsm.evaluation.charts import Bar, Margins, latency_chart, margin_chart
from edge_tsm.evaluation.page import Bullets, Figure, Part, Section, Table, Text

Sizes = Mapping[str, int]


def lead(report: Report, card: Card) -> list[str]:
    """Return what stands under the title."""
    shape = card.input.form
    takes = f"Input {shape}, channel index `t*3 + c`"
    if card.online:
        takes = f"One frame {shape} and {len(card.state)} caches per step"
    return [
        f"From `{report.checkpoint}` (SHA-256 {card.provenance.checkpoint_sha256}).",
        f"{takes}; {len(card.labels)} classes.",
    ]


def sections(report: Report, card: Card, sizes: Sizes) -> list[Section]:
    """Return the sections that have something to say; `sizes` are the bytes of files."""
    found = [(title, tuple(parts(report, card, sizes))) for title, parts in SECTIONS.items()]
    return [Section(title, parts) for title, parts in found if parts]


def _warnings(report: Report, _card: Card, _sizes: Sizes) -> Iterator[Part]:
    if report.warnings:
        yield Bullets(report.warnings)


def _facts(report: Report, _card: Card, _sizes: Sizes) -> Iterator[Part]:
    rows = [(name, str(fact.value), fact.source) for name, fact in report.facts.rows()]
    yield Table(("fact", "value", "from"), rows)


def _checks(report: Report, card: Card, _sizes: Sizes) -> Iterator[Part]:
    counted = "frames" if card.online else "clips"
    head = ("file", "step", "group", counted, "max abs", "max rel", "allowed", "same top-1")
    rows = [
        (
            step.file,
            step.name,
            group,
            str(result.clips),
            f"{result.max_abs_diff:.2e}",
            f"{result.max_rel_diff:.2e}",
            f"{result.tolerance:g}",
            f"{result.top1_agreement:.0%}",
        )
        for step in report.steps
        for group, result in step.check.groups.items()
    ]
    yield Text(
        "Differences of logits, as they are and as a share of the range of the reference's logits."
    )
    yield Table(head, rows)


def _int8(report: Report, card: Card, _sizes: Sizes) -> Iterator[Part]:
    """Yield what compares precisions on clips kept back from calibration."""
    if not report.assessments:
        return
    head = (
        *("file", "engine", "clips", "same top-1", "top-5 overlap", "cosine", "max abs"),
        *("mean |Δ probability|", "accuracy", "bytes", "ms", "status"),
    )
    kept = ", ".join(f"`{name}`" for name in report.float_layers) or "none"
    yield Text(
        "On clips that were not used for calibration. Float files, which are proven to answer as "
        f"the checkpoint does, answer {MOST_FLOAT_CLIPS} at most; in their accuracy its answers to "
        "the other clips count. The cosine is of logits without their mean over classes; ms is "
        "the median of one run on this machine's CPU."
    )
    yield Table(head, list(map(_assessed, report.assessments)))
    yield Text(f"Layers kept float: {kept}.")
    bars = [
        Bar(f"{a.file}, {a.engine}", a.latency_ms, a.top1_agreement, a.precision == "int8")
        for a in report.assessments
        if a.target == "any"
    ]
    told = f"One run on this CPU, and top-1 agreement on {report.assessments[0].clips} clips"
    yield Figure(latency_chart(bars, told), f"{told} kept back.")


def _judged(report: Report, card: Card, _sizes: Sizes) -> Iterator[Part]:
    """Yield why int8 is proven or not, the margins of its answers, and its flips."""
    judged = [(a, a.judgment) for a in report.assessments if a.judgment]
    if not judged:
        return
    head = (
        *("file", "engine", "clips that count", "alike", "flips within noise", "lost"),
        *("lost, 95 % bounds", "allowed", "drift on generated clips", "outcome"),
    )
    yield Text(
        "proven: it loses no more answers than allowed, with 95 % confidence. unproven: too few "
        "clips to tell. worse: it loses more; such a file is not in the bundle."
    )
    yield Table(head, [_judgment(a, found) for a, found in judged])
    why = [f"{a.file} on {a.engine}: {reason}" for a, found in judged for reason in found.reasons]
    if why:
        yield Bullets(tuple(why))
    for a, found in judged:
        margins = Margins(np.array(found.margins), np.array(found.after), found.tolerance)
        told = f"{a.file} on {a.engine}: {found.outcome}, {found.clips} clips that count"
        yield Figure(margin_chart(margins, told), told)
    flips = [_flip(a, flip, card.labels) for a, found in judged for flip in found.flips]
    if flips:
        yield Table(("file", "engine", "clip", "f32", "int8", "margin", ""), flips)


def _proofs(report: Report, card: Card, _sizes: Sizes) -> Iterator[Part]:
    moved = "earlier frames reversed" if card.online else "frames reversed"
    rows = [
        (
            step.file,
            step.name,
            f"{step.check.proof.input_effect:.2e}",
            f"{step.check.proof.order_effect:.2e}",
            f"{step.check.proof.order_expected:.2e}",
        )
        for step in report.steps
    ]
    yield Text("Share of the logit range by which the answer moves.")
    yield Table(("file", "step", "other clip", moved, "the same in torch"), rows)


def _files(_report: Report, _card: Card, sizes: Sizes) -> Iterator[Part]:
    yield Table(("file", "bytes"), [(name, f"{size:,}") for name, size in sizes.items()])


def _tools(_report: Report, card: Card, _sizes: Sizes) -> Iterator[Part]:
    yield Table(("tool", "version"), list(card.provenance.tools.items()))


SECTIONS: dict[str, Callable[[Report, Card, Sizes], Iterator[Part]]] = {
    "Warnings": _warnings,
    "What it is": _facts,
    "Against the checkpoint in torch": _checks,
    "Float and int8": _int8,
    "Is int8 as good?": _judged,
    "Does time reach the answer?": _proofs,
    "Files": _files,
    "Made with": _tools,
}
"""By title, in the order in which they are shown; one without parts is left out."""


def _judgment(a: Assessment, found: Judgment) -> tuple[str, ...]:
    flipped = sum(after < 0 for after in found.after)
    return (
        a.file,
        a.engine,
        str(found.clips),
        str(found.clips - flipped),
        f"{flipped - found.losses} (margin ≤ {found.tolerance:.2g})",
        str(found.losses),
        f"{found.at_least:.1%} to {found.at_most:.1%}",
        f"{found.max_drop:.1%}",
        f"{found.drift:.1%}",
        found.outcome,
    )


def _flip(a: Assessment, flip: Flip, labels: Sequence[str]) -> tuple[str, ...]:
    reference, int8 = (
        ", ".join(labels[i] for i in classes) or "none" for classes in (flip.reference, flip.int8)
    )
    lost = "lost" if flip.lost else "no loss"
    return (a.file, a.engine, flip.clip, reference, int8, f"{flip.margin:.3g}", lost)


def _assessed(found: Assessment) -> tuple[str, ...]:
    return (
        found.file,
        found.engine,
        str(found.clips),
        f"{found.top1_agreement:.1%}",
        f"{found.top5_agreement:.1%}",
        f"{found.cosine:.5f}",
        f"{found.max_abs_diff:.2e}",
        f"{found.mean_probability_diff:.4f}",
        "" if found.accuracy is None else f"{found.accuracy:.1%}",
        f"{found.bytes:,}",
        f"{found.latency_ms:.1f}",
        found.status,
    )
