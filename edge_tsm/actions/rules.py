"""The settings of decisions: thresholds, durations, classes; from a preset or a TOML file."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from edge_tsm.bundle.schema import Note, decode, did_you_mean, json_schema
from edge_tsm.errors import InputError

RULES_FILE = "rules.toml"  # in a bundle: how answers become actions unless someone says otherwise


@dataclass(frozen=True)
class Threshold:
    """Smoothed probability at which a class starts (`on`) and below which it ends (`off`).

    >>> Rules(thresholds={"stop": Threshold(on=0.9, off=0.6)}).thresholds["stop"].off
    0.6
    """

    on: float
    off: float


@dataclass(frozen=True)
class Rules:
    """How answers become actions.

    Args:
        on, off: thresholds of every class without its own in `thresholds` (label to Threshold).
        mean_answers: logits are averaged over this many answers (1: not at all).
        decay_s: instead, their exponential mean with this time constant (0: not).
        min_duration_s: an action is reported once it has lasted so long, with its true start.
        cool_down_s: an action that ended does not start again before.
        settle_answers: after a change, further ones are refused for this many answers.
        gap_s: seconds without an answer after which everything starts afresh.
        background: labels that mean "nothing": they compete, and end what is on.
        ignored: labels taken out before the softmax, as if the model did not have them.
        held: labels that change nothing: what is on stays on.

    Where each class has a probability of its own, they start and end one by one, and several may be
    on: a background label ends all, ignored and held ones never start.

    Raises:
        InputError: thresholds out of order, or a number out of range.

    >>> rules = Rules(on=0.7, off=0.5, mean_answers=3, background=("No gesture",))
    >>> rules.check(("Swipe", "No gesture"))
    >>> Rules(on=0.2, off=0.5)
    Traceback (most recent call last):
        ...
    edge_tsm.errors.InputError: thresholds: 0 <= off <= on <= 1 is needed, got on 0.2, off 0.5
    """

    on: float = 0.6
    off: float = 0.4
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    mean_answers: int = 1
    decay_s: float = 0.0
    min_duration_s: float = 0.0
    cool_down_s: float = 0.0
    settle_answers: int = 1
    gap_s: float = 5.0
    background: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    held: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pairs = {"": Threshold(self.on, self.off), **self.thresholds}
        for label, pair in pairs.items():
            if not 0 <= pair.off <= pair.on <= 1:
                where = f" of {label!r}" if label else ""
                raise InputError(
                    f"thresholds{where}: 0 <= off <= on <= 1 is needed, got "
                    f"on {pair.on:g}, off {pair.off:g}"
                )
        for name in ("mean_answers", "settle_answers"):
            if not 1 <= getattr(self, name) <= 10_000:
                raise InputError(f"{name} is {getattr(self, name)}; it must be 1 to 10000")
        for name in ("decay_s", "min_duration_s", "cool_down_s", "gap_s"):
            if not (0 <= getattr(self, name) < math.inf):
                raise InputError(f"{name} is {getattr(self, name)}; it must be 0 or more seconds")
        if self.decay_s and self.mean_answers > 1:
            raise InputError("mean_answers and decay_s are two ways of smoothing; set one")

    def indices(self, part: str, labels: tuple[str, ...]) -> frozenset[int]:
        """Return the classes of one of `background`, `ignored`, `held`.

        Raises:
            InputError: a label that the model does not have.
        """
        return frozenset(_index(label, labels, part) for label in getattr(self, part))

    def thresholds_of(
        self, labels: tuple[str, ...]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return `on` and `off` of every class, (classes,) float32 each."""
        if len(self.indices("ignored", labels)) == len(labels):
            raise InputError("ignored: names every label of the model")
        on = np.full(len(labels), self.on, np.float32)
        off = np.full(len(labels), self.off, np.float32)
        for label, pair in self.thresholds.items():
            index = _index(label, labels, "thresholds")
            on[index], off[index] = pair.on, pair.off
        return on, off

    def check(self, labels: tuple[str, ...]) -> None:
        """Refuse labels that the model does not have.

        Raises:
            InputError: names the label, and one that is spelled alike.
        """
        self.thresholds_of(labels)
        for part in ("background", "held"):
            self.indices(part, labels)


