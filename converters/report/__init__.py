"""What was found and measured, for machines (report.json) and people (report.md, report.html)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters.report.content import Report as Report
from converters.report.content import Step as Step
from converters.report.sections import lead, sections
from edge_tsm.bundle.card import Card
from edge_tsm.evaluation.page import render


def write_report(report: Report, bundle: Path, card: Card) -> None:
    """Write report.json, report.md and report.html into the bundle."""
    sizes = {p.name: p.stat().st_size for p in sorted(bundle.iterdir())}
    text = json.dumps(_data(report, card, sizes), indent=1, ensure_ascii=False, default=str)
    (bundle / "report.json").write_text(text + "\n", encoding="utf-8")
    shown, first = sections(report, card, sizes), lead(report, card)
    parts = [f"# {card.name}", "\n".join(first), *(section.markdown() for section in shown)]
    (bundle / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    (bundle / "report.html").write_text(render(card.name, first, shown), encoding="utf-8")


def _data(report: Report, card: Card, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return the content of report.json."""
    return {
        "checkpoint": report.checkpoint,
        "facts": {name: dataclasses.asdict(fact) for name, fact in report.facts.rows()},
        "steps": [dataclasses.asdict(step) for step in report.steps],
        "warnings": report.warnings,
        "verdicts": [dataclasses.asdict(found) for found in report.assessments],
        "float_layers": report.float_layers,
        "tools": card.provenance.tools,
        "bytes": sizes,
    }
