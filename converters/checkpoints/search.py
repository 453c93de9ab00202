"""Finding the network in whatever a file holds: state dicts at any key, names after any prefix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from converters.architectures.classifier import COUNTER, empty, few, unfit
from converters.architectures.network import Network
from converters.architectures.shift import Shift
from converters.checkpoints.inert import Inert
from converters.checkpoints.keys import UNUSED, Reader, Tensors
from converters.checkpoints.pickles import array
from converters.checkpoints.reparametrized import join
from converters.recipe import Topology
from edge_tsm.errors import CheckpointError, InputError

Place = tuple[str, ...]
_MOST_LEVELS = 8  # of mappings in mappings
_MOST_SEGMENTS = 1024
_LARGE_PART = 0.25
_WEIGHTS = (".weight", ".bias", ".running_mean", ".running_var")
_SHOWN = 3  # names in a message
# Parts of a name (between dots and underscores) of what training leaves beside a network.
_TRAINING = re.compile(
    r"criteri(?:on|a)|loss(?:es)?|metrics?|accuracy|acc|auroc|confmat|confusion|averaged"
    r"|optim(?:izers?)?|schedulers?|scaler"
)
_NO_WEIGHTS = frozenset({"data_preprocessor", "num_updates", "n_averaged"})
# torch.ao's observers: what training with int8 in mind left beside the float weights.
_OBSERVER = re.compile(r"(?:\w+_)?fake_quant|activation_post_process")
_AVERAGED = re.compile(r"ema|avg|averaged?|swa|shadow|polyak")


@dataclass(frozen=True)
class StateDict:
    """Tensors that lie together: `place` are the keys to them, `odd` what is no usable tensor."""

    place: Place
    tensors: Tensors
    odd: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """A whole network that was found: where, what it is, and what lies beside it unused."""

    place: Place
    prefix: str
    topology: Topology
    tensors: Tensors
    unused: Sequence[str] = ()
    swapped: bool = False

    @property
    def where(self) -> str:
        """Describe where in the file it lies."""
        outer = ".".join(self.place)
        prefix = f"prefix {self.prefix}" if self.prefix else ""
        return ", ".join(part for part in (outer, prefix) if part) or "the file itself"

    @property
    def words(self) -> list[str]:
        """The names by which `--weights` chooses it."""
        return [part for part in (*self.place, *self.prefix.split(".")) if part]

    @property
    def averaged(self) -> bool:
        """Whether its names say that it is an average over training (EMA, SWA).

        mmengine's say the opposite: it saves the average as `state_dict`.
        """
        return self.swapped != any(_AVERAGED.fullmatch(word) for word in _split(self.words))


@dataclass(frozen=True)
class _Outline:
    """What names and shapes of a network's weights are made from."""

    network: Network
    classes: int
    segments: int
    shift: Shift | None = None
    batch: int = 1


class _NoFit(Exception):
    """Why names that a reader knows are no whole network, and how far it came."""

    def __init__(self, reason: CheckpointError, stage: int, share: float) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.progress = (share > _LARGE_PART, stage, share)


def _split(names: Iterable[str]) -> list[str]:
    """Return the words in names of keys: `model_ema` has two."""
    return [word for name in names for word in re.split(r"[_\W]+", name.lower())]


# --- what lies in a file -------------------------------------------------------------------------


def state_dicts(content: Any) -> list[StateDict]:
    """Return every collection of tensors in a file, the innermost first."""
    found: list[StateDict] = []
    _collect(content, (), found, set())
    return found


