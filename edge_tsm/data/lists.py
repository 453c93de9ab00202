"""The folder that `edge-tsm frames` writes: its settings and its lists, in upstream's format."""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

from edge_tsm.bundle.labels import LABELS_FILE
from edge_tsm.data.catalog import MARKER, Catalog, CatalogClip, Skipped
from edge_tsm.data.extract import Cut
from edge_tsm.errors import InputError, SinkError
from edge_tsm.system.files import whole_file

SKIPPED_FILE = "skipped.csv"


class FrameLists:
    """Lists of one target folder. Only files that this command has written are replaced."""

    def __init__(self, target: Path, catalog: Catalog, cut: Cut | None) -> None:
        """Claim `target`; `cut` is None where lists of the videos themselves are wanted.

        Raises:
            InputError: files are in the way, or an earlier run had other settings.
            SinkError: it cannot be written.
        """
        if target.exists() and not target.is_dir():
            raise InputError(f"{target} is a file; DST is a folder, new or of an earlier run")
        self._target, self._catalog = target, catalog
        self._settings = None if cut is None else asdict(cut)
        splits = dict.fromkeys(list_name(clip) for clip in catalog.clips)
        self._files = [*splits, LABELS_FILE, SKIPPED_FILE]
        self._earlier = self._read_marker()
        for name in set(self._files) - set(self._earlier):
            if (target / name).exists():
                raise InputError(
                    f"{target / name} exists already and is not from `edge-tsm frames`; choose "
                    "another folder, or move it away"
                )
        self._mark(sorted({*self._earlier, *self._files}))

    def write(self, lines: Mapping[CatalogClip, str], skipped: Sequence[Skipped]) -> dict[str, int]:
        """Write all lists and return how many lines each has.

        Args:
            lines: the line of each clip; clips without one are left out.
            skipped: for skipped.csv, which is written only if there are any.

        Raises:
            SinkError: the folder cannot be written.
        """
        texts = defaultdict[str, list[str]](list)
        for clip in self._catalog.clips:
            if clip in lines:
                texts[list_name(clip)].append(lines[clip])
        texts[LABELS_FILE] = list(self._catalog.labels)
        if skipped:
            rows = [("name", "reason", "detail"), *((s.name, s.reason, s.detail) for s in skipped)]
            texts[SKIPPED_FILE] = _csv(rows)
        for name, text in texts.items():
            _replace(self._target / name, "".join(f"{line}\n" for line in text))
        for name in {*self._earlier, *self._files} - set(texts):  # of an earlier run
            (self._target / name).unlink(missing_ok=True)
        self._mark(sorted(texts))
        return {name: len(text) for name, text in texts.items() if name != SKIPPED_FILE}

    def path_of(self, clip: CatalogClip) -> str:
        """Return a video's path as a list in the target names it."""
        return Path(os.path.relpath(clip.path, self._target)).as_posix()

    def _read_marker(self) -> list[str]:
        """Return the files of an earlier run, none if there was none."""
        path = self._target / MARKER
        if not path.exists():
            return []
        try:
            marker: Any = json.loads(path.read_text(encoding="utf-8"))
            files, settings = [str(name) for name in marker["files"]], marker["settings"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}: not from `edge-tsm frames` ({error!r})") from error
        if settings != self._settings:
            raise InputError(
                f"{self._target} was written with {_spell(settings)}, not {_spell(self._settings)};"
                " choose another folder, or the same settings"
            )
        return files

    def _mark(self, files: Sequence[str]) -> None:
        marker = {"schema": 1, "settings": self._settings, "files": files}
        _replace(self._target / MARKER, json.dumps(marker, indent=1) + "\n")


def list_name(clip: CatalogClip) -> str:
    """Return the list that a clip belongs to."""
    return f"{clip.split or 'list'}.txt"


def _spell(settings: Mapping[str, object] | None) -> str:
    if settings is None:
        return "--labels-only"
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def _csv(rows: Iterable[Sequence[str]]) -> list[str]:
    stream = StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().splitlines()


def _replace(path: Path, text: str) -> None:
    """Write a file under a temporary name and rename it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{path}: cannot be written ({error.strerror})") from error
    with whole_file(path) as temporary:
        # Names of files may be no valid UTF-8; skipped.csv shows their bytes.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
