"""The sink `mqtt`: what happens, and what is so now, to a broker."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from PIL import Image as Pictures

from edge_tsm.datatypes import Frame, Image, Prediction, StateChange, iso
from edge_tsm.errors import InputError
from edge_tsm.events import EventStore, Message
from edge_tsm.sinks import SinkContext
from edge_tsm.sinks.base import RouteCounts
from edge_tsm.sinks.exposure import exposures
from edge_tsm.sinks.mqtt.discovery import (
    MOST_CLASSES,
    birth_topic,
    discovery_message,
    discovery_topic,
)
from edge_tsm.sinks.mqtt.link import Duties, Link, Publication
from edge_tsm.sinks.mqtt.options import Broker, MqttOptions, broker_of
from edge_tsm.sinks.mqtt.topics import Topics
from edge_tsm.sinks.outbox import Outbox
from edge_tsm.sinks.run import Run
from edge_tsm.system.clock import Clock
from edge_tsm.system.jsontext import to_json
from edge_tsm.system.printable import printable

SNAPSHOT_PX, JPEG_QUALITY = 1280, 85
MOST_ODD = 100
SWITCH = {b"ON": True, b"OFF": False}

_log = logging.getLogger(__name__)


class MqttSink:
    """Publishes answers, states and events of a run.

    Events come from the outbox's store and are told at least once. Everything else is what is so
    now: the broker gets the newest of it when it is there.

    Args:
        publisher: what is published, and how.
        outbox: of the events.
    """

    def __init__(self, publisher: Publisher, outbox: Outbox) -> None:
        self._publisher, self._outbox = publisher, outbox

    def write(self, prediction: Prediction, source: str) -> None:
        """Keep the events of an answer, and publish what it changes."""
        self._outbox.write(prediction, source)
        self._publisher.answer(prediction, source)

    def state(self, change: StateChange) -> None:
        """Keep a change of a source's state, and publish the new one."""
        self._outbox.state(change)
        self._publisher.state(change)

    def counts(self) -> RouteCounts:
        """Return what became of the events."""
        return self._outbox.counts()

    def cancel(self) -> None:
        """Leave what has not been told to the next start; end every wait."""
        self._publisher.link.cancel()
        self._outbox.cancel()

    def close(self) -> None:
        """Tell what is left, then say goodbye."""
        self._outbox.close()
        self._publisher.close()


class PicturingMqttSink(MqttSink):
    """The same with a picture at each start."""

    def __init__(self, publisher: Publisher, outbox: Outbox) -> None:
        super().__init__(publisher, outbox)
        self._newest: dict[str, Image] = {}

    def frame(self, frame: Frame, source: str) -> bool:
        """Remember the picture."""
        self._newest[source] = frame.image
        return False

    def write(self, prediction: Prediction, source: str) -> None:
        """Publish the newest picture too, where an action starts."""
        super().write(prediction, source)
        image = self._newest.get(source)
        if image is not None and any(event.kind == "start" for event in prediction.events):
            self._publisher.snapshot(image, source)


