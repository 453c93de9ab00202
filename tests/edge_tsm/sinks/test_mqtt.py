"""What is published, under which names, and what is no broker; none is needed here."""

from __future__ import annotations

import json
import socket
import string
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_tsm.errors import InputError
from edge_tsm.events import EventStore
from edge_tsm.sinks import SinkContext
from edge_tsm.sinks.exposure import exposures
from edge_tsm.sinks.mqtt.discovery import MOST_CLASSES, discovery_message
from edge_tsm.sinks.mqtt.options import MqttOptions, broker_of
from edge_tsm.sinks.mqtt.sink import open_mqtt
from edge_tsm.sinks.mqtt.topics import Topics, safe_id
from edge_tsm.sinks.outbox import Outbox, Unavailable
from edge_tsm.sinks.run import RunFacts
from edge_tsm.system.clock import VirtualClock
from tests.helpers.answers import LABELS, answer_with, stored
from tests.helpers.homeassistant import SCHEMA
from tests.helpers.http_servers import free_port, talking
from tests.helpers.log_lines import log_lines

pytestmark = pytest.mark.timeout(30)
SAFE = set(string.ascii_letters + string.digits + "_-")
TAKEN = b"\x20\x03\x00\x00\x00"  # a broker of MQTT 5 accepts
EVIL = "{{ 1 + 1 }}'\"\x1b]0;x\x07#/+"


@given(st.text(max_size=90), st.text(max_size=90))
def test_names_are_safe_in_topics_and_stay_apart(one: str, other: str) -> None:
    assert set(safe_id(one)) <= SAFE
    assert 0 < len(safe_id(one)) <= 80
    assert (safe_id(one) == safe_id(other)) == (one == other)


def test_a_host_name_is_what_a_device_is_called_by_itself() -> None:
    assert Topics.here(None).device == safe_id(socket.gethostname().partition(".")[0])
    assert Topics.here("Lab #1").status == "edge-tsm/Lab_1-b553ac/status"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mqtt://broker.local", "mqtt://broker.local:1883"),
        ("mqtts://me:p%40ss@10.0.0.5", "mqtts://10.0.0.5:8883"),
        ("mqtt://me:p@[::1]:99/", "mqtt://[::1]:99"),
    ],
)
def test_an_address_is_shown_without_its_login(url: str, shown: str) -> None:
    broker = broker_of(url, MqttOptions())
    assert broker.shown == shown
    assert "p@ss" not in repr(broker)


