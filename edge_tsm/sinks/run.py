"""What a sink may know of the run that it belongs to, and may ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from edge_tsm.actions.rules import Rules
from edge_tsm.errors import InputError
from edge_tsm.inference.recognizer import Recognizer

OnEnabled = Callable[[str, bool], object]


@dataclass(frozen=True)
class RunFacts:
    """What does not change while it runs: nothing of it is a secret.

    Args:
        sources: ids of the live sources.
        labels: of the model's classes.
        actions: indices of the classes that may start, by the rules of any source.
        bundle, artifact, sha256, engine, device: which file of which model answers, and on what.
        version: of edge-tsm.
    """

    sources: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    actions: tuple[int, ...] = ()
    bundle: str = ""
    artifact: str = ""
    sha256: str = ""
    engine: str = ""
    device: str = ""
    version: str = ""

    @classmethod
    def of(
        cls,
        recognizer: Recognizer,
        sources: Iterable[str],
        rules: Iterable[Rules] = (),
        *,
        version: str = "",
    ) -> RunFacts:
        """Return the facts of a run of `recognizer`; `rules` are all that apply in it."""
        card, file = recognizer.card, recognizer.variant and recognizer.variant.file
        starting = set[int]()
        for one in rules:
            never = (one.indices(part, card.labels) for part in ("background", "ignored", "held"))
            starting |= set(range(len(card.labels))).difference(*never)
        return cls(
            tuple(sources),
            card.labels,
            tuple(sorted(starting)),
            bundle=card.name,
            artifact=file.path if file else "",
            sha256=file.sha256 if file else "",
            engine=recognizer.backend.engine,
            device=recognizer.backend.device,
            version=version,
        )


class Run(Protocol):
    """A run, for any thread."""

    @property
    def facts(self) -> RunFacts:
        """What does not change."""
        ...

    def enabled(self) -> Mapping[str, bool]:
        """Return for each source whether it is to be answered."""
        ...

    def enable(self, source: str, on: bool) -> None:
        """Take a source in or out while it runs; nothing happens where it is so already.

        Raises:
            InputError: there is none of that name, or it cannot be opened a second time.
        """
        ...

    def listen(self, on_enabled: OnEnabled) -> None:
        """Have a function called with (source, enabled) whenever that changes."""
        ...

    def figures(self) -> Mapping[str, Any]:
        """Return rates, states and delays since the last call, JSON-ready."""
        ...


class UnknownRun:
    """Stands for a run that a sink is told nothing of.

    >>> UnknownRun().enabled()
    {}
    """

    facts = RunFacts()

    def enabled(self) -> Mapping[str, bool]:
        """Return no source."""
        return {}

    def enable(self, source: str, on: bool) -> None:
        """Refuse."""
        raise InputError(f"{source}: sources of this run cannot be switched")

    def listen(self, on_enabled: OnEnabled) -> None:
        """Nothing changes."""

    def figures(self) -> Mapping[str, Any]:
        """Return none."""
        return {}
