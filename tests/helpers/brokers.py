"""A real mosquitto on loopback, and who listens to it; both are parts that may be missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.http_servers import free_port

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
MOSQUITTO = shutil.which("mosquitto", path=_PATH)
PATIENCE_S = 20.0


def needs_mosquitto(test: Any) -> Any:
    """Mark a test that talks to a real broker."""
    missing = MOSQUITTO is None or shutil.which("openssl") is None
    skipped = pytest.mark.skipif(missing, reason="mosquitto or openssl is not installed")
    return pytest.mark.parts(skipped(test))


@dataclass
class Mosquitto:
    """A broker that can be stopped and started again with all that it kept."""

    folder: Path
    lines: tuple[str, ...] = ("allow_anonymous true",)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        scheme = "mqtts" if any(line.startswith("cafile") for line in self.lines) else "mqtt"
        return f"{scheme}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return when it listens."""
        config = self.folder / "mosquitto.conf"
        own = (f"listener {self.port} 127.0.0.1", "persistence true", "log_type all")
        place = (f"persistence_location {self.folder}/", "user root")
        config.write_text("\n".join((*own, *place, *self.lines)) + "\n")
        assert MOSQUITTO
        command = [MOSQUITTO, "-c", str(config)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr
        said = list[str]()
        for line in self.process.stderr:
            said.append(line)
            if "running" in line:
                self._drain = threading.Thread(target=self.process.stderr.read)
                self._drain.start()
                return
        raise AssertionError(f"mosquitto ended: {''.join(said)}")

    def stop(self) -> None:
        """Return when it has written what it keeps, and ended."""
        assert self.process and self.process.stderr
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        self._drain.join()
        self.process.stderr.close()


@contextmanager
def mosquitto(folder: Path, *lines: str) -> Iterator[Mosquitto]:
    """A broker that runs, with these lines of configuration."""
    broker = Mosquitto(folder, lines or ("allow_anonymous true",))
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


class Listener:
    """A subscriber to everything, which the broker keeps messages for while it is away."""

    def __init__(
        self,
        port: int,
        name: str = "listener",
        *,
        configure: Callable[[Any], object] | None = None,
    ) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self._changed = threading.Condition()
        self.messages: list[tuple[str, bytes, bool]] = []
        self._subscribed, self._taken = False, dict[str, int]()
        self.client = Client(CallbackAPIVersion.VERSION2, name, clean_session=False)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.on_subscribe = self._note_subscription
        self.client.on_message = self._keep
        if configure:
            configure(self.client)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.wait(lambda: self._subscribed)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def wait(self, is_so: Callable[[], object]) -> None:
        """Wait until something is so."""
        with self._changed:
            assert self._changed.wait_for(is_so, PATIENCE_S), self.messages[-20:]

    def wait_for(self, topic: str, is_right: Callable[[bytes], object] = lambda _: True) -> bytes:
        """Return the first payload on a topic that is right, after those returned before."""
        found = list[bytes]()

        def look() -> bool:
            seen = self._taken.get(topic, 0)
            for index, (name, payload, _) in enumerate(self.messages[seen:], seen):
                if name.endswith(topic) and is_right(payload):
                    found.append(payload)
                    self._taken[topic] = index + 1
                    return True
            return False

        self.wait(look)
        return found[0]

    def payloads(self, topic: str) -> list[bytes]:
        """Return what came on topics that end like this."""
        with self._changed:
            return [payload for name, payload, _ in self.messages if name.endswith(topic)]

    def say(self, topic: str, payload: str) -> None:
        """Publish something, not retained."""
        self.client.publish(topic, payload, qos=1)

    def _note_subscription(self, *_: object) -> None:
        with self._changed:
            self._subscribed = True
            self._changed.notify_all()

    def _keep(self, _client: object, _data: object, message: Any) -> None:
        with self._changed:
            self.messages.append((message.topic, bytes(message.payload), message.retain))
            self._changed.notify_all()


def password_file(folder: Path, user: str, password: str) -> Path:
    """Write a file of mosquitto's with one login."""
    path = folder / "passwords"
    command = ["mosquitto_passwd", "-b", "-c", str(path), user, password]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PATH": _PATH})
    return path


def certificates(folder: Path) -> dict[str, Path]:
    """Make a CA, and certificates by it for a server on 127.0.0.1 and for a client."""
    files = {n: folder / f"{n}.pem" for n in ("ca", "ca-key", "server", "server-key")}
    files |= {n: folder / f"{n}.pem" for n in ("client", "client-key")}
    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")

    def request(name: str, *more: str) -> None:
        out = ("-keyout", str(files[f"{name}-key"]), "-out", str(files[name]))
        command = ["openssl", "req", "-x509", *ec, *out, "-subj", f"/CN=edge-tsm test {name}"]
        subprocess.run([*command, *more], check=True, capture_output=True)

    request("ca", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    by_ca = ("-CA", str(files["ca"]), "-CAkey", str(files["ca-key"]))
    leaf = ("-addext", "basicConstraints=critical,CA:FALSE")
    request("server", *by_ca, *leaf, "-addext", "subjectAltName=IP:127.0.0.1")
    request("client", *by_ca, *leaf)
    return files
