"""What a scan found: the recordings, their answers, and the actions that rules make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_tsm.actions.replay import Replay
from edge_tsm.actions.rules import Rules
from edge_tsm.datatypes import Activation, Event
from edge_tsm.live.assembler import Pace
from edge_tsm.scanning.feeds import Answer


@dataclass(frozen=True, eq=False)
class Scanned:
    """One recording; times are seconds of its own.

    `answers` have the end of each window and the logits, (classes,). Of each of the `actions`,
    `start_s` is the end of the first window that speaks for it, `told_s` that of the one that ends
    it. `damage` says what of it cannot be decoded, `note` what else is odd, `error` why nothing of
    it could be read.
    """

    path: Path
    answers: Sequence[Answer] = ()
    actions: tuple[Event, ...] = ()
    duration_s: float = 0.0
    fps: float = 25.0
    damage: str = ""
    note: str = ""
    error: str = ""


@dataclass(frozen=True, eq=False)
class Timeline:
    """What a scan found, in the order of the recordings.

    `model` says what answered; `notes` tell of files that were left out; `scanned_s` seconds of
    video took `seconds`, without what an earlier run had answered.

    >>> Timeline("x", ("idle", "wave"), "softmax", Pace(2.0, 0.5), Rules()).speed
    0.0
    """

    model: str
    labels: tuple[str, ...]
    activation: Activation
    pace: Pace
    rules: Rules
    files: tuple[Scanned, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    scanned_s: float = 0.0

    @property
    def speed(self) -> float:
        """Seconds of video in a second."""
        return self.scanned_s / self.seconds if self.seconds else 0.0

    @property
    def actions(self) -> list[tuple[Path, Event]]:
        """All actions, with the recordings that they are in."""
        return [(file.path, event) for file in self.files for event in file.actions]

    @property
    def not_whole(self) -> list[Scanned]:
        """The recordings of which all or a part could not be read."""
        return [file for file in self.files if file.error or file.damage]

    def decided(self, rules: Rules) -> Timeline:
        """Return the timeline by other rules, from the same answers.

        Raises:
            InputError: the rules name a label that the model does not have.
        """
        rules.check(self.labels)
        files = tuple(
            replace(file, actions=decide(file.answers, rules, self.labels, self.activation))
            for file in self.files
        )
        return replace(self, rules=rules, files=files)


def decide(
    answers: Sequence[Answer], rules: Rules, labels: tuple[str, ...], activation: Activation
) -> tuple[Event, ...]:
    """Return the actions that rules find in the answers of one recording, in order of their ends.

    What is on at its end ends with it.
    """
    return tuple(Replay(answers, labels, activation).events(rules))
