"""A file of answers, one JSON object per clip and line, from which an interrupted run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edge_tsm.data.clips import Sample
from edge_tsm.datatypes import Logits
from edge_tsm.errors import InputError, SinkError

FORMAT = "edge-tsm results 1"
Self = TypeVar("Self", bound="JournalFile")


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of one clip: logits by column (see `Evaluation`), or why there are none.

    `damage` says which part of the video could not be decoded.
    """

    sample: Sample
    logits: Mapping[str, Logits]
    error: str = ""
    damage: str = ""


class JournalFile:
    """JSON objects, one a line, that outlive an interruption: each is on disk when it is written.

    The first line, `header`, says what was run. A file of another run is refused and left alone.
    `lines` are those that an earlier run left, but the first.

    Raises:
        InputError: the file is of another run, or no journal.
        SinkError: it cannot be read or written.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self._path = path
        try:
            data = path.read_bytes() if path.is_file() else b""
            whole = data[: data.rfind(b"\n") + 1]  # without what an interruption tore
            lines = list(self._parsed(whole or data))
            self._check(lines, header)
            self.lines = lines[1:]
            # Without a buffer a line is written or not, and closing cannot fail.
            self._stream = path.open("ab", buffering=0)
            if len(whole) < len(data):
                self._stream.truncate(len(whole))
        except OSError as error:
            raise SinkError(f"{path}: cannot be used ({error.strerror})") from error
        if not lines:
            self.write(header)

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one line.

        Raises:
            SinkError: it cannot be written.
        """
        try:
            self._stream.write(
                (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode()
            )
        except OSError as error:
            self.close()
            raise SinkError(f"{self._path}: cannot be written ({error.strerror})") from error

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _parsed(self, data: bytes) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(data.splitlines(), 1):
            try:
                parsed = json.loads(line)
            except ValueError:
                parsed = None
            if not isinstance(parsed, dict) or not data.endswith(b"\n"):
                raise InputError(
                    f"{self._path} line {number} is not a JSON object; is it a file of results?"
                )
            yield parsed

    def _check(self, lines: list[dict[str, Any]], header: Mapping[str, Any]) -> None:
        """Refuse the lines of another run, naming the first fact that differs."""
        if not lines:
            return
        for key in (*header, *lines[0]):
            found, wanted = lines[0].get(key), header.get(key)
            if found != wanted:
                raise InputError(
                    f"{self._path} holds results of another run: {key} was {found}, now {wanted}; "
                    "name another file, or delete this one"
                )


class Journal(JournalFile):
    """Answers to labeled clips.

    A clip counts as known while its video's path and modification time are the same; clips that
    failed are tried again.

    Args:
        path: the file, made if missing.
        run: JSON-ready facts that decide the answers: models, protocol.

    Raises:
        InputError, SinkError: see `JournalFile`.
    """

    def __init__(self, path: Path, run: Mapping[str, Any]) -> None:
        super().__init__(path, {"format": FORMAT, **run})
        self._known = {_key(line): line for line in self.lines if "logits" in line}

    def known(self, sample: Sample) -> Outcome | None:
        """Return the outcome that an earlier run left, or None."""
        line = self._known.get(_key(_identity(sample)))
        if line is None:
            return None
        logits = {name: np.asarray(row, np.float32) for name, row in line["logits"].items()}
        return Outcome(sample, logits, damage=str(line.get("damage", "")))

    def add(self, outcome: Outcome) -> None:
        """Append one clip.

        Raises:
            SinkError: it cannot be written.
        """
        line = {"clip": outcome.sample.name, "label": outcome.sample.label}
        if outcome.error:
            self.write({**line, "error": outcome.error})
            return
        logits = {name: written(row) for name, row in outcome.logits.items()}
        damage = {"damage": outcome.damage} if outcome.damage else {}
        self.write({**line, **_identity(outcome.sample), "logits": logits, **damage})


def written(logits: Logits) -> list[float]:
    """Return logits for JSON: nine digits give a float32 back exactly."""
    return [float(f"{value:.9g}") for value in logits]


def _identity(sample: Sample) -> dict[str, Any]:
    """Return what a clip's answers hang on: the file, its time of change, the frames listed."""
    path = sample.path.absolute()
    listed = {"frames": sample.frames} if sample.frames is not None and path.is_dir() else {}
    return {
        "path": str(path),
        "mtime_ns": path.stat().st_mtime_ns if path.exists() else 0,
        **listed,
    }


def _key(line: Mapping[str, Any]) -> tuple[str, int, int]:
    return str(line.get("path")), int(line.get("mtime_ns", 0)), int(line.get("frames", 0))
