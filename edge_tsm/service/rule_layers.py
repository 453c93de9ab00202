"""Where a run's rules come from, layer by layer, and the file that changes of them go to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from edge_tsm.actions.rules import (
    PRESETS,
    RULES_FILE,
    RuleOverrides,
    Rules,
    Threshold,
    rule_keys,
    starting_rules,
)
from edge_tsm.errors import InputError
from edge_tsm.service.config import RunConfig, read_config

OriginKind = Literal["default", "preset", "bundle", "rules", "config", "option", "page", "trying"]
TargetKind = Literal["config", "rules", "bundle", "none"]
SCALARS = ("on", "off", "mean_answers", "decay_s", "min_duration_s", "cool_down_s")
_NAMES = tuple(field.name for field in fields(RuleOverrides))


@dataclass(frozen=True)
class Origin:
    """Where a value comes from: what kind of place, and its name."""

    kind: OriginKind = "default"
    where: str = ""


@dataclass(frozen=True)
class Target:
    """The file that rules are saved in, or the reason why there is none."""

    kind: TargetKind
    path: Path | None = None
    reason: str = ""


@dataclass(frozen=True)
class Ruling:
    """The rules of a run: those of all sources, and what differs for single ones."""

    shared: Rules = field(default_factory=Rules)
    own: Mapping[str, RuleOverrides] = field(default_factory=dict)

    def of(self, source: str | None) -> Rules:
        """Return the rules of a source; None: of all that have none of their own."""
        own = self.own.get(source) if source is not None else None
        return own.apply(self.shared) if own else self.shared

    def singles(self) -> dict[str, Rules]:
        """Return the rules of the sources that have some of their own."""
        return {source: self.of(source) for source, own in self.own.items() if own}


@dataclass(frozen=True)
class RuleLayers:
    """What a run's rules are made of, each layer over the one before.

    Args:
        bundle: the folder, whose `rules.toml` is the lowest layer.
        rules: a preset or a file instead of it.
        config: the run's file.
        options: what the command line says.
        from_config: whether it is the file that names the rules and the sources.
    """

    bundle: Path
    rules: str | None = None
    config: Path | None = None
    options: RuleOverrides = field(default_factory=RuleOverrides)
    from_config: bool = True

    def read(self) -> Ruling:
        """Return the rules as the files say now.

        Raises:
            InputError: a file cannot be read, or contradicts itself.
        """
        config = self._config()
        shared = self._merged(config).apply(starting_rules(self.bundle, self.rules))
        sources = config.sources if config and self.from_config else {}
        return Ruling(shared, {name: source.rules for name, source in sources.items()})

    def origins(self) -> dict[str, Origin]:
        """Return where each key of the shared rules comes from; of thresholds by label."""
        lowest = self._lowest_origin()
        preset = PRESETS.get(self.rules or "")
        found = dict.fromkeys(_given(preset), lowest) if preset else {}
        if lowest.kind in ("rules", "bundle"):
            for key in rule_keys(Path(lowest.where)):
                found[key] = lowest
        config = self._config()
        if config is not None:
            found |= dict.fromkeys(_keys(_actions(config)), Origin("config", str(self.config)))
        return found | {key: Origin("option", _option(key)) for key in _keys(self.options)}

    def target(self) -> Target:
        """Return the file that changes are saved in."""
        if self.config is not None:
            return _writable("config", self.config)
        if self.rules in PRESETS:
            reason = f"the rules are the preset {self.rules}; to save, name a file: --rules FILE"
            return Target("none", reason=reason)
        if self.rules is not None:
            return _writable("rules", Path(self.rules))
        return _writable("bundle", self.bundle / RULES_FILE)

    def in_place(self, path: Path) -> RuleLayers:
        """Return the layers with another file in the place of the target."""
        kind = self.target().kind
        return replace(self, config=path) if kind == "config" else replace(self, rules=str(path))

    def _config(self) -> RunConfig | None:
        return None if self.config is None else read_config(self.config)

    def _merged(self, config: RunConfig | None) -> RuleOverrides:
        given = _given(_actions(config)) if config else {}
        return RuleOverrides(**given | _given(self.options))

    def _lowest_origin(self) -> Origin:
        if self.rules in PRESETS:
            return Origin("preset", str(self.rules))
        if self.rules is not None:
            return Origin("rules", self.rules)
        own = self.bundle / RULES_FILE
        return Origin("bundle", str(own)) if own.is_file() else Origin()


def _actions(config: RunConfig) -> RuleOverrides:
    return RuleOverrides(**{name: getattr(config.actions, name) for name in _NAMES})


def _given(rules: RuleOverrides | Rules) -> dict[str, Any]:
    default = type(rules)()
    return {k: v for k, v in vars(rules).items() if v != getattr(default, k)}


def _keys(rules: RuleOverrides) -> Iterator[str]:
    given = _given(rules)
    thresholds: Mapping[str, Threshold] = given.pop("thresholds", {})
    yield from given
    yield from (threshold_key(label) for label in thresholds)


def threshold_key(label: str) -> str:
    """Return the key that the thresholds of a label have among origins."""
    return f"thresholds.{label}"


def _option(key: str) -> str:
    names = {"mean_answers": "mean", "decay_s": "decay", "ignored": "ignore"}
    name = "threshold" if key.startswith("thresholds.") else names.get(key, key)
    return "--" + name.removesuffix("_s").replace("_", "-")


def _writable(kind: TargetKind, path: Path) -> Target:
    """Return a target, if it can be replaced by a new file."""
    path = path.resolve()  # a link stays one: what it leads to is replaced
    if os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK)):
        return Target(kind, path)
    way_out = "" if kind == "config" else "; or name another one: --rules FILE"
    return Target("none", path, f"to save, {path} and its folder have to be writable{way_out}")


def has_place(ruling: Ruling, source: str, layers: RuleLayers) -> bool:
    """Return whether the run's file has a place for the rules of one source."""
    return layers.config is not None and source in ruling.own


def check_source(ruling: Ruling, source: str | None, layers: RuleLayers) -> None:
    """Refuse to save the rules of one source where no file has a place for them.

    Raises:
        InputError: says what to do.
    """
    if source is None or has_place(ruling, source, layers):
        return
    raise InputError(
        f"rules of {source} alone are kept in the run's file: start with --config FILE that has "
        f"[sources.{source}]"
    )