def _collect(value: Any, place: Place, found: list[StateDict], seen: set[int]) -> StateDict:
    """Collect below `value`; return its own tensors, named by what follows `place`."""
    own = StateDict(place, {}, {})
    if id(value) in seen or len(place) > _MOST_LEVELS:
        return own
    seen.add(id(value))
    odd: dict[str, str] = {}
    for name, item in _items(value):
        tensor = _as_tensor(item)
        if tensor is None and name.endswith(_WEIGHTS):
            kind = item.name if isinstance(item, Inert) else type(item).__name__
            tensor = f"is {kind}, not a tensor"
        if isinstance(tensor, str):
            odd[name] = tensor
        elif tensor is not None:
            own.tensors[name] = tensor
        else:
            inner = _collect(item, (*place, name), found, seen)
            own.tensors.update({f"{name}.{n}": t for n, t in inner.tensors.items()})
            if inner.tensors:
                odd |= {f"{name}.{n}": text for n, text in inner.odd.items()}
    tensors, in_parts = join({n: t for n, t in own.tensors.items() if not n.endswith(COUNTER)})
    whole = StateDict(place, tensors, odd | in_parts)
    if tensors:
        found.append(whole)
    return whole


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Inert):
        value = value.entries
    pairs = enumerate(value) if isinstance(value, list | tuple) else ()
    if isinstance(value, Mapping):
        pairs = ((k, v) for k, v in value.items() if isinstance(k, str | int))  # type: ignore[assignment]
    return ((str(name), item) for name, item in pairs)


def _as_tensor(value: Any) -> Tensor | str | None:
    """Return a tensor, a description of one that cannot be used, or None for anything else."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        value = value[1]  # Paddle's pair of name and array
    if isinstance(value, Inert):
        value = array(value)
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value))
    if not isinstance(value, Tensor):
        return None
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        return "is sparse, quantized or empty; pass float weights"
    return value


# --- which of it is a network --------------------------------------------------------------------

Attempt = Callable[[Reader, Tensors], tuple[Topology, Tensors]]


def find_networks(content: Any, readers: Iterable[Reader], read: Attempt) -> list[Fit]:
    """Return every whole network in a file; none is part of another.

    Args:
        content: what the file holds.
        readers: the code bases, in order of trust.
        read: calls a reader on tensors without prefix.

    Raises:
        CheckpointError: there is none; it says what was found instead.
    """
    found = state_dicts(content)
    fits: list[Fit] = []
    failures: list[_NoFit] = []
    for state in found:
        if not any(fit.place[: len(state.place)] == state.place for fit in fits):
            fits += _fits(state, list(readers), read, failures)
    if fits:
        return _distinct([replace(fit, swapped=_is_mmengines(content)) for fit in fits])
    if failures:
        raise max(failures, key=lambda failure: failure.progress).reason
    raise CheckpointError(_nothing(content, found, readers))


def _fits(
    state: StateDict, readers: Sequence[Reader], read: Attempt, failures: list[_NoFit]
) -> Iterator[Fit]:
    known = [
        (prefix, reader)
        for prefix in _prefixes(state.tensors)
        for reader in readers
        if reader.recognizes(_below(state.tensors, prefix))
    ]
    taken: list[str] = []
    for prefix, reader in known:
        if any(prefix.startswith(done) for done in taken):
            continue
        others = _others(prefix, [other for other, _ in known], state.tensors)
        try:
            fit = _fit(state, prefix, others, partial(read, reader))
        except _NoFit as failure:
            failures.append(failure)
        else:
            taken.append(prefix)
            yield fit


def _prefixes(names: Iterable[str]) -> list[str]:
    """Return what may precede a network's names, the shortest first."""
    found = {""}
    for name in names:
        parts = name.split(".")
        found |= {".".join(parts[:count]) + "." for count in range(1, len(parts))}
    return sorted(found, key=lambda prefix: (prefix.count("."), prefix))


def _below(names: Tensors, prefix: str) -> Tensors:
    return {n[len(prefix) :]: t for n, t in names.items() if n.startswith(prefix)}


