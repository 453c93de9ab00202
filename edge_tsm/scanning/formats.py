"""Timelines as files: FORMATS has what each kind is called and who writes it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_tsm.datatypes import Event
from edge_tsm.errors import InputError, SinkError
from edge_tsm.scanning.timeline import Scanned, Timeline
from edge_tsm.system.files import whole_file
from edge_tsm.system.jsontext import to_json

CLIP_DIGITS = 3  # of seconds


@dataclass(frozen=True)
class Format:
    """A kind of file; `single`: it can hold one recording only."""

    suffix: str
    text: Callable[[Timeline], str]
    single: bool = False


def as_json(timeline: Timeline) -> str:
    """Return everything but the answers."""
    data = {
        "format": "edge-tsm timeline 1",
        "model": timeline.model,
        "labels": timeline.labels,
        "window_s": timeline.pace.window_s,
        "every_s": timeline.pace.every_s,
        "files": list(map(_file, timeline.files)),
        "notes": timeline.notes,
        "seconds": round(timeline.seconds, 3),
        "scanned_s": round(timeline.scanned_s, 3),
    }
    return to_json(data, indent=1) + "\n"


def _file(file: Scanned) -> dict[str, Any]:
    return {
        "file": str(file.path),
        "duration_s": round(file.duration_s, 3),
        "windows": len(file.answers),
        "actions": [_action(event) for event in file.actions],
        **{name: said for name in ("damage", "note", "error") if (said := getattr(file, name))},
    }


def _action(event: Event) -> dict[str, Any]:
    return {
        "index": event.index,
        "label": event.label,
        "start_s": round(event.start_s, CLIP_DIGITS),
        "end_s": round(event.told_s, CLIP_DIGITS),
        "score": round(event.score, 6),
    }


def as_csv(timeline: Timeline) -> str:
    """Return a row per action."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("file", "label", "start_s", "end_s", "duration_s", "score"))
    for path, event in timeline.actions:
        times = (event.start_s, event.told_s, event.told_s - event.start_s)
        numbers = [f"{time_s:.{CLIP_DIGITS}f}" for time_s in times]
        table.writerow((path, event.label, *numbers, f"{event.score:.6f}"))
    return text.getvalue()


def as_vtt(timeline: Timeline) -> str:
    """Return a cue per action of the one recording, as subtitles for players."""
    lines = ["WEBVTT", ""]
    for event in sorted(timeline.files[0].actions, key=lambda event: event.start_s):
        end_s = max(event.told_s, event.start_s + 0.001)  # a cue lasts
        label = " ".join(event.label.split())
        for sign, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            label = label.replace(sign, written)
        lines += [f"{clock(event.start_s)} --> {clock(end_s)}", f"{label} {event.score:.0%}", ""]
    return "\n".join(lines)


def as_label_studio(timeline: Timeline) -> str:
    """Return a task per recording with its actions as predictions, to import in Label Studio."""
    tasks = [_task(timeline, file) for file in timeline.files if not file.error]
    return to_json(tasks, indent=1) + "\n"


def _task(timeline: Timeline, file: Scanned) -> dict[str, Any]:
    results = [
        {
            "id": f"action{number}",
            "from_name": "actions",
            "to_name": "video",
            "type": "timelinelabels",
            "value": {"ranges": [_frames(event, file)], "timelinelabels": [event.label]},
            "score": round(event.score, 6),
        }
        for number, event in enumerate(file.actions)
    ]
    predicted = {"model_version": timeline.model, "result": results}
    return {"data": {"video": str(file.path)}, "predictions": [predicted]}


def _frames(event: Event, file: Scanned) -> dict[str, int]:
    """Return the first and last frame of an action; Label Studio counts from 1."""
    first = round(event.start_s * file.fps) + 1
    return {"start": first, "end": max(round(event.told_s * file.fps) + 1, first)}


FORMATS: dict[str, Format] = {
    "json": Format(".json", as_json),
    "csv": Format(".csv", as_csv),
    "vtt": Format(".vtt", as_vtt, single=True),
    "label-studio": Format(".json", as_label_studio),
}


@dataclass(frozen=True)
class Output:
    """Where a timeline goes: a file of all recordings, or a folder with a file for each."""

    path: Path
    format: Format
    each: bool

    @classmethod
    def of(cls, path: Path, name: str | None, *, recordings: int, folder: bool) -> Output:
        """Return the output at a path, of a format by its name or else by the path's suffix.

        Raises:
            InputError: no such format, or several recordings for a file that holds one.
            SinkError: it cannot be written there.
        """
        each = folder or path.is_dir()
        if name is None and not each:
            name = next((n for n, f in FORMATS.items() if f.suffix == path.suffix.lower()), None)
            if name is None:
                known = ", ".join(dict.fromkeys(form.suffix for form in FORMATS.values()))
                raise InputError(f"{path}: end its name in one of {known}, or pass --format")
        form = FORMATS[name or "json"]
        if form.single and recordings > 1 and not each:
            raise InputError(
                f"{path} holds one recording, not {recordings}; name a folder: {path.stem}/"
            )
        if not each and not path.absolute().parent.is_dir():
            raise SinkError(f"{path} cannot be written: there is no folder {path.parent}")
        return cls(path, form, each)

    def write(self, timeline: Timeline) -> list[Path]:
        """Write the files, and return their names.

        Raises:
            SinkError: one cannot be written.
        """
        if not self.each:
            return [_write(self.path, self.format.text(timeline))]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{self.path}: cannot be made ({error.strerror})") from error
        readable = [file for file in timeline.files if not file.error]
        return [
            _write(
                self.path / f"{name}{self.format.suffix}",
                self.format.text(replace(timeline, files=(file,), notes=())),
            )
            for name, file in zip(names([file.path for file in readable]), readable, strict=True)
        ]


def names(paths: list[Path]) -> Iterator[str]:
    """Yield a name for what is made of each path, all distinct.

    >>> list(names([Path("a/x.mp4"), Path("b/x.mp4"), Path("y.mp4")]))
    ['x', 'x-2', 'y']
    """
    taken = set[str]()
    for path in paths:
        numbered = (f"{path.stem}-{i}" for i in range(2, len(paths) + 2))
        name = path.stem if path.stem not in taken else next(n for n in numbered if n not in taken)
        taken.add(name)
        yield name


def clock(time_s: float) -> str:
    """Return a time as hours, minutes, seconds and thousandths.

    >>> clock(3725.5)
    '01:02:05.500'
    """
    whole = round(time_s * 1000)
    hours, minutes, left = whole // 3_600_000, whole // 60_000 % 60, whole % 60_000
    return f"{hours:02}:{minutes:02}:{left // 1000:02}.{left % 1000:03}"


def _write(path: Path, text: str) -> Path:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
