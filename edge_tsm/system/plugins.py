"""Kinds that other packages bring, found through Python entry points when asked for by name."""

from __future__ import annotations

from typing import Any


def plugin(group: str, name: str) -> Any | None:
    """Return what the entry point `name` of `edge_tsm.GROUP` refers to, None without one.

    Nothing of another package is imported before it is asked for. What its import raises goes to
    the caller as it is.

    >>> plugin("sources", "no such scheme") is None
    True
    """
    from importlib.metadata import entry_points  # slow to import, and most runs need none

    found = entry_points(group=f"edge_tsm.{group}", name=name)
    return next(iter(found)).load() if found else None
