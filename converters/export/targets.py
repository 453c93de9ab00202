"""Further engines that a bundle can hold a file for, and those that were tried and refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from edge_tsm.backends import ENGINES, installed
from edge_tsm.errors import ConversionError

TARGETS = ("mnn",)  # names in ENGINES
REFUSED = {
    "ncnn": "its converter (pnnx 20261020) makes graphs that crash where the frames of a clip are "
    "taken apart, as every shift does",
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
        if not installed(name):
            raise ConversionError(
                f"target {name} needs {ENGINES[name].title}, not installed: "
                f"pip install '{ENGINES[name].install}'"
            )
