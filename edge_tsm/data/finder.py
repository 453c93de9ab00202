"""Where the clip is that a list names: other slashes, no suffix, another machine's folder."""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath

from edge_tsm.errors import InputError
from edge_tsm.sources import VIDEO_SUFFIXES

_ELSEWHERE = re.compile(r"^([A-Za-z]:[\\/]|[\\/])")  # a drive or the root of some machine


class Finder:
    """Finds clips below `root`. `moved` is the folder of another machine that `root` stands for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.moved: str | None = None
        self._videos: dict[Path, tuple[str, ...]] = {}

    def __call__(self, name: str) -> Path:
        """Return the path of a clip, which does not exist if there is none.

        A name without suffix is the one video of that name, or a frame folder.

        Raises:
            InputError: several videos of that name.
        """
        plain = self.root / name
        if _exists(plain):
            return plain
        for below in self._below(name):
            found = self._with_suffix(self.root / below)
            if found:
                return found
        return plain

    def _below(self, name: str) -> list[str]:
        """Return the name with this machine's slashes, and its ends if it starts elsewhere."""
        slashed = name.replace("\\", "/")
        if not _ELSEWHERE.match(name):
            return [slashed]
        parts = PureWindowsPath(name).parts[1:]
        if self.moved is not None:
            depth = len(PureWindowsPath(self.moved).parts) - 1
            return [slashed, "/".join(parts[depth:])]
        ends = ["/".join(parts[i:]) for i in range(len(parts))]
        start = next((i for i, end in enumerate(ends) if self._with_suffix(self.root / end)), None)
        if start is None:
            return [slashed]
        self.moved = str(PureWindowsPath(*PureWindowsPath(name).parts[: start + 1]))
        return [slashed, ends[start]]

    def _with_suffix(self, path: Path) -> Path | None:
        if _exists(path):
            return path
        found = [
            path.with_name(entry)
            for entry in self._videos_in(path.parent)
            if entry.rpartition(".")[0] == path.name
        ]
        if len(found) > 1:
            names = ", ".join(sorted(file.name for file in found))
            raise InputError(f"{path} may be {names}; write the suffix in the list")
        return found[0] if found else None

    def _videos_in(self, folder: Path) -> tuple[str, ...]:
        """Return the names of the videos in a folder, none if it cannot be read."""
        if folder not in self._videos:
            try:
                names = [path.name for path in folder.iterdir()]
            except (OSError, ValueError):
                names = []
            found = (name for name in names if Path(name).suffix.lower() in VIDEO_SUFFIXES)
            self._videos[folder] = tuple(found)
        return self._videos[folder]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return False
