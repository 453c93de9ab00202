"""A real mosquitto: logins, TLS, restarts, and what it tells others of us."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from edge_tsm import demo
from edge_tsm.datatypes import StateChange
from edge_tsm.events import EventStore
from edge_tsm.sinks import SinkContext
from edge_tsm.sinks.mqtt.options import MqttOptions
from edge_tsm.sinks.mqtt.sink import MqttSink, PicturingMqttSink, open_mqtt
from edge_tsm.sinks.run import OnEnabled, RunFacts
from tests.helpers.answers import LABELS, NOON, answer_with, started, stored
from tests.helpers.brokers import (
    Listener,
    Mosquitto,
    certificates,
    mosquitto,
    needs_mosquitto,
    password_file,
)
from tests.helpers.fakes import frames_at
from tests.helpers.homeassistant import SCHEMA
from tests.helpers.log_lines import log_lines

pytestmark = [pytest.mark.timeout(60), pytest.mark.parts]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_tsm.sinks.mqtt.link.FIRST_PAUSE_S", 0.1)


@dataclass
class FakeRun:
    """A run of one camera, whose switch only notes what it is asked."""

    def __post_init__(self) -> None:
        self.facts = RunFacts(("porch",), LABELS, (0, 1), "gestures", version="1")
        self.on = {"porch": True}
        self.listeners = list[OnEnabled]()

    def enabled(self) -> dict[str, bool]:
        return dict(self.on)

    def enable(self, source: str, on: bool) -> None:
        self.on[source] = on
        for listener in self.listeners:
            listener(source, on)

    def listen(self, on_enabled: OnEnabled) -> None:
        self.listeners.append(on_enabled)

    def figures(self) -> dict[str, Any]:
        return {"span_s": float("nan")}


def says(key: str, value: str) -> Callable[[bytes], bool]:
    return lambda payload: json.loads(payload).get(key) == value


@contextmanager
def sink_to(
    url: str, *, store: EventStore | None = None, live: bool = False, **options: Any
) -> Iterator[MqttSink]:
    mqtt = MqttOptions(device="hall", **options)
    context = SinkContext(name="mqtt", mqtt=mqtt, run=FakeRun(), store=store, live=live)
    sink = open_mqtt(url, context)
    try:
        yield sink
    finally:
        sink.close()


@needs_mosquitto
def test_a_device_is_online_tells_what_happens_and_is_offline_in_the_end(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, Listener(broker.port) as listener:
        with sink_to(broker.url, live=True, scores=True, snapshots=True) as sink:
            assert isinstance(sink, PicturingMqttSink)
            message = json.loads(listener.wait_for("homeassistant/device/edge-tsm-hall/config"))
            jsonschema.validate(message, SCHEMA)
            assert listener.wait_for("edge-tsm/hall/status") == b"online"
            assert json.loads(listener.wait_for("/info"))["labels"] == list(LABELS)
            listener.wait_for("hall/porch/enabled/state")
            for frame in frames_at([0.1], (48, 64)):
                sink.frame(frame, "porch")
            sink.state(StateChange("porch", "live", "opening", 1.0, NOON))
            sink.write(replace(started("wave"), source="porch"), "porch")
            sink.write(answer_with(stored(1, label="clap")), "porch")
            listener.wait_for("porch/state", says("state", "live"))
            action = json.loads(listener.wait_for("porch/action", says("action", "wave")))
            assert action["indices"] == [0]
            assert action["score"] == pytest.approx(0.9)
            scores = json.loads(listener.wait_for("porch/scores"))
            assert (scores["label"], scores["action"]) == ("wave", "wave")
            assert listener.wait_for("porch/snapshot")[:3] == b"\xff\xd8\xff"
            event = json.loads(listener.wait_for("porch/event", lambda p: b"clap" in p))
            assert event["id"] == stored(1).id
        assert listener.wait_for("edge-tsm/hall/status") == b"offline"
        with Listener(broker.port, "late") as late:
            assert late.wait_for("edge-tsm/hall/status") == b"offline"
            assert json.loads(late.wait_for("porch/action"))["action"] == "wave"
            assert not late.payloads("porch/scores")


@needs_mosquitto
def test_home_assistants_birth_and_the_switch_are_heard(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, Listener(broker.port) as listener, sink_to(broker.url):
        listener.wait_for("/config")
        listener.wait_for("porch/enabled/state", lambda p: p == b"ON")
        listener.say("homeassistant/status", "online")
        listener.wait_for("/config")
        listener.say("edge-tsm/hall/porch/enabled/set", "off")
        assert listener.wait_for("porch/enabled/state", lambda p: p == b"OFF")
        listener.wait_for("porch/state", says("state", "disabled"))
        for odd in ("", "x" * 999, "\x1b[2J"):
            listener.say("edge-tsm/hall/porch/enabled/set", odd)
            listener.say("edge-tsm/hall/cellar/enabled/set", odd)
        listener.say("edge-tsm/hall/porch/enabled/set", "ON")
        assert listener.wait_for("porch/enabled/state", lambda p: p == b"ON")


# paho leaves a socket whose handshake fails to Python's garbage collection.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@needs_mosquitto
def test_logins_and_certificates(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One broker with all of it: a password, TLS by a CA of its own, certificates of clients."""
    files = certificates(tmp_path)
    (tmp_path / "password").write_text("s3cret\n")
    (tmp_path / "password").chmod(0o600)
    lines = (
        "allow_anonymous false",
        f"password_file {password_file(tmp_path, 'me', 's3cret')}",
        f"cafile {files['ca']}",
        f"certfile {files['server']}",
        f"keyfile {files['server-key']}",
        "require_certificate true",
    )
    own = {"ca": files["ca"], "cert": files["client"], "key": files["client-key"]}
    login = {"user": "me", "password": f"file:{tmp_path}/password"}

    def configure(client: Any) -> None:
        client.tls_set(*(str(files[n]) for n in ("ca", "client", "client-key")))
        client.username_pw_set("me", "s3cret")

    wrong = {
        "is not trusted (self": {**login},
        "refuses user 'me' (Not authorized); check user and password": {
            **own,
            "user": "me",
            "password": "env:EDGE_TSM_WRONG",
        },
        "refuses a client without a login": own,
        "; trying again": {**login, "ca": files["ca"]},  # without a certificate of ours
    }
    os.environ["EDGE_TSM_WRONG"] = "s3cret-not"
    with mosquitto(tmp_path, *lines) as broker:
        for said, options in wrong.items():
            with log_lines() as lines, sink_to(broker.url, **options) as sink:
                sink.write(answer_with(stored(1)), "porch")
                lines.wait_for(said)
                sink.cancel()
        with Listener(broker.port, configure=configure) as listener:
            with sink_to(broker.url, **own, **login):
                assert listener.wait_for("edge-tsm/hall/status") == b"online"
            assert listener.wait_for("edge-tsm/hall/status") == b"offline"
    assert "s3cret" not in caplog.text


