"""A conversion's facts, steps, measurements and warnings."""

from __future__ import annotations

from dataclasses import dataclass

from converters.facts import Facts
from converters.quantization.holdout import Assessment
from converters.verification.reference import Check


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
