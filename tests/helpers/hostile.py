"""Bundles as an attacker would make them: the demo's, with some of it replaced."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_tsm import demo
from edge_tsm.bundle.card import checksum

CONTROLS = "\x1b]0;OWNED\x07\x1b[2J\x1b[31m \x9b31m \x7f b\rhidden \u202eevil \u2028"
FORGED = "wave\nFORGED  start  (99%)"


def demo_copy(folder: Path) -> Path:
    """A copy of the demo's bundle that may be changed."""
    return Path(shutil.copytree(demo.bundle(), folder, copy_function=shutil.copyfile))


def change_card(bundle: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change the card of a bundle as JSON."""
    path = bundle / "card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    change(card)
    path.write_text(json.dumps(card), encoding="utf-8")
    return bundle


def only_file(bundle: Path, name: str = "model.onnx") -> dict[str, Any]:
    """Leave one artifact of a bundle; return its entry in the card."""
    entries: list[dict[str, Any]] = []

    def leave(card: dict[str, Any]) -> None:
        for key in ("files", "verification"):
            card[key] = {name: card[key][name]}
        card["files"][name]["also"] = {}
        entries.append(card["files"][name])

    change_card(bundle, leave)
    return entries[0]


def vouch_for(bundle: Path, name: str = "model.onnx") -> None:
    """Let the card hold the checksum that a file has now, as an attacker would."""
    change_card(bundle, lambda card: card["files"][name].update(sha256=checksum(bundle / name)))


def zero_page(path: Path, place: float = 0.5) -> None:
    """Lose 4 KiB of a file, as a dying memory card does."""
    with path.open("r+b") as stream:
        stream.seek(int(path.stat().st_size * place))
        stream.write(bytes(4096))


def hostile_text(folder: Path) -> Path:
    """A bundle whose name and labels try to control the terminal, and to forge lines."""
    labels = [f"{CONTROLS} {index} {FORGED}" for index in range(9)]
    return change_card(
        demo_copy(folder), lambda card: card.update(name=CONTROLS + FORGED, labels=labels)
    )