def _others(prefix: str, known: Iterable[str], names: Tensors) -> set[str]:
    """Return what precedes the names of networks that are neither part nor whole of this one.

    What has far fewer weights is no other network, but a layer that may be part of this one.
    """
    found, least = set(), _LARGE_PART * len(_below(names, prefix))
    for other in known:
        apart = not (other.startswith(prefix) or prefix.startswith(other))
        if apart and len(_below(names, other)) > least:
            common = _common(prefix, other)
            found.add(common + other[len(common) :].split(".")[0] + ".")
    return found


def _common(one: str, other: str) -> str:
    """Return the dotted parts that two prefixes share."""
    parts = []
    for a, b in zip(one.split("."), other.split("."), strict=False):
        if a != b:
            break
        parts.append(a)
    return "".join(f"{part}." for part in parts if part)


def _fit(
    state: StateDict,
    prefix: str,
    others: set[str],
    read: Callable[[Tensors], tuple[Topology, Tensors]],
) -> Fit:
    for name, text in state.odd.items():
        if not (name.startswith(tuple(others)) or _is_trainings(name)):
            raise _NoFit(CheckpointError(f"{name} {text}"), 2, 1)
    beside = [name for name in state.tensors if not name.startswith((prefix, *others))]
    names = _below(state.tensors, prefix)
    share = len(names) / len(state.tensors)
    for name in beside:
        shorter = name[len(_common(prefix, name)) :]
        if shorter in names:
            raise _NoFit(_duplicate(prefix, name), 2, share)
        names[shorter] = state.tensors[name]
    try:
        topology, canonical = read(names)
    except CheckpointError as error:
        raise _NoFit(error, 0, share) from error
    try:
        tensors, unused = _whole(topology, canonical)
    except CheckpointError as error:
        raise _NoFit(error, 1, share) from error
    return Fit(state.place, prefix, topology, tensors, [*unused, *sorted(others)])


def _duplicate(prefix: str, name: str) -> CheckpointError:
    inner = prefix[len(_common(prefix, name)) :]
    return CheckpointError(f"duplicate weights, with and without `{inner}`")


def _whole(topology: Topology, canonical: Tensors) -> tuple[Tensors, list[str]]:
    """Return the tensors of a network that is whole, and the names of what is none of it.

    Raises:
        CheckpointError: tensors are missing, have other shapes, or no place in the network.
    """
    model = empty(_Outline(topology.network, topology.classes, _segments(topology)))
    problems, unexpected = unfit(model, canonical)
    strangers = [name for name in unexpected if not _is_trainings(name)]
    unused = [name.removeprefix(UNUSED) for name in unexpected if name not in strangers]
    if strangers:
        problems.append(f"unexpected: {few(strangers)}")
    if problems:
        raise CheckpointError(
            f"the weights do not fit the network ({topology.network.name}). {'; '.join(problems)}"
        )
    return {name: t for name, t in canonical.items() if name not in unexpected}, unused


def _segments(topology: Topology) -> int:
    """Return the segments, by which the size of a temporal attention goes."""
    stated = (values.get("segments") for _, values in topology.hints)
    return next((n for n in stated if isinstance(n, int) and 0 < n < _MOST_SEGMENTS), 8)


def _is_trainings(name: str) -> bool:
    """Return whether a tensor belongs to training, not to what the network answers."""
    parts = name.removeprefix("backbone.").split(".")
    known = name.startswith(UNUSED) or not _NO_WEIGHTS.isdisjoint(parts)
    known |= any(_OBSERVER.fullmatch(part) for part in parts)
    return known or any(_TRAINING.fullmatch(word) for word in _split(parts))


# --- which network is meant ----------------------------------------------------------------------


def _distinct(fits: Sequence[Fit]) -> list[Fit]:
    """Leave out networks that are the same numbers once more."""
    kept: list[Fit] = []
    for fit in fits:
        if not any(_same(fit.tensors, other.tensors) for other in kept):
            kept.append(fit)
    return kept


