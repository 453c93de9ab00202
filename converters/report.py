"""What was found and measured, for machines (report.json) and for people (report.md)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.facts import Facts
from converters.quantization.holdout import MOST_FLOAT_CLIPS, Assessment
from converters.quantization.judgment import Flip, Judgment
from converters.verification.reference import Check
from edge_tsm.bundle.card import Card
from edge_tsm.evaluation.charts import Bar, Margins, latency_chart, margin_chart, stacked


@dataclass(frozen=True)
class Step:
    """One conversion step: its file, how long it took, and its check."""

    name: str
    file: str
    seconds: float
    check: Check


@dataclass(frozen=True)
class Report:
    """A conversion's facts, steps, measurements and warnings."""

    checkpoint: str
    facts: Facts
    steps: tuple[Step, ...]
    warnings: tuple[str, ...]
    assessments: tuple[Assessment, ...] = ()
    float_layers: tuple[str, ...] = ()

    def write(self, bundle: Path, card: Card) -> None:
        """Write report.json and report.md into the bundle, with int8 also report.png."""
        sizes = {p.name: p.stat().st_size for p in sorted(bundle.iterdir())}
        text = json.dumps(self._data(card, sizes), indent=1, ensure_ascii=False, default=str)
        (bundle / "report.json").write_text(text + "\n", encoding="utf-8")
        sections = "\n\n".join(self._sections(card, sizes))
        (bundle / "report.md").write_text(sections + "\n", encoding="utf-8")
        if self.assessments:
            self._draw(bundle / "report.png", card)

    def _data(self, card: Card, sizes: Mapping[str, int]) -> dict[str, Any]:
        """Return the content of report.json."""
        return {
            "checkpoint": self.checkpoint,
            "facts": {name: dataclasses.asdict(fact) for name, fact in self.facts.rows()},
            "steps": [dataclasses.asdict(step) for step in self.steps],
            "warnings": self.warnings,
            "verdicts": [dataclasses.asdict(found) for found in self.assessments],
            "float_layers": self.float_layers,
            "tools": card.provenance.tools,
            "bytes": sizes,
        }

    def _draw(self, path: Path, card: Card) -> None:
        bars = [
            Bar(f"{a.file}, {a.engine}", a.latency_ms, a.top1_agreement, a.precision == "int8")
            for a in self.assessments
            if a.target == "any"
        ]
        clips = self.assessments[0].clips
        title = f"{card.name}: one run on this CPU, top-1 agreement on {clips} clips kept back"
        margins = [
            margin_chart(
                Margins(np.array(found.margins), np.array(found.after), found.tolerance),
                f"{a.file} on {a.engine}: {found.outcome}, {found.clips} clips that count",
            )
            for a in self.assessments
            if (found := a.judgment)
        ]
        stacked([latency_chart(bars, title), *margins]).save(path)

    def _sections(self, card: Card, sizes: Mapping[str, int]) -> Iterator[str]:
        """Yield the parts of report.md."""
        yield self._title(card)
        if self.warnings:
            yield "## Warnings\n\n" + "\n".join(f"- {text}" for text in self.warnings)
        yield "## What it is\n\n" + self._facts()
        yield (
            "## Against the checkpoint in torch\n\nDifferences of logits, as they are and as a "
            f"share of the range of the reference's logits.\n\n{self._checks(card)}"
        )
        if self.assessments:
            yield self._int8()
            yield self._judged(card.labels)
        yield (
            "## Does time reach the answer?\n\nShare of the logit range by which the answer "
            f"moves.\n\n{self._proofs(card)}"
        )
        yield "## Files\n\n" + _table(("file", "bytes"), [(n, f"{s:,}") for n, s in sizes.items()])
        yield "## Made with\n\n" + _table(("tool", "version"), list(card.provenance.tools.items()))

    def _title(self, card: Card) -> str:
        shape = card.input.form
        takes = f"Input {shape}, channel index `t*3 + c`"
        if card.online:
            takes = f"One frame {shape} and {len(card.state)} caches per step"
        return (
            f"# {card.name}\n\nFrom `{self.checkpoint}` "
            f"(SHA-256 {card.provenance.checkpoint_sha256}).\n{takes}; {len(card.labels)} classes."
        )

    def _facts(self) -> str:
        rows = [(name, str(fact.value), fact.source) for name, fact in self.facts.rows()]
        return _table(("fact", "value", "from"), rows)

    def _checks(self, card: Card) -> str:
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
            for step in self.steps
            for group, result in step.check.groups.items()
        ]
        return _table(head, rows)

    def _proofs(self, card: Card) -> str:
        moved = "earlier frames reversed" if card.online else "frames reversed"
        rows = [
            (
                step.file,
                step.name,
                f"{step.check.proof.input_effect:.2e}",
                f"{step.check.proof.order_effect:.2e}",
                f"{step.check.proof.order_expected:.2e}",
            )
            for step in self.steps
        ]
        return _table(("file", "step", "other clip", moved, "the same in torch"), rows)

    def _int8(self) -> str:
        """Return the section that compares precisions on clips kept back from calibration."""
        head = (
            *("file", "engine", "clips", "same top-1", "top-5 overlap", "cosine", "max abs"),
            *("mean |Δ probability|", "accuracy", "bytes", "ms", "status"),
        )
        kept = ", ".join(f"`{name}`" for name in self.float_layers) or "none"
        return (
            "## Float and int8\n\nOn clips that were not used for calibration. Float files, which "
            f"are proven to answer as the checkpoint does, answer {MOST_FLOAT_CLIPS} at most; in "
            "their accuracy its answers to the other clips count. The cosine is of logits without "
            "their mean over classes; ms is the median of one run on this machine's "
            f"CPU.\n\n{_table(head, list(map(_assessed, self.assessments)))}\n\n"
            f"Layers kept float: {kept}.\n\n"
            "![latency and agreement; what int8 changes of each clip](report.png)"
        )

    def _judged(self, labels: Sequence[str]) -> str:
        """Return the section that says why int8 is proven or not, and lists the flips."""
        head = (
            *("file", "engine", "clips that count", "alike", "flips within noise", "lost"),
            *("lost, 95 % bounds", "allowed", "drift on generated clips", "outcome"),
        )
        judged = [(a, a.judgment) for a in self.assessments if a.judgment]
        why = [
            f"- {a.file} on {a.engine}: {reason}" for a, found in judged for reason in found.reasons
        ]
        flips = [_flip(a, flip, labels) for a, found in judged for flip in found.flips]
        parts = [
            "## Is int8 as good?\n\nproven: it loses no more answers than allowed, with 95 % "
            "confidence. unproven: too few clips to tell. worse: it loses more; such a file is not "
            "in the bundle.",
            _table(head, [_judgment(a, found) for a, found in judged]),
        ]
        if why:
            parts.append("\n".join(why))
        if flips:
            parts.append(_table(("file", "engine", "clip", "f32", "int8", "margin", ""), flips))
        return "\n\n".join(parts)


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


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )
