"""What Prometheus and service managers are answered, by a server of our own and by real parts."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
from click.testing import CliRunner

from edge_tsm.cli import main
from edge_tsm.datatypes import Delay, Prediction
from edge_tsm.errors import InputError, SinkError
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.capture import CaptureOptions
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.live.worker import SourceInput
from edge_tsm.service.endpoints import MOST_AT_ONCE, Endpoints, MetricsServer
from edge_tsm.service.metrics import MOST_LABELS, OTHER, exposition, registry_of
from edge_tsm.service.monitor import Monitor
from edge_tsm.sinks import Dispatcher, Route
from edge_tsm.sinks.callback import Callback
from edge_tsm.sinks.run import RunFacts
from edge_tsm.sources import Fault, FaultySource, TestPattern
from tests.helpers.answers import LABELS, started
from tests.helpers.fakes import FakeBackend, make_card
from tests.helpers.http_servers import free_port, serving
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.timeout(60)
EVIL = 'wave"} 1\n# HELP\\x'
needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None,
    reason="prometheus is not installed",
)


class HasUrl(Protocol):
    @property
    def url(self) -> str: ...


class Live:
    """A run of a camera, in real time."""

    def __init__(self, *faults: Fault, labels: tuple[str, ...] = LABELS) -> None:
        pattern = TestPattern(size=(64, 48), fps=20, frames=10_000)
        given = SourceInput(FaultySource(pattern, faults), name="porch")
        recognizer = Recognizer(make_card(), FakeBackend())
        facts = RunFacts(("porch",), labels, tuple(range(len(labels))), "b", "m.onnx", "00", "e")
        self.monitor = Monitor(facts, [given], CaptureOptions().clock, lambda _: pattern)
        self.pipeline = Pipeline([self.monitor.wired(given)], recognizer, window_s=0.3, every_s=0.1)
        self.dispatcher = Dispatcher([Route("json", Callback(lambda *_: None))])
        self.answered = threading.Event()

    def __enter__(self) -> Live:
        self.monitor.watch(self.pipeline, self.dispatcher)
        self.pipeline.start(self._take)
        assert self.answered.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.pipeline.close()
        self.dispatcher.close()

    def _take(self, prediction: Prediction) -> None:
        self.monitor.answered(prediction)
        self.dispatcher.write(prediction)
        self.answered.set()


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with Live() as running:
        yield running


@pytest.fixture(scope="module")
def server(live: Live) -> Iterator[MetricsServer]:
    with MetricsServer(Endpoints(live.monitor), "127.0.0.1:0") as running:
        yield running


def series(monitor: Monitor) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    from prometheus_client.parser import text_string_to_metric_families

    text = exposition(registry_of(monitor))[0].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("edge_tsm")
    }


def test_the_number_of_series_is_fixed_and_events_are_counted_once() -> None:
    live = Live(labels=("wave", EVIL, "nothing"))
    before = series(live.monitor)
    event = replace(started("wave"), source="porch")
    delay = Delay(1.0, 1.0, float("inf"))
    odd = replace(event, logits=event.logits + 1, inference_ms=float("nan"), delay=delay)
    assert odd.decision
    again = replace(odd, inference_ms=9.0, decision=replace(odd.decision, events=()))
    for prediction in (event, odd, again):
        live.monitor.answered(prediction)
    after = series(live.monitor)
    live.dispatcher.close()
    assert set(before) == set(after)
    assert after["edge_tsm_events_total", (("label", "wave"), ("source", "porch"))] == 2
    assert after["edge_tsm_events_total", (("label", EVIL), ("source", "porch"))] == 0
    assert after["edge_tsm_inference_seconds_count", ()] == 1
    assert all(value == value for value in after.values())  # none is NaN


def test_labels_beyond_a_limit_share_a_series() -> None:
    live = Live(labels=tuple(f"class {i}" for i in range(400)))
    prediction = replace(started("wave"), source="porch")
    assert prediction.decision
    for index in (0, 399, 100):
        event = replace(prediction.events[0], index=index)
        decision = replace(prediction.decision, events=(event,))
        live.monitor.answered(replace(prediction, decision=decision))
    found = {
        dict(labels)["label"]: v for (n, labels), v in series(live.monitor).items() if "events" in n
    }
    live.dispatcher.close()
    assert len(found) == MOST_LABELS + 1
    assert (found["class 0"], found[OTHER], sum(found.values())) == (1, 2, 3)


def ask(server: HasUrl, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    address = server.url.partition("//")[2].rstrip("/")
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Content-Type", ""), answer.read()
    finally:
        connection.close()


def test_a_server_answers_what_it_has_and_nothing_else(server: MetricsServer) -> None:
    status, kind, body = ask(server, "/metrics?x=1")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert b'edge_tsm_source_up{source="porch"} 1.0' in body
    assert ask(server, "/livez")[::2] == (200, b'{"alive": true}\n')
    assert json.loads(ask(server, "/readyz")[2]) == {"ready": True, "troubles": {}}
    assert ask(server, "/readyz", "HEAD")[2] == b""
    assert [ask(server, path)[0] for path in ("/", "/metrics/../x")] == [404] * 2
    assert ask(server, "/metrics", "POST")[0] == 501


def test_the_pages_server_answers_the_same_without_a_token(live: Live) -> None:
    pytest.importorskip("aiohttp", reason="the page's server")
    from edge_tsm.service.web.address import Address
    from edge_tsm.service.web.health_api import health_routes
    from edge_tsm.service.web.security import Access
    from edge_tsm.service.web.server import WebServer

    access = Access(Address.parse("127.0.0.1:0"), "long enough for it")
    with WebServer(access) as server:
        server.add(health_routes(Endpoints(live.monitor)))
        server.start()
        assert b"edge_tsm_frames_total" in ask(server, "/metrics")[2]
        assert ask(server, "/livez")[::2] == (200, b'{"alive": true}\n')
        assert ask(server, "/readyz")[0] == 200


def test_clients_that_dawdle_do_not_use_it_up(server: MetricsServer) -> None:
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    idle = [socket.create_connection(address, 5) for _ in range(MOST_AT_ONCE + 4)]
    try:
        turned_away = [end for end in idle if _is_closed(end)]
        assert len(turned_away) >= 1
        idle.pop(0).close()
    finally:
        for end in idle:
            end.close()
    for _ in range(200):  # the places are free as soon as the server has noticed
        try:
            assert ask(server, "/livez")[0] == 200
            return
        except (OSError, http.client.HTTPException):
            continue
    raise AssertionError("it answers nobody any more")


def _is_closed(end: socket.socket) -> bool:
    end.settimeout(0.2)
    try:
        return end.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize("address", ["", "9109", "h:", ":9109", "h:99999", "h:http"])
def test_what_is_no_address(address: str, live: Live) -> None:
    with pytest.raises(InputError, match="write HOST:PORT"):
        MetricsServer(Endpoints(live.monitor), address)


def test_without_prometheus_client_there_is_health_only(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "edge_tsm.service.metrics", None)
    endpoints = Endpoints(live.monitor)
    assert list(endpoints.paths) == ["/livez", "/readyz"]
    assert [endpoints.reply(path).status for path in ("/livez", "/metrics")] == [200, 404]
    with pytest.raises(InputError, match=r"pip install 'edge-tsm\[metrics\]'"):
        MetricsServer(endpoints, "127.0.0.1:0")


def test_an_address_in_use_is_one_line(server: MetricsServer, live: Live) -> None:
    address = server.url.partition("//")[2]
    with pytest.raises(SinkError, match=f"--metrics {address}: Address already in use"):
        MetricsServer(Endpoints(live.monitor), address)


def test_health_as_a_command(server: MetricsServer) -> None:
    done = CliRunner().invoke(main, ["health", server.url + "/readyz"])
    assert (done.exit_code, done.stdout) == (0, "ready\n")
    done = CliRunner().invoke(main, ["health", f"http://127.0.0.1:{free_port()}/readyz"])
    assert done.exit_code == 4
    assert "Connection refused" in done.stderr
    with serving() as other:  # which knows no GET
        assert CliRunner().invoke(main, ["health", other.url]).exit_code == 4
    assert CliRunner().invoke(main, ["health", "file:///etc/passwd"]).exit_code == 4


@pytest.mark.parts
@needs_prometheus
def test_promtool_finds_nothing_wrong(live: Live) -> None:
    text, _ = exposition(registry_of(live.monitor))
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    rules = ROOT / "examples" / "alerts.yml"
    assert (
        subprocess.run(["promtool", "check", "rules", rules], capture_output=True).returncode == 0
    )


CONFIG = """
global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}
rule_files: [alerts.yml]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["{manager}"]}}]}}]}}
scrape_configs:
  - {{job_name: edge-tsm, static_configs: [{{targets: ["{target}"]}}]}}
