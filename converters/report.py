"""What was found and measured, for machines (report.json) and for people (report.md)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.quantization.holdout import Verdict
from converters.recipe import Fact
from converters.verification.reference import Check
from edge_tsm.bundle.card import Card
from edge_tsm.evaluation.charts import Bar, latency_chart


@dataclass(frozen=True)
class Step:
    """One conversion step: its file, how long it took, what the check said."""

    name: str
    file: str
    seconds: float
    check: Check


@dataclass(frozen=True)
class Report:
    """Everything a conversion can tell about itself."""

    checkpoint: str
    facts: Mapping[str, Fact]
    steps: tuple[Step, ...]
    warnings: tuple[str, ...]
    verdicts: tuple[Verdict, ...] = ()
    float_layers: tuple[str, ...] = ()

    def write(self, bundle: Path, card: Card) -> None:
        """Write report.json and report.md into the bundle, with int8 also report.png."""
        sizes = {p.name: p.stat().st_size for p in sorted(bundle.iterdir())}
        data = {**dataclasses.asdict(self), "tools": card.provenance.tools, "bytes": sizes}
        text = json.dumps(data, indent=1, ensure_ascii=False, default=str)
        (bundle / "report.json").write_text(text + "\n", encoding="utf-8")
        (bundle / "report.md").write_text(self._markdown(card, sizes), encoding="utf-8")
        if self.verdicts:
            bars = [
                Bar(f"{v.file}, {v.engine}", v.latency_ms, v.top1_agreement, v.precision == "int8")
                for v in self.verdicts
                if v.target == "any"
            ]
            clips = self.verdicts[0].clips
            told = f"{card.name}: one run on this CPU, top-1 agreement on {clips} clips kept back"
            latency_chart(bars, told).save(bundle / "report.png")

    def _markdown(self, card: Card, sizes: Mapping[str, int]) -> str:
        facts = [(name, str(fact.value), fact.source) for name, fact in self.facts.items()]
        checks = [
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
        proofs = [
            (
                step.file,
                step.name,
                f"{step.check.proof.input_effect:.2e}",
                f"{step.check.proof.order_effect:.2e}",
                f"{step.check.proof.order_expected:.2e}",
            )
            for step in self.steps
        ]
        shape, moved = "x".join(map(str, card.input.shape)), "frames reversed"
        takes, what = f"Input {shape}, channel index `t*3 + c`", "clips"
        if card.online:
            takes, what = f"One frame {shape} and {len(card.state)} caches per step", "frames"
            moved = "earlier frames reversed"
        parts = [
            f"# {card.name}\n\nFrom `{self.checkpoint}` "
            f"(SHA-256 {card.provenance.checkpoint_sha256}).\n{takes}; "
            f"{len(card.labels)} classes.",
            "## What it is\n\n" + _table(("fact", "value", "from"), facts),
            "## Against the checkpoint in torch\n\nDifferences of logits, as they are and as a "
            "share of the range of the reference's logits.\n\n"
            + _table(
                ("file", "step", "group", what, "max abs", "max rel", "allowed", "same top-1"),
                checks,
            ),
            "## Does time reach the answer?\n\nShare of the logit range by which the answer "
            "moves.\n\n"
            + _table(("file", "step", "other clip", moved, "the same in torch"), proofs),
            "## Files\n\n" + _table(("file", "bytes"), [(n, f"{s:,}") for n, s in sizes.items()]),
            "## Made with\n\n" + _table(("tool", "version"), list(card.provenance.tools.items())),
        ]
        if self.verdicts:
            parts.insert(3, self._int8())
        if self.warnings:
            parts.insert(1, "## Warnings\n\n" + "\n".join(f"- {text}" for text in self.warnings))
        return "\n\n".join(parts) + "\n"

    def _int8(self) -> str:
        """Return the section that compares precisions on clips kept back from calibration."""
        head = (
            *("file", "engine", "clips", "same top-1", "top-5 overlap", "cosine", "max abs"),
            *("mean |Δ probability|", "accuracy", "bytes", "ms", "status"),
        )
        rows = [
            (
                v.file,
                v.engine,
                str(v.clips),
                f"{v.top1_agreement:.1%}",
                f"{v.top5_agreement:.1%}",
                f"{v.cosine:.5f}",
                f"{v.max_abs_diff:.2e}",
                f"{v.mean_probability_diff:.4f}",
                "" if v.accuracy is None else f"{v.accuracy:.1%}",
                f"{v.bytes:,}",
                f"{v.latency_ms:.1f}",
                v.status,
            )
            for v in self.verdicts
        ]
        kept = ", ".join(f"`{name}`" for name in self.float_layers) or "none"
        return (
            "## Float and int8\n\nOn clips that were not used for calibration; ms is the median of "
            f"one run on this machine's CPU.\n\n{_table(head, rows)}\n\n"
            f"Layers kept float: {kept}.\n\n![latency and agreement](report.png)"
        )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )
