"""Recordings from their beginning to their end, looked at as live video is, as fast as it goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_tsm.actions.rules import Rules
from edge_tsm.data.clips import clips_below, is_clip
from edge_tsm.errors import InputError, SinkError, SourceError
from edge_tsm.evaluation.models import OpenModel
from edge_tsm.evaluation.prefetch import Prefetch, Stop
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.assembler import AssembledClip, Pace, seconds
from edge_tsm.live.forms import FORMS
from edge_tsm.scanning.ahead import Ahead
from edge_tsm.scanning.feeds import FEEDS, Answer, Feed
from edge_tsm.scanning.journal import Facts, Known, ScanJournal
from edge_tsm.scanning.timeline import Scanned, Timeline
from edge_tsm.scanning.windows import LostFrameError, pictured, planned
from edge_tsm.sources import ImageFolder, OnProgress, VideoFile, open_recording, remark
from edge_tsm.sources.files import FrameListing
from edge_tsm.system.machine import usable_cores

_AHEAD = 4  # windows that wait for the engine, beside those that it works on


@dataclass(frozen=True)
class ScanOptions:
    """How recordings are looked at.

    `window_s` and `every_s` are those of live video, by default the card's; `fps` is the rate of
    folders of pictures, by default 25; `workers` recordings are read at once, by default one a
    core, at most four.

    Raises:
        InputError: a number out of range.

    >>> ScanOptions(every_s=0.25).workers is None
    True
    """

    window_s: float | None = None
    every_s: float | None = None
    fps: float | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise InputError(f"fps is {self.fps}; it must be more than 0 and at most 1000")
        if self.workers is not None and not 1 <= self.workers <= 64:
            raise InputError(f"workers is {self.workers}; it must be 1 to 64")

    def pace(self, recognizer: Recognizer) -> Pace:
        """Return the windows of a model.

        Raises:
            InputError: seconds out of range.
        """
        card, form = recognizer.card, FORMS[recognizer.runner.form]
        return Pace(
            seconds("window_s", self.window_s, form.default_window_s(card)),
            seconds("every_s", self.every_s, card.sampling.every_s),
        )


def scan(
    recognizer: Recognizer,
    videos: str | Path | Sequence[str | Path],
    *,
    options: ScanOptions | None = None,
    rules: Rules | None = None,
    journal: ScanJournal | None = None,
    progress: OnProgress | None = None,
) -> Timeline:
    """Return a timeline of the actions in recordings: what live video of them would have given.

    Windows are those of live video, chosen by the times of frames; only frames that lie in one
    become pictures. Recordings are decoded ahead, several at once, and the engine gets as many
    windows at a time as it takes. One that cannot be read, or not whole, is told, and the others
    go on.

    Args:
        recognizer: the model, for clips or online.
        videos: videos, folders of pictures, and folders in which these are searched.
        options: windows, and how many recordings are read at once.
        rules: how answers become actions; see also `Timeline.decided`.
        journal: keeps every answer; what it holds is not computed again.
        progress: is called, from threads, with (bytes done, bytes in all).

    Raises:
        InputError: a label that the model does not have, or a number out of range.
        SourceError: a name that is not there, or a folder without videos.
        BackendError: the engine failed.
        SinkError: the journal cannot be written.

    >>> import tempfile
    >>> from PIL import Image
    >>> import edge_tsm, edge_tsm.demo
    >>> from edge_tsm.demo.synthetic import generate
    >>> folder = tempfile.mkdtemp()  # 3 s of one gesture, 12 pictures a second
    >>> for number, picture in enumerate(generate(0, times=36)):
    ...     Image.fromarray(picture[..., ::-1]).save(f"{folder}/{number:02}.png")
    >>> with edge_tsm.load(edge_tsm.demo.bundle()) as recognizer:
    ...     timeline = edge_tsm.scan(recognizer, folder, options=ScanOptions(fps=12))
    >>> [(event.label, event.start_s, event.told_s) for _, event in timeline.actions]
    [('zoom in', 2.0, 2.5)]
    """
    options, rules = options or ScanOptions(), rules or Rules()
    rules.check(recognizer.card.labels)
    run = _Run(recognizer, options.pace(recognizer), options, journal, _Share(progress))
    paths, notes = find(videos)
    run.share.expect(paths)
    run.workers = min(options.workers or min(usable_cores(), 4), len(paths))
    started = time.perf_counter()
    with Prefetch(run.scan, paths, workers=run.workers, ahead=len(paths)) as scanned:
        files = [future.result() for _, future in scanned]
    card, backend = recognizer.card, recognizer.backend
    timeline = Timeline(
        model=f"{card.name} on {backend.engine} {backend.device}",
        labels=card.labels,
        activation=card.output.activation,
        pace=run.pace,
        rules=rules,
        files=tuple(files),
        notes=notes,
        seconds=time.perf_counter() - started,
        scanned_s=run.share.scanned_s,
    )
    return timeline.decided(rules)


def scan_facts(model: OpenModel, options: ScanOptions) -> dict[str, Any]:
    """Return what decides the answers of a scan, JSON-ready, for its journal."""
    pace = options.pace(model.recognizer)
    return {
        "model": model.fingerprint(),
        "window_s": pace.window_s,
        "every_s": pace.every_s,
        "fps": options.fps,
    }


def find(videos: str | Path | Sequence[str | Path]) -> tuple[list[Path], tuple[str, ...]]:
    """Return the recordings named or in folders, each once, and notes on files left out.

    Raises:
        SourceError: a name that is not there, or a folder without videos.
    """
    named = [videos] if isinstance(videos, (str, Path)) else videos
    found: dict[Path, None] = {}
    notes = list[str]()
    for path in map(Path, named):
        if not path.exists():
            raise SourceError(f"{path} does not exist; pass videos, or folders of them")
        if not path.is_dir() or is_clip(path):
            found[path] = None
            continue
        below, note = clips_below(path)
        if not below:
            raise SourceError(f"{path} holds no videos" + (f" ({note})" if note else ""))
        found.update(dict.fromkeys(below))
        notes += [f"{path}: {note}"] if note else []
    if not found:
        raise InputError("no video to scan; name one, or a folder")
    return list(found), tuple(notes)


@dataclass
class _Share:
    """How much of all recordings is done, told to `progress`; from several threads."""

    progress: OnProgress | None
    scanned_s: float = 0.0
    _sizes: dict[Path, int] = field(default_factory=dict)
    _done: dict[Path, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def expect(self, paths: Sequence[Path]) -> None:
        """Note the recordings: bytes stand for the time they take."""
        self._sizes = {path: _size(path) for path in paths}

    def scanned(self, duration_s: float) -> None:
        """Note that so many seconds of a recording were looked at now."""
        with self._lock:
            self.scanned_s += duration_s

    def tell(self, path: Path, share: float) -> None:
        """Note that so much of a recording is done."""
        with self._lock:
            self._done[path] = share * self._sizes[path]
            if self.progress:
                self.progress(round(sum(self._done.values())), sum(self._sizes.values()))


@dataclass
class _Run:
    """One scan; `scan` is called from several threads."""

    recognizer: Recognizer
    pace: Pace
    options: ScanOptions
    journal: ScanJournal | None
    share: _Share
    workers: int = 1

    def scan(self, path: Path, stop: Stop) -> Scanned:
        """Scan one recording; one that cannot be read has an error instead of answers."""
        try:
            known = self.journal.known(path) if self.journal else Known()
            if known.facts is None:
                threads = 1 if self.workers > 1 else None
                fps = self.options.fps
                with closing(open_recording(path, fps=fps, threads=threads)) as recording:
                    known = _Reading(self, path, recording, known, stop).whole()
        except OSError as error:  # SourceError, or the system's own
            if isinstance(error, SinkError):
                raise
            self.share.tell(path, 1.0)
            return Scanned(path, error=str(error))
        assert known.facts is not None
        self.share.tell(path, 1.0)
        return Scanned(path, known.answers, **vars(known.facts))


@dataclass
class _Reading:
    """One recording on its way through the model.

    `before` is what an earlier run answered, its first `known_s` seconds.
    """

    run: _Run
    path: Path
    recording: VideoFile | ImageFolder
    before: Known
    stop: Stop
    known_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.known_s = self.before.answers[-1][0] if self.before.answers else 0.0

    def whole(self, *, decoded: bool = False) -> Known:
        """Answer every window that is not known, and note it.

        Raises:
            SourceError: nothing can be read.
        """
        run, listing = self.run, self.recording.listing(decoded=decoded)
        feed = FEEDS[run.recognizer.runner.form](run.recognizer, run.pace)
        clips = planned(feed.assembler(), listing.times_s)
        first = feed.first(clips, self.before.answers)
        answers = self.before.answers[:first]
        try:
            self._answer(feed, clips[first:], listing, answers)
        except LostFrameError:
            if decoded:
                raise
            self.before = Known(answers)
            return self.whole(decoded=True)
        facts = self._facts(listing, note="" if clips else _too_short(run.pace))
        run.share.scanned(facts.duration_s - self.known_s)
        if run.journal:
            run.journal.end(self.path, facts)
        return Known(answers, facts)

    def _answer(
        self,
        feed: Feed,
        clips: Sequence[AssembledClip],
        listing: FrameListing,
        answers: list[Answer],
    ) -> None:
        """Add the answers to clips to those to the ones before."""
        run, last_s = self.run, max(listing.times_s[-1], 1e-9)
        pictures = pictured(clips, listing, run.recognizer.prepare)
        with Ahead(pictures, most=_AHEAD) as ready:
            for answer in feed.answers(iter(ready)):
                self.stop()
                self._note(len(answers), answer)
                answers.append(answer)
                run.share.tell(self.path, min(answer[0] / last_s, 1.0))

    def _note(self, number: int, answer: Answer) -> None:
        """Keep an answer, unless an earlier run has kept the same one."""
        known = self.before.answers[number : number + 1]
        if self.run.journal and not (known and known[0][0] == answer[0]):
            self.run.journal.add(self.path, number, answer)

    def _facts(self, listing: FrameListing, *, note: str) -> Facts:
        recording = self.recording
        is_video = isinstance(recording, VideoFile)
        said = remark(recording)
        notes = [part for part in ("" if is_video else said, note) if part]
        return Facts(
            duration_s=listing.times_s[-1] + 1 / recording.fps,
            fps=recording.fps,
            damage=said if is_video else "",
            note="; ".join(notes),
        )


def _too_short(pace: Pace) -> str:
    return f"shorter than the window of {pace.window_s:g} s: no answer"


def _size(path: Path) -> int:
    """Return the bytes of a recording, at least 1."""
    try:
        files = path.iterdir() if path.is_dir() else [path]
        return max(sum(file.stat().st_size for file in files), 1)
    except OSError:
        return 1
