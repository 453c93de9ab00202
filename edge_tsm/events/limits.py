"""How much is kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How much a store keeps; the oldest events go first, with their media and what was untold.

    >>> Limits(most_events=10).most_age_s is None
    True
    """

    most_events: int = 10_000
    most_age_s: float | None = None