@needs_mosquitto
def test_a_broker_that_is_restarted_loses_no_event(tmp_path: Path) -> None:
    """Stopped twice while events are written; the subscriber's session outlasts that."""
    broker = Mosquitto(tmp_path)
    broker.start()
    with (
        EventStore(tmp_path / "e.db") as store,
        Listener(broker.port) as listener,
        sink_to(broker.url, store=store) as sink,
    ):
        for number in range(60):
            sink.write(answer_with(stored(number, "end")), "porch")
            if number in (10, 30):
                listener.wait(lambda: listener.payloads("porch/event"))
                broker.stop()
            if number in (20, 40):
                broker.start()
        wanted = {stored(number).id for number in range(60)}
        listener.wait(lambda: ids(listener) == wanted)
    broker.stop()


def ids(listener: Listener) -> set[str]:
    return {json.loads(payload)["id"] for payload in listener.payloads("porch/event")}


@needs_mosquitto
def test_what_a_broker_does_not_allow_is_set_aside_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "acl").write_text("topic write edge-tsm/hall/status\n")
    with mosquitto(tmp_path, "allow_anonymous true", f"acl_file {tmp_path}/acl") as broker:
        with sink_to(broker.url) as sink:
            sink.write(answer_with(stored(1)), "porch")
        assert sink.counts().failed == 1
    assert "edge-tsm/hall/porch/event: Not authorized; " in caplog.text


@needs_mosquitto
def test_a_second_run_of_the_same_name_is_told(tmp_path: Path) -> None:
    with (
        mosquitto(tmp_path) as broker,
        Listener(broker.port) as listener,
        sink_to(broker.url),
    ):
        listener.wait_for("edge-tsm/hall/status", lambda p: p == b"online")
        with log_lines() as lines, sink_to(broker.url):
            lines.wait_for("does another run use this device name?")


@needs_mosquitto
def test_a_process_is_watched_switched_and_killed(tmp_path: Path) -> None:
    """The command as a user types it, up to `kill -9`."""
    with mosquitto(tmp_path) as broker, Listener(broker.port) as listener:
        camera = ("--camera", "porch=test://64x48/10", "--window", "0.6", "--every", "0.3")
        mqtt = ("--mqtt", broker.url, "--mqtt-device", "hall", "--mqtt-scores", "--json")
        command = [sys.executable, "-m", "edge_tsm", "run", str(demo.bundle()), *camera, *mqtt]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
            try:
                assert listener.wait_for("edge-tsm/hall/status") == b"online"
                listener.wait_for("porch/scores")
                listener.say("edge-tsm/hall/porch/enabled/set", "OFF")
                listener.wait_for("porch/enabled/state", lambda p: p == b"OFF")
                listener.wait_for("porch/state", says("state", "disabled"))
                listener.wait_for("porch/event", says("state", "ended"))
                listener.say("edge-tsm/hall/porch/enabled/set", "ON")
                listener.wait_for("porch/state", says("state", "live"))
                listener.wait_for("porch/scores")
            finally:
                os.kill(run.pid, signal.SIGKILL)
        assert listener.wait_for("edge-tsm/hall/status") == b"offline"


@needs_mosquitto
def test_pictures_are_as_large_as_they_are_needed(tmp_path: Path) -> None:
    from edge_tsm.sinks.mqtt.sink import _jpeg

    jpeg = _jpeg(np.zeros((2160, 3840, 3), np.uint8))
    assert re.search(rb"\xff\xc0\x00\x11\x08\x02\xd0\x05\x00", jpeg)  # 720 by 1280
