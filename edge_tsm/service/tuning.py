"""Rules changed while a run goes on: tried on the past, for a while, and for good."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from edge_tsm.actions.rules import RuleOverrides, Rules, Threshold
from edge_tsm.bundle.schema import decode
from edge_tsm.datatypes import iso
from edge_tsm.errors import InputError
from edge_tsm.service.preview import Past
from edge_tsm.service.rule_file import difference, edited, replace_text, text_of
from edge_tsm.service.rule_layers import (
    SCALARS,
    Origin,
    RuleLayers,
    Ruling,
    Target,
    check_source,
    has_place,
    threshold_key,
)
from edge_tsm.service.running import Running
from edge_tsm.system.files import temporary_beside

MOST_HISTORY = 20
SHOWN = ("background", "ignored", "held", "settle_answers", "gap_s")


@dataclass(frozen=True)
class Changes:
    """What is changed of rules, each value written out; a threshold of None goes."""

    scalars: Mapping[str, Any] = field(default_factory=dict)
    thresholds: Mapping[str, Threshold | None] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: Mapping[str, Any], start: Rules) -> Changes:
        """Read what someone asks for, of the rules that are to be changed.

        Raises:
            InputError: a key that is unknown, ill-typed or out of range.

        >>> Changes.parse({"on": 0.3}, Rules()).scalars
        {'on': 0.3, 'off': 0.3}
        """
        data = dict(data)
        pairs = data.pop("thresholds", {})
        if not isinstance(pairs, dict):
            raise InputError("changes: thresholds is a table of labels")
        dropped = dict.fromkeys(label for label, pair in pairs.items() if pair is None)
        kept = {label: pair for label, pair in pairs.items() if pair is not None}
        if unknown := set(data) - set(SCALARS):
            raise InputError(f"changes: {min(unknown)!r:.40} is unknown")
        given = decode(RuleOverrides, {**data, "thresholds": kept}, "changes", InputError)
        after = given.apply(start)
        scalars = {k: getattr(after, k) for k in SCALARS}
        wanted = {k: v for k, v in scalars.items() if k in data or v != getattr(start, k)}
        return cls(wanted, {**given.thresholds, **dropped})

    @property
    def keys(self) -> list[str]:
        """What is changed; of thresholds by label."""
        return [*self.scalars, *map(threshold_key, self.thresholds)]

    def of_rules(self, rules: Rules) -> Rules:
        """Return rules with the changes."""
        return replace(rules, **self.scalars, thresholds=self._merged(rules.thresholds))

    def of_overrides(self, own: RuleOverrides) -> RuleOverrides:
        """Return what differs for a source, with the changes."""
        return replace(own, **self.scalars, thresholds=self._merged(own.thresholds))

    def over(self, shared: Rules, after: Rules) -> Changes:
        """Return them for one source: what goes there, and all have, is written over."""
        general = Threshold(after.on, after.off)
        written = {
            label: general if pair is None and label in shared.thresholds else pair
            for label, pair in self.thresholds.items()
        }
        return replace(self, thresholds=written)

    def of_ruling(self, ruling: Ruling, source: str | None) -> Ruling:
        """Return all rules, those of one source, or of those without their own, changed."""
        if source is None:
            return replace(ruling, shared=self.of_rules(ruling.shared))
        own = self.of_overrides(ruling.own.get(source, RuleOverrides()))
        return replace(ruling, own={**ruling.own, source: own})

    def _merged(self, thresholds: Mapping[str, Threshold]) -> dict[str, Threshold]:
        merged = {**thresholds, **self.thresholds}
        return {label: pair for label, pair in merged.items() if pair is not None}


@dataclass(frozen=True)
class Saved:
    """What a save, or an undo, did to a file."""

    file: Path
    backup: Path
    diff: str
    overridden: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Step:
    """One save that can be undone: what was before, and what the file says since."""

    ruling: Ruling
    saved_keys: frozenset[tuple[str | None, str]]
    text_before: str
    text_after: str


@dataclass(frozen=True)
class _Trial:
    ruling: Ruling
    source: str | None
    keys: tuple[str, ...]
    until_s: float


class ConflictError(InputError):
    """It cannot be done as things are now."""


class RuleBook:
    """The rules of a run as people operate them; for any thread.

    Args:
        layers: where they come from.
        running: the run, with the answers of the past and what was said of events.
        now: monotonic seconds.
    """

    def __init__(
        self,
        layers: RuleLayers,
        running: Running,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._layers, self._running, self._store = layers, running, running.store
        self._labels = running.labels
        self._now, self._lock = now, threading.RLock()
        self._previewing = threading.Lock()  # one at a time: each takes a core for a while
        self._ruling, self._origins = layers.read(), layers.origins()
        self._ruled = self._sources()  # those that have been told of the rules
        self._saved_keys = frozenset[tuple[str | None, str]]()
        self._trial: _Trial | None = None
        self._history: list[_Step] = []
        self._past = Past(
            running.store, self._labels, running.recognizer.card.output.activation, now=now
        )

    def rules_of(self, source: str | None) -> Rules:
        """Return the rules that a source is decided by now; None: those of all the others."""
        with self._lock:
            return (self._trial.ruling if self._trial else self._ruling).of(source)

    def record(self) -> dict[str, Any]:
        """Return the rules, where they come from, and what can be done, JSON-ready."""
        with self._lock:
            named, target = self._sources(), self._layers.target()
            shared = [name for name in named if name not in self._singles()]
            scopes = [self._scope(None, shared)]
            scopes += [self._scope(name, [name]) for name in named if name in self._singles()]
            return {
                "scopes": scopes,
                "history": len(self._history),
                "target": self._target_record(target),
                "limits": self._limits(),
            }

    def _target_record(self, target: Target) -> dict[str, Any]:
        single = [one for one in self._sources() if has_place(self._ruling, one, self._layers)]
        return {
            "kind": target.kind,
            "file": target.path.name if target.path else "",
            "writable": target.kind != "none",
            "reason": target.reason,
            "cameras": single,
        }

    def _sources(self) -> tuple[str, ...]:
        return self._running.pipeline.sources

    def _singles(self) -> dict[str, Rules]:
        return (self._trial.ruling if self._trial else self._ruling).singles()

    def _limits(self) -> dict[str, Any]:
        log = self._store.logits
        oldest = log.oldest_utc_s()
        since = None if oldest is None else datetime.fromtimestamp(oldest, timezone.utc)
        return {"hours": log.limits.most_age_s / 3600, "since_utc": iso(since)}

    # --- what would be ---

    def preview(
        self,
        source: str | None,
        data: Mapping[str, Any],
        *,
        hours: float = 1.0,
        labels: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Decide stored answers by the rules that hold, and by changed ones; JSON-ready.

        Args:
            source: whose rules; None: of all without some of their own.
            data: what is changed.
            hours: of answers.
            labels: classes whose smoothed scores are returned.

        Raises:
            InputError: changes or labels that cannot be.
        """
        unknown = [label for label in labels if label not in self._labels]
        if unknown:
            raise InputError(f"labels: the model has no label {unknown[0]!r:.80}")
        with self._lock:
            ruling = self._ruling
            changed = self._changes(source, data).of_ruling(ruling, source)
        watched = [self._labels.index(label) for label in labels]
        with self._previewing:
            return self._past.compare(ruling, changed, hours=hours, watched=watched)

    def _changes(self, source: str | None, data: Mapping[str, Any]) -> Changes:
        if source is not None and source not in self._sources():
            raise InputError(f"there is no camera {source!r:.80}")
        start = self._ruling.of(source)
        changes = Changes.parse(data, start)
        after = changes.of_rules(start)
        after.check(self._labels)
        return changes if source is None else changes.over(self._ruling.shared, after)

    # --- what is done ---

    def attempt(self, source: str | None, data: Mapping[str, Any], *, seconds: float) -> None:
        """Decide by changed rules for so many seconds; `expire` ends that.

        Raises:
            InputError: changes that cannot be.
        """
        with self._lock:
            changes = self._changes(source, data)
            ruling = changes.of_ruling(self._ruling, source)
            self._rule(ruling)
            keys = tuple(changes.keys)
            self._trial = _Trial(ruling, source, keys, self._now() + seconds)

    def revert(self) -> bool:
        """End what is tried; return whether there was anything."""
        with self._lock:
            if self._trial is None:
                return False
            self._trial = None
            self._rule(self._ruling)
            return True

    def expire(self) -> bool:
        """End what is tried, if its time is over; return whether it was.

        A source that was added meanwhile is decided by the rules that hold now.
        """
        with self._lock:
            if self._sources() != self._ruled:
                self._rule(self._trial.ruling if self._trial else self._ruling)
            over = self._trial is not None and self._now() >= self._trial.until_s
            return over and self.revert()

    def save(self, source: str | None, data: Mapping[str, Any], *, dry_run: bool = False) -> Saved:
        """Decide by changed rules from now on, and after a restart; what is tried ends.

        With `dry_run` nothing is changed: what is returned is what would be.

        Raises:
            ConflictError: there is no file to save them in.
            InputError: changes that cannot be.
            SinkError: the file cannot be written.
        """
        with self._lock:
            changes, target = self._changes(source, data), self._target(source)
            assert target.path is not None
            before = text_of(target.path)
            wanted = changes.of_ruling(self._ruling, source)
            text = self._text(before, source, changes, wanted)
            overridden = self._overridden(text, source, changes, wanted)
            saved = replace(_saved(target.path, before, text), overridden=overridden)
            if dry_run:
                return saved
            _write(saved, before, text)
            step = _Step(self._ruling, self._saved_keys, before, text)
            self._history = [*self._history, step][-MOST_HISTORY:]
            self._saved_keys |= {(source, key) for key in changes.keys}
            self._ruling, self._trial = wanted, None
            self._rule(wanted)
            return saved

    def undo(self, *, dry_run: bool = False) -> Saved:
        """Take back the last save of this run; see `save`.

        Raises:
            ConflictError: there is none, or someone else has changed the file since.
            SinkError: the file cannot be written.
        """
        with self._lock:
            if not self._history:
                raise ConflictError("there is nothing to undo")
            step, path = self._history[-1], self._layers.target().path
            if path is None or text_of(path) != step.text_after:
                raise ConflictError("the file was changed by someone else since; nothing is undone")
            saved = _saved(path, step.text_after, step.text_before)
            if dry_run:
                return saved
            _write(saved, step.text_after, step.text_before)
            self._history.pop()
            self._ruling, self._saved_keys, self._trial = step.ruling, step.saved_keys, None
            self._rule(self._ruling)
            return saved

    def _target(self, source: str | None) -> Target:
        target = self._layers.target()
        if target.path is None or target.kind == "none":
            raise ConflictError(target.reason)
        try:
            check_source(self._ruling, source, self._layers)
        except InputError as error:
            raise ConflictError(str(error)) from error
        return target

    def _text(self, before: str, source: str | None, changes: Changes, wanted: Ruling) -> str:
        """Return what the file is to say; a threshold of a lower layer is written over."""
        table = self._table(source)
        text = edited(before, table, changes.scalars, changes.thresholds)
        rules, reread = wanted.of(source), self._reread(text).of(source)
        general = Threshold(rules.on, rules.off)
        kept = {
            label: general
            for label, pair in changes.thresholds.items()
            if pair is None and label in reread.thresholds
        }
        return edited(text, table, {}, kept) if kept else text

    def _overridden(
        self, text: str, source: str | None, changes: Changes, wanted: Ruling
    ) -> tuple[str, ...]:
        """Return what the next start would decide by others, as options go before a file."""
        then, now = self._reread(text).of(source), wanted.of(source)
        then.check(self._labels)
        return tuple(key for key in changes.scalars if getattr(then, key) != getattr(now, key))

    def _reread(self, text: str) -> Ruling:
        """Return the rules of a start with such a file."""
        target = self._layers.target()
        assert target.path is not None
        temporary = temporary_beside(target.path)
        try:
            temporary.write_text(text, encoding="utf-8")
            return self._layers.in_place(temporary).read()
        finally:
            temporary.unlink(missing_ok=True)

    def _table(self, source: str | None) -> tuple[str, ...]:
        if self._layers.config is None:
            return ()
        return ("actions",) if source is None else ("sources", source, "rules")

    def _rule(self, ruling: Ruling) -> None:
        self._ruled = self._sources()
        self._running.pipeline.change_rules(ruling.shared, ruling.singles())

    # --- what is shown ---

    def _scope(self, source: str | None, cameras: list[str]) -> dict[str, Any]:
        rules, trial = self.rules_of(source), self._trial
        trying = None
        if trial is not None and trial.source == source:
            left_s = max(trial.until_s - self._now(), 0.0)
            until = datetime.now(timezone.utc) + timedelta(seconds=left_s)
            trying = {"until_utc": iso(until), "left_s": round(left_s, 1)}

        def value(key: str, content: Any) -> dict[str, Any]:
            origin = self._origin(source, key)
            where = Path(origin.where).name if origin.kind != "option" else origin.where
            return {"value": content, "origin": origin.kind, "where": where}

        values = {key: value(key, getattr(rules, key)) for key in (*SCALARS, *SHOWN)}
        thresholds = {
            label: value(threshold_key(label), {"on": pair.on, "off": pair.off})
            for label, pair in rules.thresholds.items()
        }
        return {
            "camera": source,
            "cameras": cameras,
            "values": {**values, "thresholds": thresholds},
            "trying": trying,
        }

    def _origin(self, source: str | None, key: str) -> Origin:
        for scope in dict.fromkeys((source, None)):
            if self._trial and self._trial.source == scope and key in self._trial.keys:
                return Origin("trying")
            if (scope, key) in self._saved_keys:
                return Origin("page", str(self._layers.target().path or ""))
            if scope is not None and self._is_own(scope, key):
                return Origin("config", str(self._layers.config or ""))
        return self._origins.get(key, Origin())

    def _is_own(self, source: str, key: str) -> bool:
        own = self._ruling.own.get(source)
        if own is None:
            return False
        label = key.removeprefix(threshold_key(""))
        if label != key:
            return label in own.thresholds
        return getattr(own, key, None) not in (None, ())


def _saved(path: Path, before: str, after: str) -> Saved:
    backup = path.with_name(f"{path.name}.bak")
    return Saved(path, backup, difference(before, after, path.name))


def _write(saved: Saved, before: str, after: str) -> None:
    if saved.file.exists():
        replace_text(saved.backup, before)
    replace_text(saved.file, after)