"""


@pytest.mark.parts
@needs_prometheus
def test_a_camera_that_hangs_raises_an_alert(tmp_path: Path) -> None:
    """A real prometheus scrapes, and tells a server that stands for the Alertmanager."""
    told = threading.Event()
    rules = (ROOT / "examples" / "alerts.yml").read_text()
    (tmp_path / "alerts.yml").write_text(rules.replace("for: 30s", "for: 200ms"))
    with (
        Live(Fault("hang", at=30)) as live,
        MetricsServer(Endpoints(live.monitor), "127.0.0.1:0") as server,
        serving() as manager,
    ):
        manager.before_answer = lambda: told.set() if alerts(manager.posts) else None
        config = CONFIG.format(manager=manager.url[7:], target=server.url[7:])
        (tmp_path / "prometheus.yml").write_text(config)
        own = (f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data")
        listen = f"--web.listen-address=127.0.0.1:{free_port()}"
        with subprocess.Popen(["prometheus", *own, listen], stderr=subprocess.DEVNULL) as process:
            try:
                assert told.wait(30)
            finally:
                process.terminate()
        live.monitor.enable("porch", False)  # ends the read that hangs
    [labels] = alerts(manager.posts)[:1]
    assert (labels["source"], labels["severity"]) == ("porch", "warning")


def alerts(posts: list[tuple[str, dict[str, str], bytes]]) -> list[dict[str, str]]:
    found = [alert["labels"] for _, _, body in posts for alert in json.loads(body)]
    return [labels for labels in found if labels["alertname"] == "EdgeTsmSourceDown"]