class Publisher:
    """Knows the topics and what is published on each; also an outbox's `Destination`.

    Args:
        broker: where to.
        run: what is told of, and what is switched.
        options: see there.
        clock: of times of day.
    """

    def __init__(self, broker: Broker, run: Run, options: MqttOptions, clock: Clock) -> None:
        self.topics, self._run, self._options = Topics.here(options.device), run, options
        self._clock = clock
        self._actions: dict[str, tuple[int, ...]] = {}
        self._sources = {self.topics.of(s, "enabled/set"): s for s in run.facts.sources}
        self._odd = set[str]()  # topics of which a warning was given
        duties = Duties(self._greeting, tuple(self._subscriptions()), self._take)
        duties = replace(duties, on_tick=self._publish_stats)
        client_id = f"edge-tsm-{self.topics.device}"
        self.link = Link(broker, client_id, self._status("offline"), duties)

    def start(self, on_connected: Callable[[], object]) -> None:
        """Publish what is known by now, and connect; `on_connected` is called each time."""
        self._retain(self.topics.info, self._info())
        for source in self._run.facts.sources:
            self._publish_action(source, (), None)
        for source, on in self._run.enabled().items():
            self._publish_state(source, {"state": "opening"})
            self._publish_enabled(source, on)
        self._run.listen(self._note_enabled)
        self.link.start(on_connected)

    def send(self, message: Message) -> None:
        """Publish one message of an outbox; return when the broker has taken it.

        Raises:
            Refused, Unavailable: it was not.
        """
        source = json.loads(message.body).get("source") or "unknown"
        self.link.deliver(Publication(self.topics.of(source, "event"), message.body, qos=1))

    def cancel(self) -> None:
        """End a `send` that is under way."""
        self.link.cancel()

    def answer(self, prediction: Prediction, source: str) -> None:
        """Publish the actions that are on, where they changed, and the scores if asked for."""
        decision = prediction.decision
        if decision is not None and decision.on != self._actions.get(source):
            self._publish_action(source, decision.on, prediction)
        if self._options.scores:
            self._post(self.topics.of(source, "scores"), _scores(prediction))

    def state(self, change: StateChange) -> None:
        """Publish the state that a source is in."""
        if self._run.enabled().get(change.source, True):
            self._publish_state(change.source, change.to_json())

    def snapshot(self, image: Image, source: str) -> None:
        """Publish a picture, (H, W, 3) uint8 BGR, as JPEG."""
        self.link.post(Publication(self.topics.of(source, "snapshot"), _jpeg(image), True))

    def close(self) -> None:
        """Say goodbye."""
        self.link.close(self._status("offline"))

    # --- what is published ---

    def _status(self, text: str) -> Publication:
        return Publication(self.topics.status, text, retained=True, qos=1)

    def _greeting(self) -> list[Publication]:
        """Return what every connection begins with: who we are, before what is so."""
        first = []
        if self._options.discovery:
            message = discovery_message(self.topics, self._run.facts, self._options)
            topic = discovery_topic(self.topics, self._options)
            first = [Publication(topic, to_json(message), retained=True, qos=1)]
        return [*first, self._status("online")]

    def _info(self) -> Mapping[str, Any]:
        facts = self._run.facts
        return {**vars(facts), "sources": facts.sources, "device_name": self.topics.name}

    def _publish_action(
        self, source: str, on: tuple[int, ...], prediction: Prediction | None
    ) -> None:
        self._actions[source] = on
        decision = prediction.decision if prediction else None
        labels = [decision.labels[index] for index in on] if decision else []
        score = round(float(decision.scores[on[0]]), 6) if decision and on else None
        now = iso(self._clock.utc(self._clock.now()))
        action = decision.label if decision else None
        self._retain(
            self.topics.of(source, "action"),
            {"action": action, "actions": labels, "indices": on, "score": score, "utc": now},
        )

    def _publish_state(self, source: str, record: Mapping[str, Any]) -> None:
        self._retain(self.topics.of(source, "state"), record)

    def _publish_enabled(self, source: str, on: bool) -> None:
        topic = self.topics.of(source, "enabled/state")
        self.link.post(Publication(topic, "ON" if on else "OFF", retained=True, qos=1))

    def _publish_stats(self) -> None:
        self._post(self.topics.stats, self._run.figures())

    def _post(self, topic: str, record: Mapping[str, Any]) -> None:
        self.link.post(Publication(topic, to_json(record)))

    def _retain(self, topic: str, record: Mapping[str, Any]) -> None:
        self.link.post(Publication(topic, to_json(record), retained=True, qos=1))

    # --- what is heard ---

    def _subscriptions(self) -> list[str]:
        births = [birth_topic(self._options)] if self._options.discovery else []
        return [*births, self.topics.commands]

    def _take(self, topic: str, payload: bytes) -> None:
        """Do what a message asks for; called by paho, so nothing may be raised."""
        if topic == birth_topic(self._options):
            if payload == b"online":
                self.link.greet()
            return
        source, on = self._sources.get(topic), SWITCH.get(payload.upper())
        if source is None or on is None:
            self._warn_of(topic, payload)
            return
        try:
            self._run.enable(source, on)
        except InputError as error:
            _log.warning("mqtt: %s", error)
            self._publish_enabled(source, self._run.enabled().get(source, True))

    def _warn_of(self, topic: str, payload: bytes) -> None:
        """Log an odd command, once of each topic."""
        if topic not in self._odd and len(self._odd) < MOST_ODD:
            self._odd.add(topic)
            shown = printable(payload[:40].decode(errors="replace"))
            _log.warning("mqtt: %s: %r is not ON or OFF of a source here", printable(topic), shown)

    def _note_enabled(self, source: str, on: bool) -> None:
        self._publish_enabled(source, on)
        self._publish_action(source, (), None)
        self._publish_state(source, {"state": "opening" if on else "disabled"})


def _scores(prediction: Prediction) -> Mapping[str, Any]:
    decision = prediction.decision
    answer = prediction.to_json()
    kept = ("label", "top", "start_s", "end_s", "inference_ms", "latency_ms", "stale")
    action = {"action": decision.label} if decision else {}
    return {**{key: answer[key] for key in kept}, **action}


def _jpeg(image: Image) -> bytes:
    """Return a picture, (H, W, 3) uint8 BGR, as JPEG, not larger than Home Assistant shows it."""
    picture = Pictures.fromarray(image[..., ::-1])
    picture.thumbnail((SNAPSHOT_PX, SNAPSHOT_PX))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()


def open_mqtt(value: str, context: SinkContext) -> MqttSink:
    """Open the sink `mqtt` of a broker's address.

    Raises:
        InputError: no address, a login or certificates that cannot be used, or no paho-mqtt.
    """
    options, run = context.mqtt, context.run
    broker = broker_of(value, options)
    if broker.password:
        for exposure in exposures(broker.shown):
            _log.warning("mqtt %s: %s", broker.shown, exposure)
    if options.discovery and len(run.facts.actions) > MOST_CLASSES:
        _log.warning(
            "mqtt: %d classes are too many for a binary sensor each in Home Assistant; it gets "
            "events and the current action",
            len(run.facts.actions),
        )
    publisher = Publisher(broker, run, options, context.clock)
    store = context.store or EventStore(clock=context.clock)
    outbox = Outbox(
        publisher, store, name=context.name, clock=context.clock, owned=context.store is None
    )
    publisher.start(outbox.hurry)
    kind = PicturingMqttSink if options.snapshots and context.live else MqttSink
    return kind(publisher, outbox)
