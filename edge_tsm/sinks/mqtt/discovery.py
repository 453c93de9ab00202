"""What Home Assistant is told: one message that describes the device and all its entities.

The format is that of its MQTT integration's device discovery. Labels stand in names and lists only,
never in a template: text of a label would be run there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edge_tsm.sinks.mqtt.options import MqttOptions
from edge_tsm.sinks.mqtt.topics import Topics
from edge_tsm.sinks.run import RunFacts
from edge_tsm.system.printable import printable

MOST_CLASSES = 64  # with a binary sensor each; Home Assistant is no place for 400 of a camera
LONGEST = 255  # characters of a state in Home Assistant
_LIVE = ("live", "frozen", "black", "silent")
_START = (
    "{% if value_json.kind == 'start' %}"
    "{{ dict(value_json, event_type=value_json.label) | to_json }}"
    "{% endif %}"
)
_AVAILABLE = f"{{{{ 'online' if value_json.state in {_LIVE} else 'offline' }}}}"
Component = dict[str, Any]


def discovery_message(topics: Topics, facts: RunFacts, options: MqttOptions) -> Mapping[str, Any]:
    """Return the message, JSON-ready."""
    components = dict(_of_device(topics))
    for source in facts.sources:
        components |= {key: one for key, one in _of_source(source, topics, facts, options)}
    return {
        "device": {
            "identifiers": [f"edge-tsm-{topics.device}"],
            "name": printable(topics.name),
            "manufacturer": "edge-tsm",
            "model": printable(facts.bundle),
            "sw_version": facts.version,
        },
        "origin": {"name": "edge-tsm", "sw_version": facts.version},
        "availability": [{"topic": topics.status}],
        "components": {
            key: {"unique_id": f"edge-tsm-{topics.device}-{key}", **component}
            for key, component in components.items()
        },
    }


def discovery_topic(topics: Topics, options: MqttOptions) -> str:
    """Return where the message goes."""
    return f"{options.discovery}/device/edge-tsm-{topics.device}/config"


def birth_topic(options: MqttOptions) -> str:
    """Return where Home Assistant says that it has started."""
    return f"{options.discovery}/status"


def _of_device(topics: Topics) -> Iterator[tuple[str, Component]]:
    yield (
        "connected",
        {
            "platform": "binary_sensor",
            "name": "Connected",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": topics.status,
            "payload_on": "online",
            "payload_off": "offline",
            "availability": [{"topic": topics.status, "value_template": "online"}],
        },
    )
    yield (
        "latency",
        {
            "platform": "sensor",
            "name": "Latency",
            "device_class": "duration",
            "unit_of_measurement": "ms",
            "state_class": "measurement",
            "entity_category": "diagnostic",
            "state_topic": topics.stats,
            "value_template": "{{ (value_json.stages.latency | default({})).p95_ms | default }}",
        },
    )


def _of_source(
    source: str, topics: Topics, facts: RunFacts, options: MqttOptions
) -> Iterator[tuple[str, Component]]:
    action = {
        "availability": [
            {"topic": topics.status},
            {"topic": topics.of(source, "state"), "value_template": _AVAILABLE},
        ],
        "availability_mode": "all",
        "state_topic": topics.of(source, "action"),
    }
    labels = [facts.labels[index] for index in facts.actions]
    yield (
        f"{source}_event",
        {
            "platform": "event",
            "name": f"{source} event",
            "state_topic": topics.of(source, "event"),
            "event_types": labels,
            "value_template": _START,
            "qos": 1,
        },
    )
    yield (
        f"{source}_action",
        {
            **action,
            "platform": "sensor",
            "name": f"{source} action",
            "value_template": f"{{{{ (value_json.action or 'none')[:{LONGEST}] }}}}",
            "json_attributes_topic": topics.of(source, "action"),
        },
    )
    for index in facts.actions if len(facts.actions) <= MOST_CLASSES else ():
        yield f"{source}_class_{index}", {**action, **_of_class(source, index, facts)}
    yield from _of_camera(source, topics, options)


def _of_class(source: str, index: int, facts: RunFacts) -> Component:
    return {
        "platform": "binary_sensor",
        "name": f"{source} {printable(facts.labels[index])}",
        "value_template": f"{{{{ 'ON' if {index} in value_json.indices else 'OFF' }}}}",
    }


def _of_camera(
    source: str, topics: Topics, options: MqttOptions
) -> Iterator[tuple[str, Component]]:
    state = topics.of(source, "state")
    yield (
        f"{source}_state",
        {
            "platform": "sensor",
            "name": f"{source} state",
            "entity_category": "diagnostic",
            "state_topic": state,
            "value_template": "{{ value_json.state }}",
            "json_attributes_topic": state,
        },
    )
    yield (
        f"{source}_enabled",
        {
            "platform": "switch",
            "name": f"{source} enabled",
            "entity_category": "config",
            "command_topic": topics.of(source, "enabled/set"),
            "state_topic": topics.of(source, "enabled/state"),
        },
    )
    if options.snapshots:
        image = {"platform": "image", "name": f"{source} snapshot", "content_type": "image/jpeg"}
        yield f"{source}_snapshot", {**image, "image_topic": topics.of(source, "snapshot")}