def _is_mmengines(content: Any) -> bool:
    meta = content.get("meta") if isinstance(content, Mapping) else None
    return isinstance(meta, Mapping) and "mmengine_version" in meta


def _same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def choose(fits: Sequence[Fit], weights: str | None) -> Fit:
    """Return the only network, or the one that the user names.

    Args:
        fits: the networks found.
        weights: a key, a prefix or part of either; `ema` and `raw` say averaged or not.

    Raises:
        CheckpointError: there are several, and nothing says which.
        InputError: `weights` names none of them, or several.
    """
    if weights is None:
        if len(fits) == 1:
            return fits[0]
        raise CheckpointError(
            f"holds {len(fits)} networks with different weights: {_offers(fits)}; choose with "
            f"--weights {'|'.join(_short_names(fits))}"
        )
    matching = [fit for fit in fits if _is_meant(fit, weights)]
    if len(matching) == 1:
        return matching[0]
    many = "several of these" if matching else "none of these"
    raise InputError(f"--weights {weights} names {many}: {_offers(fits)}")


def _is_meant(fit: Fit, weights: str) -> bool:
    if weights in ("ema", "raw"):
        return fit.averaged == (weights == "ema") or weights in fit.words
    return weights in (fit.where, ".".join(fit.place), fit.prefix, *fit.words)


def _offers(fits: Sequence[Fit]) -> str:
    names = _short_names(fits)
    return ", ".join(f"{name} ({fit.where})" for name, fit in zip(names, fits, strict=True))


def _short_names(fits: Sequence[Fit]) -> list[str]:
    """Return for each network the first word that names it alone."""
    names = []
    for fit in fits:
        words = ["ema" if fit.averaged else "raw", *fit.words, fit.where]
        alone = (word for word in words if sum(_is_meant(other, word) for other in fits) == 1)
        names.append(next(alone, fit.where))
    return names


# --- what to say where there is none -------------------------------------------------------------


def _nothing(content: Any, found: Sequence[StateDict], readers: Iterable[Reader]) -> str:
    """Say what was found, what was expected, and the way out."""
    module = _pickled_module(content)
    if module is not None:
        return (
            f"holds a whole pickled module ({module}), whose code edge-tsm does not run: in its "
            "project run torch.save(model.state_dict(), 'weights.pth') and pass that file"
        )
    if not found:
        kind = (
            f"the keys are {', '.join(map(str, content))[:80]!r}"
            if _is_mapping(content)
            else (f"it holds {type(content).__name__}")
        )
        return f"holds no tensors; {kind}: pass what torch.save(model.state_dict(), …) writes"
    names = list(max(found, key=lambda state: len(state.tensors)).tensors)
    if any("lora_" in name or ".adapter" in name for name in names):
        return (
            f"holds an adapter (LoRA: {names[0]}), not a network: merge it into its network "
            "(merge_and_unload), and pass that one's state dict"
        )
    if any(name.endswith(("exp_avg", "exp_avg_sq", "momentum_buffer")) for name in names):
        return (
            f"holds an optimizer's state ({names[0]}), and no network: pass the file with the "
            "weights, torch.save(model.state_dict(), …)"
        )
    expected = "; ".join(f"{reader.name}: {reader.example}" for reader in readers if reader.example)
    return (
        f"no TSM network is known with names like {', '.join(names[:_SHOWN])}; names of networks "
        f"that are known are, after any prefix, {expected}"
    )


def _is_mapping(content: Any) -> bool:
    return isinstance(content, Mapping) and bool(content)


def _pickled_module(content: Any, levels: int = 3) -> str | None:
    """Return the class of a pickled torch module in a file."""
    if isinstance(content, Inert) and "_modules" in content.fields:
        return content.name
    if levels and isinstance(content, Mapping | list | tuple):
        inner = content.values() if isinstance(content, Mapping) else content
        found = (_pickled_module(value, levels - 1) for value in list(inner)[:64])
        return next((name for name in found if name), None)
    return None
