"""Rules tried on the past, for a while, and for good."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_tsm.actions.decider import DECIDERS
from edge_tsm.actions.rules import RuleOverrides, Rules, Threshold
from edge_tsm.datatypes import Event, Prediction
from edge_tsm.errors import InputError
from edge_tsm.events import EventStore, Feedback
from edge_tsm.events.logits import StoredAnswer
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.live.worker import SourceInput
from edge_tsm.service.monitor import Monitor
from edge_tsm.service.preview import Past
from edge_tsm.service.rule_layers import RuleLayers, Ruling
from edge_tsm.service.running import Running
from edge_tsm.service.tuning import Changes, ConflictError, RuleBook
from edge_tsm.sinks import Dispatcher
from edge_tsm.sinks.run import RunFacts
from edge_tsm.system.clock import SYSTEM_CLOCK
from tests.helpers.fakes import FakeBackend, FakeCamera, make_card

LABELS = ("nothing", "挥手", "clap")
BEGAN_S = datetime(2026, 11, 24, 12, tzinfo=timezone.utc).timestamp()
SHARE = st.floats(0, 1, width=32)


@contextmanager
def tuned(
    layers: RuleLayers, *, now: Callable[[], float] = lambda: 0.0
) -> Iterator[tuple[RuleBook, Running]]:
    """The rule book of a run of two cameras that has not begun."""
    card = dataclasses.replace(make_card(), labels=LABELS)
    rules = layers.read()
    with ExitStack() as stack:
        inputs = [
            SourceInput(FakeCamera([]), name=name, rules=rules.singles().get(name))
            for name in ("porch", "hall")
        ]
        pipeline = Pipeline(inputs, Recognizer(card, FakeBackend()), rules=rules.shared)
        store = stack.enter_context(EventStore())
        store.logits.begin(LABELS, "softmax")
        dispatcher = stack.enter_context(Dispatcher([]))
        monitor = Monitor(RunFacts(), inputs, SYSTEM_CLOCK, lambda _: FakeCamera([]))
        monitor.watch(pipeline, dispatcher)
        running = Running(pipeline, monitor, pipeline.recognizer, store, SYSTEM_CLOCK)
        yield RuleBook(layers, running, now=now), running


def remember(running: Running, rows: Sequence[Sequence[float]], source: str = "porch") -> None:
    """Store logits, two a second."""
    for number, row in enumerate(rows):
        time_s = number / 2
        running.store.logits.add(StoredAnswer(source, time_s, BEGAN_S + time_s, np.float32(row)))


def decided_anew(rows: Sequence[Sequence[float]], rules: Rules, activation: Any) -> list[Event]:
    """The same by a decider of its own."""
    decider, events = DECIDERS[activation](rules, LABELS), list[Event]()
    for number, row in enumerate(rows):
        logits = np.float32(row)
        answer = Prediction(LABELS, logits, logits, 0.0, activation=activation)
        events += decider.update(answer, time_s=number / 2).events
    return [event for event in [*events, *decider.finish()] if event.kind == "end"]


RULES = st.builds(
    lambda pair, pairs, smoothing, least_s, cool_s, parts: Rules(
        on=max(pair),
        off=min(pair),
        thresholds={label: Threshold(max(p), min(p)) for label, p in pairs.items()},
        **smoothing,
        min_duration_s=least_s,
        cool_down_s=cool_s,
        **parts,
    ),
    st.tuples(SHARE, SHARE),
    st.dictionaries(st.sampled_from(LABELS), st.tuples(SHARE, SHARE), max_size=2),
    st.one_of(
        st.builds(lambda n: {"mean_answers": n}, st.integers(1, 6)),
        st.builds(lambda s: {"decay_s": s}, st.floats(0.1, 3)),
    ),
    st.sampled_from([0.0, 0.5, 1.5]),
    st.sampled_from([0.0, 1.0, 3.0]),
    st.sampled_from(
        [{}, {"background": ("nothing",)}, {"ignored": ("clap",), "held": ("nothing",)}]
    ),
)
ROWS = st.lists(st.tuples(*[st.floats(-6, 6, width=32)] * len(LABELS)), min_size=1, max_size=60)


@settings(max_examples=60)
@given(rows=ROWS, before=RULES, after=RULES, activation=st.sampled_from(["softmax", "sigmoid"]))
def test_a_preview_is_what_a_new_decider_finds(
    rows: Sequence[Sequence[float]], before: Rules, after: Rules, activation: Any
) -> None:
    with EventStore() as store:
        store.logits.begin(LABELS, activation)
        for number, row in enumerate(rows):
            time_s = number / 2
            store.logits.add(StoredAnswer("porch", time_s, BEGAN_S + time_s, np.float32(row)))
        past = Past(store, LABELS, activation, now=lambda: 0.0)
        for _ in range(2):  # read, and from memory
            found = past.compare(Ruling(before), Ruling(after), hours=1.0, watched=[1])
    [camera] = found["cameras"]
    for role, rules in (("before", before), ("after", after)):
        wanted = decided_anew(rows, rules, activation)
        assert found[role] == len(wanted)
        assert [(g["index"], g["start_s"], g["end_s"], g["score"]) for g in camera[role]] == [
            (e.index, e.start_s, e.told_s, round(e.score, 6)) for e in wanted
        ]


def burst(label: str, count: int = 4) -> list[list[float]]:
    return [[4.0 if name == label else 0.0 for name in LABELS]] * count


def test_a_preview_counts_what_would_be_lost(tmp_path: Path) -> None:
    with tuned(rules_file(tmp_path, "on = 0.6\nbackground = ['nothing']\n")) as (book, running):
        weak = [[0.0, 1.8, 0.0]] * 4
        remember(running, [*burst("nothing"), *burst("挥手"), *burst("nothing"), *weak])
        for number, verdict in ((1, "up"), (2, "down")):
            start = datetime.fromtimestamp(BEGAN_S + (2 if number == 1 else 6), timezone.utc)
            event = Event("end", 1, "挥手", 0.0, 1.5, 0.9, f"0192-{number}", "porch", start)
            running.store.add(
                dataclasses.replace(
                    event, end_utc=start + timedelta(seconds=1.5), decided_utc=start
                )
            )
            running.store.judge(event.id, Feedback(verdict, None, start))  # type: ignore[arg-type]
        found = book.preview(None, {"on": 0.9}, labels=["挥手"])
        assert (found["before"], found["after"]) == (2, 1)
        assert (found["lost_up"], found["lost_down"]) == (0, 1)
        series = found["cameras"][0]["scores"]["series"][0]
        assert len(series["before"]) == len(found["cameras"][0]["scores"]["utc"]) == 16
        none = book.preview("porch", {"thresholds": {"挥手": {"on": 1.0, "off": 0.99}}})
        assert (none["after"], none["lost_up"]) == (0, 1)
        assert book.preview("hall", {"on": 0.9})["after"] == 2
        assert book.rules_of(None).on == 0.6  # nothing was changed


def rules_file(folder: Path, text: str) -> RuleLayers:
    path = folder / "my rules.toml"
    path.write_text(text, encoding="utf-8")
    return RuleLayers(folder, str(path))


def config_file(folder: Path, text: str, **options: Any) -> RuleLayers:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return RuleLayers(folder, config=path, options=RuleOverrides(**options))


CONFIG = """# my run
[sources.porch]
address = "test://64x48/10"