@dataclass(frozen=True)
class RuleOverrides:
    """What someone changes of rules; None, and what is empty, leaves them as they are."""

    on: Annotated[float, Note(minimum=0, maximum=1)] | None = None
    off: Annotated[float, Note(minimum=0, maximum=1)] | None = None
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    mean_answers: Annotated[int, Note(minimum=1)] | None = None
    decay_s: Annotated[float, Note(minimum=0)] | None = None
    min_duration_s: Annotated[float, Note(minimum=0)] | None = None
    cool_down_s: Annotated[float, Note(minimum=0)] | None = None
    background: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is changed."""
        return self != RuleOverrides()

    def apply(self, start: Rules) -> Rules:
        """Return the rules with the changes.

        A new `on` lowers an `off` that is above it, one way of smoothing replaces the other, and
        `thresholds` are added to those that there are.

        Raises:
            InputError: the changes contradict each other.

        >>> RuleOverrides(on=0.3).apply(Rules()).off
        0.3
        """
        given = {name: value for name, value in vars(self).items() if value not in (None, (), {})}
        if self.mean_answers is not None:
            given.setdefault("decay_s", 0.0)
        elif self.decay_s:
            given["mean_answers"] = 1
        if self.on is not None:
            given.setdefault("off", min(start.off, self.on))
        if self.thresholds:
            given["thresholds"] = {**start.thresholds, **self.thresholds}
        return replace(start, **given)


# The official demo (mit-han-lab/temporal-shift-module, online_demo/main.py): the argmax of the sum
# of 12 logits; five classes repeat what was; "Doing other things" counts as "No gesture"; a change
# is accepted when the last two entries of the history agree. Mended: the history starts settled
# (there the first change raises IndexError), and classes go by label, not by a position that holds
# in one order of the labels only.
PRESETS: dict[str, Rules] = {
    "jester-demo": Rules(
        on=0.0,
        off=0.0,
        mean_answers=12,
        settle_answers=2,
        background=("No gesture", "Doing other things"),
        held=(
            "Pulling Hand In",
            "Rolling Hand Backward",
            "Rolling Hand Forward",
            "Turning Hand Clockwise",
            "Turning Hand Counterclockwise",
        ),
    )
}


def read_rules(name: str) -> Rules:
    """Return a preset by its name, or what a TOML file says (`preset` in it is where it starts).

    Raises:
        InputError: no such preset or file, not TOML, or a key that is unknown or ill-typed.

    >>> read_rules("jester-demo").mean_answers
    12
    """
    if name in PRESETS:
        return PRESETS[name]
    return from_mapping(_read(name), where=name)


def rule_keys(path: Path) -> list[str]:
    """Return the keys that a file of rules gives; of thresholds as `thresholds.LABEL`.

    Raises:
        InputError: see `read_rules`.
    """
    data = _read(str(path))
    thresholds = data.pop("thresholds", {})
    preset = PRESETS.get(data.pop("preset", ""), Rules())
    given = [k for k, v in vars(preset).items() if v != getattr(Rules(), k)]
    return [*given, *data, *(f"thresholds.{label}" for label in thresholds)]


def _read(name: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib  # slow to import, and most runs read no file
    else:  # the same parser, before it came with Python
        import tomli as tomllib
    try:
        with Path(name).open("rb") as stream:
            return tomllib.load(stream)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: not TOML ({error})") from error
    except OSError as error:
        raise InputError(
            f"{name}: neither a preset ({', '.join(PRESETS)}) nor a readable file "
            f"({error.strerror})"
        ) from error


def starting_rules(bundle: Path, name: str | None = None) -> Rules:
    """Return the rules of that name, else those in the bundle, else the defaults.

    Raises:
        InputError: see `read_rules`.
    """
    own = bundle / RULES_FILE
    if name is None and not own.is_file():
        return Rules()
    return read_rules(name or str(own))


def write_rules(name: str, labels: tuple[str, ...], path: Path) -> None:
    """Write a preset, by its name, or a TOML file to `path`, if they suit a model's labels.

    Raises:
        InputError: see `read_rules`; labels that the model does not have.
    """
    read_rules(name).check(labels)
    preset = f'preset = "{name}"\n'
    path.write_text(preset if name in PRESETS else Path(name).read_text("utf-8"), encoding="utf-8")


def from_mapping(data: Mapping[str, Any], *, where: str) -> Rules:
    """Return the rules that parsed TOML describes; `where` names its origin in errors.

    Raises:
        InputError: a key that is unknown or ill-typed.

    >>> from_mapping({"preset": "jester-demo", "cool_down_s": 1}, where="rules.toml").cool_down_s
    1.0
    >>> from_mapping({"cool_down": 1}, where="rules.toml")
    Traceback (most recent call last):
    edge_tsm.errors.InputError: rules.toml: cool_down is unknown; did you mean 'cool_down_s'?
    """
    given = {key: value for key, value in data.items() if key != "preset"}
    try:
        return decode(Rules, given, "", InputError, start=_preset(data.get("preset", "")))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def rules_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a file of rules; `rules.schema.json` holds it."""
    schema = json_schema(Rules, uri="https://edge-tsm/rules.schema.json")
    start = {"enum": list(PRESETS), "description": "whose settings hold for the keys left out"}
    return schema | {"properties": {"preset": start, **schema["properties"]}}


def _preset(name: object) -> Rules:
    if name == "":
        return Rules()
    if not isinstance(name, str) or name not in PRESETS:
        raise InputError(f"preset is {name!r}; there is {', '.join(PRESETS)}")
    return PRESETS[name]


def _index(label: str, labels: tuple[str, ...], part: str) -> int:
    if label not in labels:
        raise InputError(f"{part}: the model has no label {label!r}{did_you_mean(label, labels)}")
    return labels.index(label)
