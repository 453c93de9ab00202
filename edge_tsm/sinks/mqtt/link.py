"""The connection to a broker: held by a thread of its own, which nobody waits for."""

from __future__ import annotations

import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_tsm.errors import InputError
from edge_tsm.sinks.mqtt.options import Broker
from edge_tsm.sinks.outbox import Refused, Unavailable
from edge_tsm.system.printable import printable

if TYPE_CHECKING:
    from paho.mqtt.client import Client

TIMEOUT_S = 10.0  # for the broker to answer anything
CONNECT_S = 5.0
KEEPALIVE_S = 15  # a broker that hangs is noticed in twice that, and so are we
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
GLANCE_S = 1.0  # how long a delivery waits for a connection
GOODBYE_S = 1.0
BRIEF_S, MOST_BRIEF = 10.0, 2  # connections shorter than this, in a row: someone ends them
RIVAL = " soon after it was made, again and again; does another run use this device name?"
CLOSED = "the connection is closed at once"
MOST_UNSENT = 64  # messages that the network has not taken; then those that may be lost are

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Publication:
    """One message; one that is `retained` the broker keeps for whoever subscribes later.

    The broker confirms one of `qos` 1.
    """

    topic: str
    payload: str | bytes
    retained: bool = False
    qos: int = 0


@dataclass(frozen=True)
class Duties:
    """What a link does beside publishing, in its own thread.

    Args:
        greeting: what is published first on every new connection, as what is retained is.
        subscriptions: patterns of topics.
        on_message: called with (topic, payload).
        on_tick: called every `tick_s` seconds while there is a connection.
    """

    greeting: Callable[[], list[Publication]] = list
    subscriptions: tuple[str, ...] = ()
    on_message: Callable[[str, bytes], object] = lambda topic, payload: None
    on_tick: Callable[[], object] = lambda: None
    tick_s: float = 30.0


