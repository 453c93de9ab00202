"""What the page's API answers and takes, in JSON: OpenAPI and `page.schema.json` are made of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from edge_tsm.bundle.schema import Note, json_schema
from edge_tsm.datatypes import SourceState
from edge_tsm.events.query import Verdict
from edge_tsm.events.record import EventRecord
from edge_tsm.service.rule_layers import OriginKind, TargetKind

Share = Annotated[float, Note(minimum=0, maximum=1)]
Utc = Annotated[str | None, Note(description="ISO 8601; null where only media time is known")]


class VersionRecord(TypedDict):
    """What answers, and whether one has to sign in."""

    version: str
    api: int
    auth: Literal["none", "token"]
    signed_in: bool
    read_only: bool
    utc: str
    started_utc: str


class SessionRecord(TypedDict):
    """The token that signs in."""

    token: str


class ModelRecord(TypedDict):
    """The model, and what runs it."""

    name: str
    file: str | None
    engine: str
    device: str
    segments: int
    window_s: float
    every_s: float
    online: bool


class CameraRecord(TypedDict):
    """One source."""

    id: str
    address: Annotated[str, Note(description="without secrets")]
    live: bool
    enabled: Annotated[bool, Note(description="false: it was switched off, by MQTT")]
    state: SourceState
    state_s: float
    reason: Annotated[str, Note(description="of the state, for people")]
    size: Annotated[tuple[int, ...] | None, Note(description="width, height in pixels")]
    sees: Annotated[
        tuple[Share, ...] | None,
        Note(description="left, top, width, height of the model's crop, as shares of the picture"),
    ]
    action: Annotated[str | None, Note(description="label of the action that is on")]
    actions: tuple[str, ...]
    window_s: float
    every_s: float
    last_answer_utc: Utc


class CamerasRecord(TypedDict):
    """The sources, and the model that looks at them."""

    labels: tuple[str, ...]
    activation: Literal["softmax", "sigmoid"]
    model: ModelRecord
    cameras: tuple[CameraRecord, ...]


class SeriesRecord(TypedDict):
    """Smoothed scores of one class, and its thresholds."""

    index: int
    label: str
    scores: tuple[Share, ...]
    on: Share
    off: Share


class GapRecord(TypedDict):
    """A time without pictures; without an end it lasts."""

    start_utc: Utc
    end_utc: Utc
    reason: str


class ScoresRecord(TypedDict):
    """The last minutes of one camera, oldest first."""

    camera: str
    utc: tuple[Utc, ...]
    time_s: tuple[float, ...]
    series: tuple[SeriesRecord, ...]
    gaps: tuple[GapRecord, ...]


class FeedbackRecord(TypedDict):
    """What someone says of an event."""

    verdict: Verdict
    label: Annotated[str | None, Note(description="what it really was")]
    utc: str


class FeedbackBody(TypedDict):
    """What is sent to say it."""

    verdict: Verdict
    label: str | None


class LinksRecord(TypedDict):
    """Where the files of an event are."""

    snapshot: str | None
    clip: str | None
    thumb: str | None


class PageEventRecord(EventRecord):
    """An event, what was said of it, and its files."""

    feedback: FeedbackRecord | None
    links: LinksRecord


class EventsRecord(TypedDict):
    """A page of events, newest first."""

    events: tuple[PageEventRecord, ...]
    next: Annotated[str | None, Note(description="`before` of the next page")]
    total: int


class PairRecord(TypedDict):
    """Thresholds of a class."""

    on: Share
    off: Share


class ValueRecord(TypedDict):
    """A setting, and where it comes from."""

    value: float | str | tuple[str, ...]
    origin: OriginKind
    where: Annotated[str, Note(description="file or option")]


class PairValueRecord(TypedDict):
    """Thresholds of a class, and where they come from."""

    value: PairRecord
    origin: OriginKind
    where: str


class ValuesRecord(TypedDict):
    """All settings; those of the last three the page does not change."""

    on: ValueRecord
    off: ValueRecord
    mean_answers: ValueRecord
    decay_s: ValueRecord
    min_duration_s: ValueRecord
    cool_down_s: ValueRecord
    background: ValueRecord
    ignored: ValueRecord
    held: ValueRecord
    settle_answers: ValueRecord
    gap_s: ValueRecord
    thresholds: dict[str, PairValueRecord]


class TryingRecord(TypedDict):
    """For how long what is tried holds."""

    until_utc: str
    left_s: float


class ScopeRecord(TypedDict):
    """Rules, and the cameras that they hold for; `camera` null: all without some of their own."""

    camera: str | None
    cameras: tuple[str, ...]
    values: ValuesRecord
    trying: TryingRecord | None


class TargetRecord(TypedDict):
    """Where rules are saved."""

    kind: TargetKind
    file: str
    writable: bool
    reason: str
    cameras: Annotated[tuple[str, ...], Note(description="whose own rules have a place in it")]


class StoredRecord(TypedDict):
    """How far back stored logits go."""

    hours: float
    since_utc: Utc


class RulesRecord(TypedDict):
    """How answers become actions."""

    scopes: tuple[ScopeRecord, ...]
    history: Annotated[int, Note(description="how many changes can be undone")]
    target: TargetRecord
    limits: StoredRecord


class ChangesRecord(TypedDict, total=False):
    """What is changed of rules; in `thresholds` null stands for the general ones."""

    on: Share
    off: Share
    thresholds: dict[str, PairRecord | None]
    mean_answers: Annotated[int, Note(minimum=1)]
    decay_s: Annotated[float, Note(minimum=0)]
    min_duration_s: Annotated[float, Note(minimum=0)]
    cool_down_s: Annotated[float, Note(minimum=0)]


class _Changed(TypedDict):
    camera: Annotated[str | None, Note(description="null: all without rules of their own")]
    changes: ChangesRecord


DryRun = Annotated[bool, Note(description="change nothing: say what would be")]


class SaveBody(_Changed, total=False):
    """What is saved."""

    dry_run: DryRun


class UndoBody(TypedDict, total=False):
    """The last save is taken back."""

    dry_run: DryRun


class TryBody(_Changed, total=False):
    """What is tried, and for how long."""

    seconds: Annotated[float, Note(minimum=10, maximum=3600)]


class PreviewBody(_Changed, total=False):
    """What is tried on stored logits, of so many hours."""

    hours: Annotated[float, Note(exclusive_minimum=0)]
    labels: Annotated[tuple[str, ...], Note(description="classes whose scores are returned: 3")]


class GhostRecord(TypedDict):
    """An event as it would have been."""

    index: int
    label: str
    score: float
    start_s: float
    end_s: float
    start_utc: Utc
    end_utc: Utc


class PreviewSeriesRecord(TypedDict):
    """Smoothed scores of one class by the rules that hold, and by the changed ones."""

    index: int
    label: str
    before: tuple[Share, ...]
    after: tuple[Share, ...]


class PreviewScoresRecord(TypedDict):
    """Scores over time: 600 points at most, each the highest of its time."""

    utc: tuple[Utc, ...]
    series: tuple[PreviewSeriesRecord, ...]


class CameraPreviewRecord(TypedDict):
    """The events of one camera by the rules that hold, and by the changed ones; the newest 500."""

    camera: str
    before: tuple[GhostRecord, ...]
    after: tuple[GhostRecord, ...]
    scores: PreviewScoresRecord


class PreviewRecord(TypedDict):
    """What would be other: counts are of all events."""

    before: int
    after: int
    answers: int
    since_utc: Utc
    lost_up: Annotated[int, Note(description="events with a thumb up that would not be")]
    lost_down: Annotated[int, Note(description="events with a thumb down that would not be")]
    cameras: tuple[CameraPreviewRecord, ...]
    took_ms: float


class SavedRecord(TypedDict):
    """What a save, or an undo, has changed."""

    rules: RulesRecord
    file: str
    backup: str
    diff: str
    overridden: Annotated[
        tuple[str, ...], Note(description="keys that options of the command line go before")
    ]


class StageRecord(TypedDict):
    """Milliseconds of a stage: median and 95th percentile of the last answers."""

    p50_ms: float
    p95_ms: float


class SourceStatsRecord(TypedDict):
    """Counts of a source since the start, its rates, and the time from picture to answer."""

    source: str
    address: str
    state: SourceState
    state_s: float
    frames_per_s: float
    answers_per_s: float
    frames: int
    answers: int
    dropped: int
    skipped: int
    breaks: int
    latency: StageRecord | None


class LossRecord(TypedDict):
    """What was lost of a source, by reason."""

    dropped: int
    skipped: int
    breaks: int


class SinkRecord(TypedDict):
    """What became of what a sink was given."""

    name: str
    delivered: int
    dropped: int
    failed: int
    pending: int


class DiskRecord(TypedDict):
    """Room where files of a kind go."""

    what: str
    free_mb: int
    total_mb: int


class MachineRecord(TypedDict):
    """The machine; `cpu_percent` is of this process, 100 a core."""

    cpu_percent: float
    cores: int
    load_1: float
    memory_mb: float
    memory_total_mb: float
    memory_free_mb: float
    temperature_c: float | None
    disks: tuple[DiskRecord, ...]


class ViewingRecord(TypedDict):
    """The page itself."""

    viewers: int
    encodes: int
    pictures_sent: int
    pictures_skipped: int
    encode_ms: float


class StatsRecord(TypedDict):
    """The health of a run."""

    utc: str
    span_s: float
    uptime_s: float
    sources: tuple[SourceStatsRecord, ...]
    losses: dict[str, LossRecord]
    stages: dict[str, StageRecord]
    sinks: tuple[SinkRecord, ...]
    machine: MachineRecord
    page: ViewingRecord


class ProblemRecord(TypedDict):
    """Why a request was refused."""

    code: str
    message: str


class ErrorRecord(TypedDict):
    """The answer to a request that was refused."""

    error: ProblemRecord


class PageRecord(TypedDict, total=False):
    """The answers of the page's API, each under its name."""

    version: VersionRecord
    cameras: CamerasRecord
    scores: ScoresRecord
    events: EventsRecord
    rules: RulesRecord
    preview: PreviewRecord
    saved: SavedRecord
    stats: StatsRecord
    error: ErrorRecord


def page_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the answers; `page.schema.json` holds it."""
    return json_schema(PageRecord, uri="https://edge-tsm/page.schema.json")