def test_options_go_before_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_PASSWORD", "from outside\n")
    options = MqttOptions(user="you", password="env:BROKER_PASSWORD")
    broker = broker_of("mqtt://me:p%40ss@h", options)
    assert (broker.user, broker.password) == ("you", "from outside")
    broker = broker_of("mqtt://me:p%40ss@h", MqttOptions())
    assert (broker.user, broker.password) == ("me", "p@ss")


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("", {}, "write mqtt://broker"),
        ("broker.local", {}, "write mqtt://broker"),
        ("http://h", {}, "write mqtt://broker"),
        ("mqtt://", {}, "write mqtt://broker"),
        ("mqtt://h/topic", {}, "nothing more"),
        ("mqtt://h?x=s3cret", {}, "nothing more"),
        ("mqtt://me:s3c/ret@h", {}, "escape"),
        ("mqtt://h:99999", {}, "not a URL"),
        ("mqtt://h", {"password": "s3cret"}, "--mqtt-user"),
        ("mqtt://h", {"user": "me", "password": "env:NOWHERE"}, "NOWHERE: .* is not set"),
        ("mqtt://h", {"ca": Path("ca.pem")}, "are for mqtts://"),
        ("mqtts://h", {"ca": Path("nowhere.pem")}, "nowhere.pem: not a certificate"),
        ("mqtts://h", {"cert": Path("c.pem")}, "needs its key"),
    ],
)
def test_what_cannot_be_is_one_line_without_secrets(
    url: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        broker_of(url, MqttOptions(**options))  # type: ignore[arg-type]
    assert "s3c" not in str(caught.value)


def test_an_encrypted_key_is_an_error_and_no_question(tmp_path: Path) -> None:
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n")
    options = MqttOptions(cert=tmp_path / "c.pem", key=tmp_path / "k.pem")
    with pytest.raises(InputError, match=r"c\.pem: not a certificate"):
        broker_of("mqtts://h", options)


def facts(*labels: str) -> RunFacts:
    given = labels or LABELS
    return RunFacts(("porch", "cam.2"), given, tuple(range(len(given))), "gestures", version="1")


@pytest.mark.parametrize("labels", [(), ("wave", EVIL), tuple(f"class {i}" for i in range(400))])
def test_discovery_is_what_home_assistant_documents(labels: tuple[str, ...]) -> None:
    options = MqttOptions(snapshots=True)
    message = discovery_message(Topics("Lab #1"), facts(*labels), options)
    jsonschema.validate(json.loads(json.dumps(message)), SCHEMA)
    platforms = [one["platform"] for one in message["components"].values()]
    of_classes = len(facts(*labels).labels) if len(labels) <= MOST_CLASSES else 0
    assert platforms.count("binary_sensor") == 1 + 2 * of_classes
    for platform in ("event", "image", "switch"):
        assert platforms.count(platform) == 2
    ids = [one["unique_id"] for one in message["components"].values()]
    assert len(set(ids)) == len(ids)


def test_no_text_of_a_label_gets_into_a_template() -> None:
    message = discovery_message(Topics("hall"), facts("wave", EVIL), MqttOptions())
    for component in message["components"].values():
        assert "1 + 1" not in component.get("value_template", "")
        assert component["name"].isprintable()


def test_home_assistants_templates_give_what_they_should() -> None:
    sandbox = pytest.importorskip("jinja2.sandbox", reason="jinja2 renders these templates")
    environment = sandbox.ImmutableSandboxedEnvironment()
    environment.filters["to_json"] = json.dumps
    components = discovery_message(Topics("hall"), facts(), MqttOptions())["components"]

    def rendered(key: str, value: object) -> str:
        template = environment.from_string(components[key]["value_template"])
        return str(template.render(value_json=value))

    event = {"kind": "start", "label": EVIL, "id": "0192"}
    assert json.loads(rendered("porch_event", event)) == {**event, "event_type": EVIL}
    assert rendered("porch_event", {**event, "kind": "end"}) == ""
    assert rendered("porch_action", {"action": None}) == "none"
    assert rendered("porch_action", {"action": "w" * 300}) == "w" * 255
    assert rendered("porch_class_1", {"indices": [1]}) == "ON"
    assert rendered("porch_class_1", {"indices": [11]}) == "OFF"
    assert rendered("latency", {"stages": {}}) == ""
    assert rendered("latency", {"stages": {"latency": {"p95_ms": 4.5}}}) == "4.5"
    available = environment.from_string(
        components["porch_action"]["availability"][1]["value_template"]
    )
    assert available.render(value_json={"state": "live"}) == "online"
    assert available.render(value_json={"state": "lost"}) == "offline"


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (None, "Connection refused"),
        (lambda end: end.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "closed at once"),
        (lambda end: end.sendall(b"\x20\x02\x00\x05"), "refuses a client without a login"),
        (lambda end: None, "closed at once"),
        (lambda end: end.sendall(TAKEN + b"\x30\x05\x00\x02\xff\xfe\x00"), "connection is lost"),
        (lambda end: end.sendall(TAKEN + b"\x30\x02\x00\x50"), "connection is lost"),
        (lambda end: end.sendall(TAKEN + b"\x30" + b"\xff" * 9), "connection is lost"),
        (lambda end: end.recv(1), "no answer within 0.3 s; is it an MQTT broker?"),
    ],
)
def test_what_is_no_broker_is_one_line_and_holds_up_nothing(
    talk: Callable[[socket.socket], object] | None,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_tsm.sinks.mqtt.link.TIMEOUT_S", 0.3)
    url = nullcontext(f"http://127.0.0.1:{free_port()}") if talk is None else talking(talk)
    with url as address, log_lines() as lines:
        shown = address.replace("http", "mqtt")
        started_s = time.monotonic()
        sink = open_mqtt(shown, SinkContext(name="mqtt"))
        sink.write(answer_with(stored(1)), "porch")
        assert time.monotonic() - started_s < 1
        lines.wait_for(f"mqtt: {shown}: ")
        lines.wait_for(said)
        assert sink.counts().pending == 1
        closing_s = time.monotonic()
        sink.cancel()
        sink.close()
        assert time.monotonic() - closing_s < 2
    assert [line for line in lines.lines if said in line][1:] == []
    assert all(line.isprintable() for line in lines.lines)


def test_a_destination_that_has_told_of_an_outage_is_not_told_of_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Away:
        attempts = 0

        def send(self, message: object) -> None:
            self.attempts += 1
            if self.attempts < 5:
                raise Unavailable("away", told=True)

        def cancel(self) -> None: ...

    clock, away = VirtualClock(), Away()
    with EventStore(clock=clock) as store:
        sink = Outbox(away, store, name="mqtt", clock=clock)
        sink.write(answer_with(stored(1)), "porch")
        sink.close()
    assert away.attempts == 5
    assert caplog.text == ""


def test_a_password_over_plain_mqtt_to_another_machine_is_worth_a_warning() -> None:
    assert list(exposures("mqtt://127.0.0.1:1883")) == []
    assert list(exposures("mqtts://broker.example:8883")) == []
    [said] = exposures("mqtt://broker.example:1883")
    assert said == "credentials go to broker.example unencrypted; use mqtts"


def test_without_paho_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(InputError, match=r"pip install 'edge-tsm\[mqtt\]'"):
        open_mqtt("mqtt://127.0.0.1", SinkContext(name="mqtt"))