class Link:
    """Keeps a connection, as long as the broker is there, and makes a new one when it is not.

    What is retained is kept here too, the newest of each topic, and published again on every
    connection: the broker may have forgotten it. Nothing else waits for a connection here.

    Args:
        broker: where, and who we are.
        client_id: one at a time may use it; the broker ends the connection of the other.
        will: what the broker publishes when the connection ends without a goodbye.
        duties: what else to do.

    Raises:
        InputError: paho-mqtt is not installed.
    """

    def __init__(
        self, broker: Broker, client_id: str, will: Publication, duties: Duties | None = None
    ) -> None:
        _require_paho()
        self._broker, self._client_id, self._will = broker, client_id, will
        self._duties = duties or Duties()
        self._changed = threading.Condition()
        self._order = threading.RLock()  # a greeting never comes after what is newer
        self._retained: dict[str, Publication] = {}
        self._session: _Session | None = None
        self._reason, self._told = "not connected yet", set[str]()
        self._closing = self._canceled = self._ended = False
        self._modern = True  # MQTT 5, which tells what a broker will not take
        self._random = random.Random()
        self._was_connected = False

    @property
    def shown(self) -> str:
        """The broker's address, without secrets."""
        return self._broker.shown

    def start(self, on_connected: Callable[[], object] = lambda: None) -> None:
        """Connect, and stay so, in a thread; `on_connected` is called there after each greeting."""
        self._on_connected = on_connected
        threading.Thread(target=self._run, name="edge-tsm mqtt", daemon=True).start()

    def post(self, publication: Publication) -> bool:
        """Publish without waiting; return whether it is on its way or kept until it can be."""
        with self._order:
            if publication.retained:
                self._retained[publication.topic] = publication
            session = self._session
            if session is None:
                return publication.retained
            if session.is_congested and not publication.retained:
                return False
            session.publish(publication)
            return True

    def deliver(self, publication: Publication) -> None:
        """Publish and return when the broker has taken it.

        Raises:
            Unavailable: there is no connection, or it ended before that; the reason was logged.
            Refused: the broker says that it may not be published.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._session or self._canceled, GLANCE_S)
            session, reason = self._session, self._reason
        if session is None or self._canceled:
            raise Unavailable(f"{self.shown}: {reason}", told=True)
        number = session.publish(publication)
        with self._changed:
            self._changed.wait_for(
                lambda: number in session.taken or session.ended or self._canceled, TIMEOUT_S
            )
            verdict, ended = session.taken.pop(number, None), session.ended
        if verdict is None:
            if not (ended or self._canceled):
                session.end(f"does not confirm what it is sent, within {TIMEOUT_S:g} s")
            raise Unavailable(f"{self.shown}: not confirmed", told=True)
        if verdict:
            raise Refused(f"{self.shown}: {publication.topic}: {verdict}")

    def greet(self) -> None:
        """Publish once more what a new connection begins with."""
        with self._order:
            if self._session is not None:
                self._greet(self._session)

    def cancel(self) -> None:
        """End every wait of `deliver`, now and later."""
        with self._changed:
            self._canceled = True
            self._changed.notify_all()

    def close(self, goodbye: Publication) -> None:
        """Publish a last message if there is a connection, and end it; takes a second at most."""
        with self._changed:
            self._closing = True
            session, limit_s = self._session, 0.0 if self._canceled else GOODBYE_S
            self._changed.notify_all()
        if session is not None:
            number = session.publish(goodbye)
            with self._changed:
                self._changed.wait_for(lambda: number in session.taken or session.ended, limit_s)
            session.end("")
        with self._changed:
            self._changed.wait_for(lambda: self._ended, GOODBYE_S / 4)

    # --- in the thread ---

    def _run(self) -> None:
        pause_s, brief = FIRST_PAUSE_S, 0
        try:
            while not self._closing:
                started_s = time.monotonic()
                session = self._connect()
                if self._closing or self._is_too_modern(session):
                    continue
                connected = session is not None and session.connected
                lasted = connected and time.monotonic() - started_s >= BRIEF_S
                brief = brief + 1 if connected and not lasted else 0
                self._tell(self._reason + (RIVAL if brief >= MOST_BRIEF else ""))
                pause_s = FIRST_PAUSE_S if lasted else min(pause_s * 2, LONGEST_PAUSE_S)
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._closing, pause_s * self._random.uniform(0.5, 1.0)
                    )
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _connect(self) -> _Session | None:
        """Make a connection and wait for its end; None if there was not even one of TCP."""
        session = _Session(self._broker, self._changed, self._subscribe, self._duties.on_message)
        client = session.client = self._client(session)
        try:
            client.connect(self._broker.host, self._broker.port, KEEPALIVE_S)
        except (OSError, ValueError) as error:
            self._reason = _reason(error)
            return None
        client.loop_start()
        try:
            self._attend(session)
        finally:
            with self._changed:
                self._session = None
                self._reason = session.reason or self._reason
            session.leave()
        return session

    def _attend(self, session: _Session) -> None:
        """Wait for the end of a connection, and do what is due meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: session.connected or session.ended, TIMEOUT_S)
        if not session.connected:
            session.end(f"no answer within {TIMEOUT_S:g} s; is it an MQTT broker?")
            return
        self._welcome()
        while not session.ended:
            with self._changed:
                self._changed.wait_for(lambda: session.ended, self._duties.tick_s)
            if not (session.ended or self._closing):
                self._duties.on_tick()

    def _welcome(self) -> None:
        again = " again" if self._was_connected else ""
        _log.info("mqtt: connected%s to %s", again, self.shown)
        self._was_connected, self._told = True, {t for t in self._told if t.endswith(RIVAL)}
        self._on_connected()

    def _subscribe(self, session: _Session) -> None:
        """Begin a connection that the broker has accepted; called by paho."""
        for pattern in self._duties.subscriptions:
            session.client.subscribe(pattern, qos=1)
        with self._order:
            self._greet(session)
            with self._changed:
                self._session = None if self._closing else session
                self._changed.notify_all()

    def _greet(self, session: _Session) -> None:
        for publication in [*self._duties.greeting(), *self._retained.values()]:
            session.publish(publication)

    def _client(self, session: _Session) -> Client:
        from paho.mqtt.client import Client, MQTTv5, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=MQTTv5 if self._modern else MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_S
        client.max_queued_messages_set(0)
        if self._broker.user is not None:
            client.username_pw_set(self._broker.user, self._broker.password)
        if self._broker.tls is not None:
            client.tls_set_context(self._broker.tls)
        will = self._will
        client.will_set(will.topic, will.payload, qos=1, retain=will.retained)
        session.attach(client)
        return client

    def _is_too_modern(self, session: _Session | None) -> bool:
        """Return whether the broker may know MQTT 3.1.1 only; the next attempt speaks that."""
        if session is None or session.connected or not self._modern:
            return False
        self._modern = not ("protocol version" in session.reason or session.reason == CLOSED)
        return not self._modern

    def _tell(self, reason: str) -> None:
        """Log each reason once per outage."""
        if reason not in self._told:
            self._told.add(reason)
            _log.warning("mqtt: %s: %s; trying again", self.shown, printable(reason))


