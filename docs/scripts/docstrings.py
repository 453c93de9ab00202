"""Docstrings as mkdocstrings wants them: examples become blocks, `a, b:` becomes two arguments."""

from __future__ import annotations

import re
from typing import Any

import griffe

# From a line with a prompt to the next blank line, which ends what it prints.
EXAMPLE = re.compile(r"^( *)>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)
TWO = re.compile(r"^( +)(\w+), (\w+): (.*(?:\n\1 +.*)*)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Changes docstrings before they are parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change one."""
        if obj.docstring:
            text = TWO.sub(r"\1\2: \4\n\1\3: \4", obj.docstring.value)
            obj.docstring.value = EXAMPLE.sub(r"\1```pycon\n\g<0>\n\1```", text)
