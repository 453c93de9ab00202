"""The options of `run` that say where answers go."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edge_tsm.actions.rules import PRESETS, RULES_FILE, read_rules, write_rules
from edge_tsm.actions.tracker import ActionTracker
from edge_tsm.cli.outputs import OutputOptions, RuleOptions, output_options, rule_options
from edge_tsm.datatypes import Prediction
from edge_tsm.errors import InputError, SinkError
from edge_tsm.events import EventStore
from edge_tsm.sinks import Dispatcher, open_routes
from edge_tsm.sinks.film import clip_suffix
from edge_tsm.system.clock import SYSTEM_CLOCK
from tests.helpers.answers import LABELS, says
from tests.helpers.disks import fill, small_disk
from tests.helpers.fakes import FakeCamera, frames_at

pytestmark = pytest.mark.timeout(30)


class Run:
    """The sinks and decisions that options ask for."""

    def __init__(
        self, dispatcher: Dispatcher, tracker: ActionTracker | None, store: EventStore
    ) -> None:
        self.dispatcher, self._tracker, self.store = dispatcher, tracker, store

    def write(self, prediction: Prediction) -> Prediction:
        decided = self._tracker.update(prediction) if self._tracker else prediction
        self.dispatcher.write(decided, "cam")
        return decided

    def finish(self) -> None:
        for prediction in self._tracker.finish() if self._tracker else ():
            self.dispatcher.write(prediction, "cam")
        self.dispatcher.close()
        self.store.close()


def opened(*options: str, live: bool = True, bundle: Path = Path("nowhere")) -> Run:
    """The run that these options ask for."""

    @click.command()
    @output_options
    @rule_options
    def command(outputs: OutputOptions, rules: RuleOptions) -> Run:
        requests = outputs.requests(live=live)
        chosen = rules.chosen(bundle, LABELS, requests)
        source = FakeCamera([])
        source.live = live
        with ExitStack() as opened:
            store = opened.enter_context(outputs.store(requests, SYSTEM_CLOCK))
            context = outputs.context([source], SYSTEM_CLOCK, store=store, on_close=lambda: None)
            routes = open_routes(requests, context)
            opened.pop_all()
        return Run(Dispatcher(routes), ActionTracker(chosen, LABELS) if chosen else None, store)

    result = command.main([*options], standalone_mode=False)
    assert isinstance(result, Run)
    return result


def play(run: Run, *labels: str) -> list[list[str]]:
    """Kinds of the events of each answer."""
    answers = [run.write(says(label, t)) for t, label in enumerate(labels)]
    run.finish()
    return [[event.kind for event in a.events] for a in answers if a.decision]


def test_answers_are_left_alone_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert play(opened("--json"), "wave", "wave") == []
    assert ["decision" in json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        False,
        False,
    ]


def test_actions_come_with_json_and_end_with_the_source(
    capsys: pytest.CaptureFixture[str],
) -> None:
    play(opened("--json", "--actions"), "wave", "clap")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = [[event["kind"] for event in line["decision"]["events"]] for line in lines]
    assert kinds == [["start"], ["end", "start"], ["end"]]


def test_the_bundles_own_rules_are_where_options_start(tmp_path: Path) -> None:
    own, held = tmp_path / RULES_FILE, PRESETS["jester-demo"].held
    write_rules("jester-demo", ("No gesture", "Doing other things", *held), own)
    assert read_rules(str(own)) == PRESETS["jester-demo"]
    own.write_text('background = ["wave"]\n')
    assert play(opened(bundle=tmp_path), "wave") == []  # nobody asked for actions
    assert play(opened("--actions", bundle=tmp_path), "wave", "clap") == [[], ["start"]]
    other = tmp_path / "other.toml"
    other.write_text('background = ["clap"]\n')
    options = ("--rules", str(other))
    assert play(opened(*options, bundle=tmp_path), "wave", "clap") == [["start"], ["end"]]
    with pytest.raises(InputError, match="background"):
        write_rules(str(own), ("run", "walk"), tmp_path / "x.toml")
    assert not (tmp_path / "x.toml").exists()


def test_flags_override_the_file(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("mean_answers = 3\nbackground = ['wave']")
    assert play(opened("--rules", str(rules)), "wave", "wave") == [[], []]
    assert play(
        opened("--rules", str(rules), "--background", "clap", "--decay", "0.1"), "wave"
    ) == [["start"]]
    assert play(opened("--on", "0.95"), "wave") == [[]]
    assert play(opened("--threshold", "wave=0.95/0.1"), "wave", "clap") == [[], ["start"]]
    assert play(opened("--on", "0.2"), "wave") == [["start"]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rules", "jester-demo"], "background: the model has no label 'No gesture'"),
        (["--ignore", "Wave"], "did you mean 'wave'"),
        (["--threshold", "wave"], "write LABEL=ON"),
        (["--threshold", "wave=x"], "write LABEL=ON"),
        (["--on", "0.3", "--off", "0.4"], "0 <= off <= on"),
        (["--mean", "2", "--decay", "1"], "two ways of smoothing"),
        (["--webhook", "nope"], "pass an http"),
    ],
)
def test_options_that_make_no_sense(options: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        opened(*options)


def test_pictures_are_for_live_sources(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--snapshots is for live sources"):
        opened("--snapshots", str(tmp_path), live=False)


def test_snapshots_and_clips_go_to_one_folder(tmp_path: Path) -> None:
    run = opened("--snapshots", str(tmp_path), "--clips", str(tmp_path), "--json")
    for t, frame in enumerate(frames_at([0.0, 0.5, 1.0], (32, 32))):
        run.dispatcher.frame(frame, "cam")
        run.write(says("wave", t / 2))
    run.finish()
    assert {path.suffix for path in tmp_path.iterdir()} == {clip_suffix(), ".jpg"}
    assert run.dispatcher.counts()["clips"].failed == 0


@pytest.mark.parametrize("exists", [False, True])
def test_a_disk_that_is_full_at_the_start_does_not_end_recognition(
    exists: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        if exists:
            EventStore(disk / "events.db").close()
        fill(disk)
        options = ("--events", str(disk / "events.db"))
        assert play(opened(*options), "wave", "clap") == [["start"], ["end", "start"]]
        assert caplog.text.count("kept in memory") == 1
        if not exists:
            with pytest.raises(SinkError, match="disk is full"):
                opened(*options, "--essential", "events")


def test_an_essential_sink_must_be_one_of_the_run() -> None:
    with pytest.raises(InputError, match="--essential recorder: the sinks of this run are live"):
        opened("--essential", "recorder")


def test_help_fits_eighty_columns() -> None:
    command = click.command()(output_options(rule_options(lambda: None)))
    help_text = CliRunner().invoke(command, ["--help"])
    assert max(map(len, help_text.output.splitlines())) <= 80
    assert "--webhook" in help_text.output