class _Session:
    """One connection; paho's thread calls it, and never while we hold `changed`."""

    client: Client

    def __init__(
        self,
        broker: Broker,
        changed: threading.Condition,
        on_accepted: Callable[[_Session], None],
        on_message: Callable[[str, bytes], object],
    ) -> None:
        self.connected = self.ended = self.gone = False
        self.reason = ""
        self.taken: dict[int, str] = {}  # what the broker has answered: why not, or ""
        self._unsent = 0
        self._broker, self._changed = broker, changed
        self._on_accepted, self._on_message = on_accepted, on_message

    def attach(self, client: Client) -> None:
        """Have a client call us."""
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_publish = self._published
        client.on_message = self._received

    @property
    def is_congested(self) -> bool:
        """Whether the network does not take what is published."""
        return self._unsent >= MOST_UNSENT

    def publish(self, publication: Publication) -> int:
        """Hand a message to paho; return its number."""
        with self._changed:
            self._unsent += 1
        info = self.client.publish(
            publication.topic,
            publication.payload,
            qos=publication.qos,
            retain=publication.retained,
        )
        return int(info.mid)

    def end(self, reason: str) -> None:
        """End the connection, for this reason unless there is one."""
        self._note_end(reason)
        self.client.disconnect()

    def leave(self) -> None:
        """End the client's thread, also where the network takes nothing any more."""
        self.end("")
        with self._changed:
            self._changed.wait_for(lambda: self.gone, GOODBYE_S)
        if not self.gone and isinstance(end := self.client.socket(), socket.socket):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.client.loop_stop()

    def _note_end(self, reason: str) -> None:
        with self._changed:
            self.reason, self.ended = self.reason or reason, True
            self._changed.notify_all()

    def _connected(self, _client: Any, _data: Any, _flags: Any, code: Any, *_: Any) -> None:
        if code.is_failure:
            self._note_end(_refusal(str(code), self._broker))
            return
        with self._changed:
            self.connected = True
        self._on_accepted(self)

    def _disconnected(self, _client: Any, _data: Any, flags: Any, code: Any, *_: Any) -> None:
        by_broker = flags.is_disconnect_packet_from_server
        text = f"the broker ends it: {code}" if by_broker else "the connection is lost"
        self._note_end(text if self.connected else CLOSED)
        with self._changed:
            self.gone = True
            self._changed.notify_all()

    def _received(self, _client: Any, _data: Any, message: Any) -> None:
        with suppress(UnicodeDecodeError):  # of the topic, which is none of ours then
            self._on_message(message.topic, bytes(message.payload))

    def _published(self, _client: Any, _data: Any, number: int, code: Any, *_: Any) -> None:
        with self._changed:
            self._unsent -= 1
            self.taken[number] = str(code) if code.is_failure else ""
            while len(self.taken) > 2 * MOST_UNSENT:
                del self.taken[next(iter(self.taken))]
            self._changed.notify_all()


def _require_paho() -> None:
    try:
        import paho.mqtt.client  # noqa: F401
    except ImportError:
        raise InputError("mqtt needs paho-mqtt: pip install 'edge-tsm[mqtt]'") from None


def _refusal(code: str, broker: Broker) -> str:
    """Return why a broker refuses a connection, and what to do about it."""
    if code in ("Not authorized", "Bad user name or password"):
        who = f"user {broker.user!r}" if broker.user is not None else "a client without a login"
        return f"the broker refuses {who} ({code}); check user and password"
    return f"the broker refuses the connection ({code})"


def _reason(error: OSError | ValueError) -> str:
    """Return why there is no connection, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); see --mqtt-ca"
    if isinstance(error, ssl.SSLError):
        return f"it does not speak TLS as we do ({error.reason or type(error).__name__})"
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_S:g} s"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