[sources.porch.rules]
on = 0.8 # less of the wind

[sources.hall]
address = "rtsp://admin:s3cret@camera/1"

[actions] # of all
on = 0.7
thresholds = { clap = { on = 0.9, off = 0.1 } }
"""


def test_what_is_tried_holds_for_a_while(tmp_path: Path) -> None:
    now_s = [0.0]
    layers = rules_file(tmp_path, "on = 0.6\n")
    with tuned(layers, now=lambda: now_s[0]) as (book, _):
        book.attempt(
            None, {"on": 0.9, "thresholds": {"clap": {"on": 0.5, "off": 0.5}}}, seconds=600
        )
        assert book.rules_of("porch").on == 0.9
        scope = book.record()["scopes"][0]
        assert scope["trying"]["left_s"] == 600
        assert scope["values"]["on"]["origin"] == "trying"
        assert scope["values"]["thresholds"]["clap"]["origin"] == "trying"
        now_s[0] = 599
        assert not book.expire()
        now_s[0] = 600
        assert book.expire()
        assert book.rules_of("porch") == layers.read().shared
        assert not book.revert()


def test_what_is_tried_reaches_the_run(tmp_path: Path) -> None:
    with tuned(config_file(tmp_path, CONFIG)) as (book, running):
        assert running.pipeline._tracker is not None

        def on_of(source: str) -> float:
            shared, own = running.pipeline._tracker._ruling  # type: ignore[union-attr]
            return own.get(source, shared).on

        book.attempt("hall", {"on": 0.5}, seconds=60)
        assert (on_of("hall"), on_of("porch")) == (0.5, 0.8)
        book.attempt(None, {"on": 0.6}, seconds=60)
        assert (on_of("hall"), on_of("porch")) == (0.6, 0.8)
        book.attempt("hall", {"on": 0.5}, seconds=60)
        running.pipeline.remove("hall")
        book.expire()
        running.pipeline.add(SourceInput(FakeCamera([]), name="hall"))
        book.expire()
        assert on_of("hall") == 0.5  # it is back, and decided as before
        book.revert()
        assert (on_of("hall"), on_of("porch")) == (0.7, 0.8)


@pytest.mark.parametrize("source", [None, "porch", "hall"])
def test_what_is_saved_in_a_runs_file_survives_a_restart(
    tmp_path: Path, source: str | None
) -> None:
    layers = config_file(tmp_path, CONFIG)
    changes = {
        "on": 0.65,
        "min_duration_s": 0.5,
        "decay_s": 1.5,
        "thresholds": {"挥手": {"on": 0.9, "off": 0.5}, "clap": None},
    }
    with tuned(layers) as (book, _):
        dry = book.save(source, changes, dry_run=True)
        assert layers.config is not None
        assert layers.config.read_text() == CONFIG
        saved = book.save(source, changes)
        assert dry == saved
        now = {name: book.rules_of(name) for name in (None, "porch", "hall")}
        record = book.record()
        assert record["scopes"][0]["values"]["on"]["origin"] == ("config" if source else "page")
        assert record["target"]["cameras"] == ["porch", "hall"]
    text = layers.config.read_text(encoding="utf-8")
    assert "# my run" in text
    assert "# of all" in text
    assert saved.backup.read_text() == CONFIG
    assert "+on = 0.65" in saved.diff
    assert "s3cret" not in saved.diff
    assert saved.overridden == ()
    with tuned(layers) as (again, _):
        assert {name: again.rules_of(name) for name in (None, "porch", "hall")} == now
        assert again.rules_of(source).thresholds["挥手"].on == 0.9
        assert (again.rules_of(source).decay_s, again.rules_of(source).mean_answers) == (1.5, 1)


def test_what_is_saved_in_a_file_of_rules_or_a_bundle_survives_too(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text('preset = "jester-demo"\nheld = []\n')
    (tmp_path / "rules.toml").chmod(0o640)
    made = tmp_path / "new"
    made.mkdir()
    for layers in (
        rules_file(tmp_path, "# kept\non = 0.6\n\n[thresholds]\nclap = {on = 0.5, off = 0.1}\n"),
        RuleLayers(made),
    ):
        with tuned(layers) as (book, _):
            book.save(
                None, {"off": 0.3, "thresholds": {"clap": None, "挥手": {"on": 0.5, "off": 0.5}}}
            )
            saved = book.rules_of(None)
        with tuned(layers) as (again, _):
            assert again.rules_of(None) == saved
            assert again.rules_of(None).off == 0.3
            assert set(again.rules_of(None).thresholds) == {"挥手"}
    assert (made / "rules.toml").stat().st_mode & 0o777 == 0o600


def test_saves_are_undone_one_by_one(tmp_path: Path) -> None:
    layers = rules_file(tmp_path, "on = 0.6 # mine\n")
    path = Path(str(layers.rules))
    with tuned(layers) as (book, _):
        book.save(None, {"on": 0.7})
        book.save(None, {"on": 0.8})
        assert book.record()["history"] == 2
        assert "-on = 0.8" in book.undo(dry_run=True).diff
        book.undo()
        assert book.rules_of(None).on == 0.7
        book.undo()
        assert path.read_text() == "on = 0.6 # mine\n"
        assert book.rules_of(None) == layers.read().shared
        assert book.record()["scopes"][0]["values"]["on"]["origin"] == "rules"
        with pytest.raises(ConflictError, match="nothing to undo"):
            book.undo()


def test_what_someone_else_wrote_is_not_undone(tmp_path: Path) -> None:
    layers = rules_file(tmp_path, "on = 0.6\n")
    with tuned(layers) as (book, _):
        book.save(None, {"on": 0.7})
        Path(str(layers.rules)).write_text("on = 0.9\n")
        with pytest.raises(ConflictError, match="changed by someone else"):
            book.undo()
    assert layers.read().shared.on == 0.9


def test_what_options_go_before_is_told(tmp_path: Path) -> None:
    with tuned(config_file(tmp_path, CONFIG, on=0.5)) as (book, _):
        assert book.record()["scopes"][0]["values"]["on"] == {
            "value": 0.5,
            "origin": "option",
            "where": "--on",
        }
        saved = book.save(None, {"on": 0.9, "cool_down_s": 1.0})
        assert saved.overridden == ("on",)
        assert book.rules_of("hall").on == 0.9


def test_each_value_says_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text("off = 0.3\ncool_down_s = 1\n")
    with tuned(config_file(tmp_path, CONFIG, cool_down_s=2.0)) as (book, _):
        shared, porch = (scope["values"] for scope in book.record()["scopes"])
    assert {key: shared[key]["origin"] for key in ("on", "off", "decay_s", "cool_down_s")} == {
        "on": "config",
        "off": "bundle",
        "decay_s": "default",
        "cool_down_s": "option",
    }
    assert shared["thresholds"]["clap"]["where"] == "run.toml"
    assert (porch["on"]["value"], porch["on"]["origin"]) == (0.8, "config")
    assert porch["off"]["origin"] == "bundle"


def test_where_nothing_can_be_saved_the_way_out_is_told(tmp_path: Path) -> None:
    with tuned(RuleLayers(tmp_path, rules_path(tmp_path))) as (book, _):
        with pytest.raises(
            ConflictError, match=r"start with --config FILE that has \[sources.porch\]"
        ):
            book.save("porch", {"on": 0.5})
        book.attempt("porch", {"on": 0.5}, seconds=60)
        record = book.record()
        assert [scope["camera"] for scope in record["scopes"]] == [None, "porch"]
        assert (record["target"]["writable"], record["target"]["cameras"]) == (True, [])


def rules_path(folder: Path) -> str:
    return str(rules_file(folder, "on = 0.6\n").rules)


def test_a_file_that_is_damaged_meanwhile_is_left_alone(tmp_path: Path) -> None:
    layers = rules_file(tmp_path, "on = 0.6\n")
    with tuned(layers) as (book, _):
        Path(str(layers.rules)).write_text("on = \n")
        with pytest.raises(InputError, match="not TOML"):
            book.save(None, {"on": 0.7})
        assert book.rules_of(None).on == 0.6
    assert Path(str(layers.rules)).read_text() == "on = \n"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"on": "high"}, "changes: on is 'high'"),
        ({"onn": 1}, "changes: 'onn' is unknown"),
        ({"on": 0.2, "off": 0.5}, "0 <= off <= on <= 1"),
        ({"mean_answers": 3, "decay_s": 1.0}, "two ways of smoothing"),
        ({"mean_answers": 2.5}, "expected a whole number"),
        ({"min_duration_s": float("nan")}, "expected a number"),
        ({"thresholds": {"no such": {"on": 0.5, "off": 0.1}}}, "no label 'no such'"),
        ({"thresholds": {"clap": {"on": 0.5}}}, "off is missing"),
    ],
)
def test_changes_that_cannot_be_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with tuned(rules_file(tmp_path, "on = 0.6\n")) as (book, _):
        for do in (book.preview, book.save):
            with pytest.raises(InputError, match=message):
                do(None, changes)


def test_a_change_brings_what_follows_from_it() -> None:
    start = Rules(decay_s=2.0)
    assert Changes.parse({"mean_answers": 4}, start).scalars == {"mean_answers": 4, "decay_s": 0.0}
    assert Changes.parse({"decay_s": 1}, Rules(mean_answers=3)).scalars == {
        "mean_answers": 1,
        "decay_s": 1.0,
    }
