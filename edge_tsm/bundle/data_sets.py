"""The class names of known data sets, and the order in which code bases train on them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from pathlib import Path

from edge_tsm.system.tables import read_lines

DATA_SETS = {  # name: classes; the names, in the data set's own order, are in label_sets/NAME.txt
    "kinetics400": 400,
    "kinetics600": 600,
    "kinetics700": 700,
    "something-v1": 174,
    "something-v2": 174,
    "jester": 27,
    "ucf101": 101,
    "hmdb51": 51,
    "moments": 339,
}
_ALIASES = {
    "k400": "kinetics400",
    "k600": "kinetics600",
    "k700": "kinetics700",
    "kinetics": "kinetics400",
    "sthv1": "something-v1",
    "ssv1": "something-v1",
    "something": "something-v1",
    "somethingsomethingv1": "something-v1",
    "sthv2": "something-v2",
    "ssv2": "something-v2",
    "somethingsomethingv2": "something-v2",
    "jesterv1": "jester",
    "momentsintime": "moments",
    "mit339": "moments",
}
# Jester's and Something-Something V1's own lists are not sorted; upstream's tools/gen_label_*.py
# sort them into category.txt, so that is the order its models were trained with.
SORTED_UPSTREAM = frozenset(("jester", "something-v1"))
_OFFICIAL = {"jester-v1-labels.csv": "jester", "something-something-v1-labels.csv": "something-v1"}
_FOLDER = Path(__file__).parent / "label_sets"


def data_set(text: str) -> str | None:
    """Return the data set that a user calls so, None if none is.

    >>> data_set("Kinetics-400"), data_set("sth_v2"), data_set("mine")
    ('kinetics400', 'something-v2', None)
    """
    plain = re.sub(r"[\W_]", "", text.casefold())
    known = {re.sub(r"\W", "", name): name for name in DATA_SETS}
    return known.get(plain) or _ALIASES.get(plain)


def official_list(file: str) -> str | None:
    """Return the data set whose own list has this file name, of those whose order matters."""
    return _OFFICIAL.get(file)


@lru_cache
def names_of(name: str) -> tuple[str, ...]:
    """Return the class names of a data set (of DATA_SETS) in its own order.

    >>> names_of("jester")[:2]
    ('Swiping Left', 'Swiping Right')
    """
    return tuple(line.text for line in read_lines(_FOLDER / f"{name}.txt").lines)


def fitting(classes: int) -> list[str]:
    """Return the data sets with so many classes."""
    return [name for name, count in DATA_SETS.items() if count == classes]


def in_order(names: Sequence[str], name: str, sorts: Collection[str]) -> tuple[str, ...]:
    """Return a data set's names in the order of a code base that sorts those of `sorts`."""
    return tuple(sorted(names)) if name in sorts else tuple(names)


def misordered(names: Sequence[str], sorts: Collection[str]) -> str | None:
    """Return the data set whose names these are, if a code base has them in another order.

    `sorts` are the data sets that the code base sorts.

    >>> misordered(names_of("jester"), sorts={"jester"})
    'jester'
    """
    same = [name for name in fitting(len(names)) if set(names) == set(names_of(name))]
    if any(tuple(names) == in_order(names_of(name), name, sorts) for name in same):
        return None
    return same[0] if same else None
