"""Further engines that a bundle can hold a file for, and those that were tried and refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib.util import find_spec

from edge_tsm.backends import ENGINES, installed
from edge_tsm.errors import ConversionError

# Names in ENGINES, with what else writing takes: packages by the module that is looked for.
TARGETS: dict[str, dict[str, str]] = {"mnn": {}, "litert": {"litert_torch": "litert-torch"}}
REFUSED = {
    "ncnn": "of its converter (pnnx 20261020) come graphs that crash on clips, where the shift "
    "takes the batch apart, and err by half the range of the logits online",
}


def check_targets(names: Iterable[str]) -> None:
    """Refuse what cannot be written here, before minutes of work.

    Raises:
        ConversionError: a name that is unknown or refused, or an engine that is not installed.
    """
    for name in names:
        if name in REFUSED:
            raise ConversionError(f"no file for {name} is written: {REFUSED[name]}")
        if name not in TARGETS:
            near = difflib.get_close_matches(name, TARGETS, 1)
            hint = f"did you mean {near[0]}" if near else f"there is {', '.join(TARGETS)}"
            raise ConversionError(f"target {name!r} is unknown; {hint}")
        needed = {} if installed(name) else {name: f"'{ENGINES[name].install}'"}
        needed |= {m: p for m, p in TARGETS[name].items() if find_spec(m) is None}
        if needed:
            packages = " ".join(needed.values())
            raise ConversionError(
                f"target {name} needs what is not installed: pip install {packages}"
            )
